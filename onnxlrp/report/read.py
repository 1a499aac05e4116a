"""Read the files that `explain`, `check`, `compare` and `evaluate` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..comparison import verdict, worst_samples
from ..comparison.worst_samples import WorstSample
from ..errors import InputError, NothingToDo
from ..evaluation import results
from ..evaluation.results import Evaluation
from ..findings.finding import Finding, Findings
from ..inputs import InputKind, decide

Array = npt.NDArray[Any]

COLUMNS = ("arrived", "passed", "bias", "epsilon", "gate", "coefficients", "entropy", "others", "residual")
_LONGEST = 1 << 27
_AGAIN = "write it again: onnxlrp explain MODEL INPUT --format json,npz"


@dataclass(frozen=True)
class HeatmapLedgerRow:
    """One layer in the ledger of one heatmap.

    Attributes:
        layer: The path of the layer.
        op: Its operator.
        rule: Its rule.
        conserves: Whether the rule conserves relevance.
        numbers: Amounts of relevance by column; columns that the row lacks are left out.
    """

    layer: str
    op: str
    rule: str
    conserves: bool
    numbers: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Heatmap:
    """One heatmap: of a sample, for a class, by a method.

    Attributes:
        sample: The name of the sample.
        target: The id of the class explained.
        label: Its label.
        logit: Its logit.
        total: The sum of relevance.
        top: The best classes of the model, in words.
        method: The method.
        rows: The ledger, empty where none was kept.
        notes: Notes of the method, by name.
        provenance: Model, versions and options.
        values: Relevance [H, W], or [L] of a signal, from the .npz file.
        image: The picture [H, W, 3] as the model sees it, from the .npz file.
        figure: The .png file, where there is no .npz file.
    """

    sample: str
    target: int
    label: str
    logit: float | None
    total: float | None
    top: str
    method: str
    rows: tuple[HeatmapLedgerRow, ...]
    notes: Mapping[str, Any]
    provenance: Mapping[str, Any]
    values: Array | None = None
    image: Array | None = None
    figure: Path | None = None

    @property
    def model(self) -> tuple[str, str]:
        """The name of the model's file and its SHA-256."""
        return model_of(self.provenance)


@dataclass(frozen=True, eq=False)
class SavedComparison:
    """A comparison that `compare --save` wrote.

    Attributes:
        result: The result.
        worst: The least similar samples with their heatmaps.
    """

    result: Mapping[str, Any]
    worst: Sequence[WorstSample]


@dataclass(frozen=True)
class ReportData:
    """All that a report shows.

    Attributes:
        maps: Heatmaps.
        findings: Findings of checks and comparisons.
        evaluations: Evaluations.
        comparisons: Comparisons.
        foreign: JSON files that onnxlrp did not write, which are left out.
    """

    maps: list[Heatmap] = field(default_factory=list)
    findings: list[Findings] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    comparisons: list[SavedComparison] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)


def read(paths: Sequence[Path]) -> ReportData:
    """Read JSON files, and the JSON files of folders and of the folders below, but for hidden ones.

    Raises:
        InputError: A file is damaged, or named although onnxlrp did not write it.
        NothingToDo: There is nothing to report.
    """
    report = ReportData()
    for path in dict.fromkeys(path for given in paths for path in _listed(given)):
        data = _loaded(path)
        try:
            if isinstance(data, dict) and isinstance(data.get("findings"), list):
                report.findings.append(Findings([_finding(row) for row in data["findings"]], dict(data["about"])))
            elif isinstance(data, dict) and "samples" in data and "relevance_shape" in data:
                report.maps.extend(_maps(data, path))
            elif isinstance(data, dict) and isinstance(data.get("cells"), list):
                found = results.parsed(data)
                model_of(found.about), len(found.about["samples"]["names"])
                report.evaluations.append(found)
            elif isinstance(data, dict) and {"a", "b", "layers", "samples"} <= data.keys():
                result = verdict.parsed(data, path)
                report.comparisons.append(SavedComparison(result, worst_samples.read(result, path)))
            elif path in paths:
                raise InputError(f"{path}: not written by explain, check, compare or evaluate", _AGAIN)
            else:
                report.foreign.append(path)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise InputError(f"{path}: damaged ({type(error).__name__}: {files.reason(error)})", _AGAIN) from None
    if not any((report.maps, report.findings, report.evaluations, report.comparisons)):
        where = ", ".join(map(str, paths))
        raise NothingToDo(
            f"{where}: no JSON file of explain, check, compare or evaluate",
            "onnxlrp explain … --format json,npz -o DIR/",
        )
    return report


