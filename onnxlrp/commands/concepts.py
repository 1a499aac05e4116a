"""`onnxlrp concepts`: test whether a class is sensitive to a concept, or find the units that detect concepts."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..analysis import picture_files
from ..analysis.concepts import detectors, figure
from ..analysis.concepts.labels import Labels, Masks, by_folder
from ..analysis.concepts.layer import LayerView, Reader
from ..analysis.concepts.tcav import Concept, ConceptTest, TcavOptions, check
from ..errors import InputError, UsageError
from ..streaming.batches import Rejected
from . import arguments, reading
from .console import Console

FORMATS = ("json", "npz", "csv")
_SHOWN = 20  # rows of the table of units


def run(args: argparse.Namespace, console: Console) -> int:
    """Test concepts or find detectors; return the exit code."""
    if not args.layer:
        raise UsageError("concepts needs a layer", "name one: --layer layer3 (onnxlrp inspect MODEL lists them)")
    formats = arguments.known_words(args.format, FORMATS, "format")
    drawn = arguments.figure_file(args)
    if args.out is not None and Path(args.out).is_file():
        raise UsageError(f"-o {args.out}: a file, not a folder", "give a folder, such as concepts/")
    rejected: list[str] = []
    made, show, draw = _test(args, console, rejected) if args.what == "test" else _find(args, console, rejected)
    written = [] if args.out is None else [_write(Path(args.out), word, made) for word in formats]
    if drawn is not None:
        texts = {"Software": "onnxlrp", "Title": f"concepts {args.what}"}
        written.append(files.replace(drawn, picture_files.encode(draw(), _provenance(made), texts)))
    show()
    if written:
        console.line("wrote", ", ".join(map(str, written)), 10)
    console.json({**made[0], "rejected": rejected}, 1)
    return InputError.code if rejected else 0


Made = tuple[dict[str, Any], dict[str, Any], list[list[Any]]]  # JSON, arrays, rows of a table
Show = Callable[[], None]
Draw = Callable[[], Any]


def _test(args: argparse.Namespace, console: Console, rejected: list[str]) -> tuple[Made, Show, Draw]:
    if not args.concept:
        raise UsageError("concepts test needs a concept", "give a folder of pictures that show it: --concept stripes/")
    if not args.target:
        raise UsageError("concepts test needs a class", "name it: -t CLASS")
    if args.masks or args.labels_from:
        raise UsageError("--masks and --labels-from belong to concepts find", "leave them out")
    concepts = [Concept(word) for word in args.concept]
    names = files.unique_names(one.name for one in concepts)
    for one, name in zip(concepts, names, strict=True):
        one.name = name
    source = reading.files(args, console)
    random = None if args.random is None else [args.random]
    tests = len(concepts) * len(args.layer) * len(args.target)
    options: dict[str, Any] = {
        "classifier": args.classifier,
        "statistic": args.statistic,
        "space": args.space,
        "runs": args.runs or (200 if args.classifier == "fastcav" else 50),
        "alpha": args.alpha,
        "permutations": args.permutations,
        "seed": args.seed,
        "tests": tests,
    }
    chosen = TcavOptions(**options)
    model = arguments.open_model(args)
    model.refuse_maps()
    every = [(layer, target, concept) for layer in args.layer for target in args.target for concept in concepts]
    for layer, target, concept in every:  # all of them, before the first is tested
        check(model, concept, source, _class(target), layer, random, chosen)
    found: list[ConceptTest] = []
    for layer, target, concept in every:
        with _reader(model, args, source, console, rejected, f"{concept.name} {layer}") as reader:
            how: dict[str, Any] = {
                "batch_size": reader.batch_size,
                "progress": reader.progress,
                "reject": reader.reject,
            }
            found.append(concept.test(model, source, _class(target), layer, random, **how, **options))
    arrays = {f"{one.concept}/{one.target}/{one.layer}": one.vector for one in found}
    arrays |= {f"random/{key}": one.verdict.null for key, one in zip(list(arrays), found, strict=True)}
    made = {"tests": [one.to_dict() for one in found]}, arrays, _test_rows(found)
    return made, partial(_print_tests, found, console), partial(figure.of_tests, found)


def _class(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


def _test_rows(found: Sequence[ConceptTest]) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["concept", "class", "layer", "TCAV", "95 %", "random", "mean slope", "95 %", "effect", "p", "significant"]
    ]
    for one in found:
        sign, slope = one.sign, one.magnitude
        rows.append([
            one.concept, one.target, one.layer,
            f"{sign.score:.2f}", f"{sign.interval[0]:.2f}-{sign.interval[1]:.2f}", f"{sign.centre:.2f}",
            f"{slope.score:.3g}", f"{slope.interval[0]:.3g} to {slope.interval[1]:.3g}",
            f"{one.verdict.effect:.1f}", f"{one.verdict.p:.2g}", "yes" if one.significant else "no",
        ])  # fmt: skip
    return rows


def _print_tests(found: Sequence[ConceptTest], console: Console) -> None:
    console.table(_test_rows(found), right=(3, 5, 6, 8, 9))
    first = found[0]
    console.line(
        "decided",
        f"by the {'mean derivative' if first.statistic == 'magnitude' else 'share of positive derivatives'} against "
        f"{len(first.verdict.null)} random sets, at p <= {first.verdict.level:.3g}"
        + (f" ({first.options.alpha:g} over {first.options.tests} tests)" if first.options.tests > 1 else ""),
        10,
    )
    for one in found:
        if one.degenerate:
            console.note(
                f"{one.concept}, {one.target}, {one.layer}: the TCAV score says nothing: {one.degenerate}",
                "" if one.statistic == "magnitude" else "take the mean derivative: --statistic magnitude",
            )


def _find(args: argparse.Namespace, console: Console, rejected: list[str]) -> tuple[Made, Show, Draw]:
    if args.concept or args.target or args.random:
        raise UsageError("--concept, --random and -t belong to concepts test", "leave them out")
    if args.masks and args.labels_from:
        raise UsageError("--masks and --labels-from are two sources of concepts", "give one of them")
    labelled = None if args.masks or args.labels_from else by_folder(args.inputs, args.recursive)
    if labelled is None and not (args.masks or args.labels_from):
        raise UsageError(
            "concepts find needs masks or labels",
            "give --masks DIR, --labels-from FILE.csv, or a folder with a folder of pictures for each label",
        )
    source = reading.files(args, console) if labelled is None else labelled[0]
    shows: Masks | Labels = (
        Masks.of(args.masks) if args.masks else (labelled[1] if labelled else Labels.table(args.labels_from))
    )
    names = list(shows.names)
    detectors.check(args.quantile, args.pool)
    model = arguments.open_model(args)
    made: dict[str, Any] = {"concepts": names, "layers": []}
    arrays: dict[str, Any] = {"concepts": np.array(names)}
    rows: list[list[Any]] = [["layer", "unit", "concept", "IoU", "AUC", "p"]]
    shown: list[Show] = []
    views = {layer: LayerView.of(model, layer) for layer in args.layer}  # all of them, before the first is read
    for view in views.values() if args.masks else ():
        view.grid()
    for layer, view in views.items():
        with _reader(model, args, source, console, rejected, layer) as reader:
            cut = detectors.dissect(reader, source, view, shows, args.quantile) if isinstance(shows, Masks) else None
            told = detectors.invert(
                reader, source, view, detectors.shown_by(shows, model), len(names), args.pool, alone=cut is None
            )
        made["layers"].append(_layer_json(layer, names, cut, told, args.alpha))
        arrays |= {f"{layer}/auc": told.auc, f"{layer}/p": told.p}
        if cut is not None:
            arrays |= {f"{layer}/iou": cut.iou, f"{layer}/thresholds": cut.thresholds}
        rows += _unit_rows(layer, names, cut, told)
        shown.append(partial(_print_layer, layer, names, cut, told, args.alpha, console))
    shown.append(partial(_print_units, rows, console))
    made["provenance"] = {"model": model.graph.source, "sha256": model.graph.sha256, "engine": model.engine.name}
    made["options"] = {"quantile": args.quantile, "pool": args.pool, "alpha": args.alpha}

    def show() -> None:
        for one in shown:
            one()

    units = [unit for layer in made["layers"] for unit in layer["units"]]
    drawn = [
        figure.Detector(*(unit.get(key) for key in ("layer", "unit", "concept", "iou", "auc", "significant")))
        for unit in units
    ]
    return (made, arrays, rows), show, partial(figure.of_units, drawn)


def _unit_rows(
    layer: str, names: Sequence[str], cut: detectors.Dissection | None, told: detectors.Inversion
) -> list[list[Any]]:
    """A row for each unit: its best concept, by IoU where there are masks, else by AUC."""
    best = told.auc.argmax(axis=1) if cut is None else cut.iou.argmax(axis=1)
    return [
        [layer, k, names[c], "" if cut is None else float(cut.iou[k, c]), float(told.auc[k, c]), float(told.p[k, c])]
        for k, c in enumerate(best.tolist())
    ]


def _layer_json(
    layer: str, names: Sequence[str], cut: detectors.Dissection | None, told: detectors.Inversion, alpha: float
) -> dict[str, Any]:
    keys = ("layer", "unit", "concept", "iou", "auc", "p")
    units = [dict(zip(keys, row, strict=True)) for row in _unit_rows(layer, names, cut, told)]
    for unit, clear in zip(units, told.significant(alpha).max(axis=1).tolist(), strict=True):
        unit["significant"] = bool(clear)
        if cut is None:
            del unit["iou"]
        else:
            unit["detector"] = bool(cut.is_detector()[unit["unit"]])
    found: dict[str, Any] = files.to_jsonable({"layer": layer, "samples": told.samples, "units": units})
    return found


def _print_layer(
    layer: str,
    names: Sequence[str],
    cut: detectors.Dissection | None,
    told: detectors.Inversion,
    alpha: float,
    console: Console,
) -> None:
    count, clear = len(told.auc), int(told.significant(alpha).any(axis=1).sum())
    console.line(
        layer, f"{clear} of {count} units tell a concept from the rest (AUC, p <= {alpha:g} over {told.p.size})", 10
    )
    if cut is not None:
        unique = {names[i] for i in cut.iou.argmax(axis=1)[cut.is_detector()].tolist()}
        count_of = f"{int(cut.is_detector().sum())} of {count} units are detectors (IoU >= {detectors.DETECTOR})"
        console.line("", f"{count_of}, of {len(unique)} concepts", 10)
    if ((told.positives == 0) | (told.positives == told.samples)).all():
        console.note(f"{layer}: every concept is in all samples, so that AUC says nothing", "add samples without it")


def _print_units(rows: list[list[Any]], console: Console) -> None:
    by = 3 if any(row[3] != "" for row in rows[1:]) else 4
    best = sorted(rows[1:], key=lambda row: -row[by])[:_SHOWN]
    shown = [[*row[:3], "" if row[3] == "" else f"{row[3]:.3f}", f"{row[4]:.3f}", f"{row[5]:.2g}"] for row in best]
    kept = [0, 1, 2, 3, 4, 5] if by == 3 else [0, 1, 2, 4, 5]
    console.table([[row[i] for i in kept] for row in (rows[0], *shown)], right=(1, *range(3, len(kept))))
    if len(rows) - 1 > len(best):
        console.line("", f"the best {len(best)} of {len(rows) - 1} units; -o DIR writes all", 0)


@contextmanager
def _reader(
    model: Any, args: argparse.Namespace, source: Any, console: Console, rejected: list[str], name: str
) -> Iterator[Reader]:
    """Read samples with progress; Ctrl-C ends the command, whose result would be of some of the samples alone."""

    def reject(row: Rejected) -> None:
        if row.item.origin not in rejected:
            reading.reject(row, len(source), args.on_error, console)
            rejected.append(row.item.origin)

    def told(done: int, total: int) -> bool:
        console.progress(done, total, name)
        return True

    progress: Callable[[int, int], bool] = told
    try:
        yield Reader(model, args.batch_size, progress, reject)
    finally:
        console.clear()


def _provenance(made: Made) -> dict[str, Any]:
    """The model, and how it was asked."""
    found: dict[str, Any] = files.to_jsonable(made[0].get("provenance") or made[0]["tests"][0]["provenance"])
    return found


def _write(folder: Path, word: str, made: Made) -> Path:
    """Write one file of the results."""
    path = folder / f"concepts.{word}"
    if word == "json":
        return files.replace(path, (json.dumps(files.to_jsonable(made[0]), indent=1, allow_nan=False) + "\n").encode())
    if word == "csv":
        lines = [",".join(f'"{v}"' if isinstance(v, str) and "," in v else str(v) for v in row) for row in made[2]]
        return files.replace(path, ("\n".join(lines) + "\n").encode())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **made[1], provenance=np.array(json.dumps(_provenance(made))))
    return files.replace(path, buffer.getvalue())