def model_of(origin: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of the model's file and its SHA-256, from a provenance."""
    model, sha = origin.get("model"), origin.get("sha256")
    if isinstance(model, dict):  # as evaluate writes it
        model, sha = model["file"], model["sha256"]
    path = str(model or "model").replace("\\", "/")
    return path.rsplit("/", 1)[-1], str(sha or "")


def _listed(path: Path) -> list[Path]:
    """Return a file itself, and the JSON files of a folder: explain writes as many folders as it read."""
    return files.listed(path, {".json"}, recursive=True) if path.is_dir() else [path]


def _loaded(path: Path) -> Any:
    files.check(path)
    try:
        return json.loads(files.read_text(path, _LONGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({files.reason(error)})", _AGAIN) from None


def _maps(data: Mapping[str, Any], path: Path) -> Iterator[Heatmap]:
    samples, origin = data["samples"], {**data["provenance"]}
    shape = tuple(int(n) for n in data["relevance_shape"])
    arrays = _arrays(path.with_suffix(".npz"), shape)
    several = _several(data, arrays)
    kind = _kind(origin, shape[2 if several else 1 :])
    count = sum(len(sample["targets"]) for sample in samples)
    figure = path.with_suffix(".png")
    for n, sample in enumerate(samples):
        for t, target in enumerate(sample["targets"]):
            at = (t, n) if several else (n,)
            values = None if arrays is None else kind.to_drawing(arrays["relevance"][at])
            images = None if arrays is None else arrays.get("images")
            yield Heatmap(
                sample=str(sample.get("name") or f"sample {n}"),
                target=int(target["id"]),
                label=str(target["label"]),
                logit=_number(target["logit"]),
                total=_number(target["relevance_sum"]),
                top=" · ".join(_best(best) for best in sample["top"][:3]),
                method=str(origin.get("method") or "relevance"),
                rows=tuple(_row(row, at) for row in data.get("ledger") or ()),
                notes={name: _one(value, at) for name, value in (data.get("notes") or {}).items()},
                provenance=origin,
                values=values,
                image=None if images is None else images[n],
                figure=figure if arrays is None and count == 1 and figure.is_file() else None,
            )


def _arrays(path: Path, shape: tuple[int, ...]) -> dict[str, Array] | None:
    """Read relevance and pictures of an .npz file; None where there is none. Raises InputError."""
    if not path.exists():
        return None
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in ("relevance", "target", "images") if name in stored}
            relevance, images = found["relevance"], found.get("images")
    except Exception as error:  # zipfile and numpy raise anything from BadZipFile to KeyError on a damaged file
        raise InputError(f"{path}: damaged ({files.reason(error)})", _AGAIN) from None
    if relevance.shape != shape or relevance.dtype.kind != "f" or "target" not in found:
        raise InputError(f"{path}: relevance {relevance.shape}, but {shape} in its JSON: of another run", _AGAIN)
    if images is not None and (images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8):
        raise InputError(f"{path}: its pictures have shape {images.shape}", _AGAIN)
    return found


def _kind(origin: Mapping[str, Any], shape: tuple[int, ...]) -> InputKind:
    """Return the kind of the input; of older files, by the layout of their pictures and the shape."""
    if "kind" in origin:
        kind = InputKind.from_dict(origin["kind"])
        if kind.shape != shape:
            raise ValueError(f"relevance of {shape} per sample, of an input of {kind.shape}")
        return kind
    layout = (origin.get("preprocessing") or {}).get("layout")
    return decide(shape, stated=None if layout is None else ("layout", str(layout)))


def _several(data: Mapping[str, Any], arrays: Mapping[str, Array] | None) -> bool:
    """Return whether numbers have an axis of targets before that of samples."""
    if arrays is not None:
        return bool(arrays["target"].ndim == 2)
    for row in data.get("ledger") or ():
        return isinstance(row["arrived"][0], list)
    return any(len(sample["targets"]) != 1 for sample in data["samples"])


def _row(row: Mapping[str, Any], at: tuple[int, ...]) -> HeatmapLedgerRow:
    numbers = {name: _number(_one(row[name], at)) for name in COLUMNS if name in row}
    return HeatmapLedgerRow(str(row["layer"]), str(row["op"]), str(row["rule"]), bool(row["conserves"]), numbers)


def _one(value: Any, at: tuple[int, ...]) -> Any:
    """Return the part of a value that belongs to one heatmap, or all of it where it is shared."""
    part = value
    for index in at:
        if not isinstance(part, list) or index >= len(part):
            return value
        part = part[index]
    return part


def _finding(row: Mapping[str, Any]) -> Finding:
    words = {name: str(row[name]) for name in ("check", "status", "message", "severity", "subject", "fix")}
    return Finding(**words, value=_number(row["value"]), limit=_number(row["limit"]))


def _best(best: Mapping[str, Any]) -> str:
    share = _number(next((best[key] for key in ("probability", "value", "score") if key in best), None))
    return f"{best['label']} {'–' if share is None else f'{share:.2f}'}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
