"""`onnxlrp inspect`: inputs, outputs and layers of a model, and the rule of each layer."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ..compile import compile
from ..errors import OnnxLrpError, UsageError
from ..graph.graph import Tensor
from ..model import Model
from ..preprocessing.labels import short
from ..registry import options_of
from . import arguments, ranking, summary, write_preprocessing
from .console import Console

_FIRST = 6  # class names shown
WITH_KERNELS = ("cuda", "emulator")


def run(args: argparse.Namespace, console: Console) -> int:
    """Describe a model; return the exit code."""
    if args.coverage:
        return _coverage(args, console)
    if args.model is None:
        raise UsageError("inspect: no model given", "give an .onnx file, or --coverage FOLDER")
    options = arguments.explaining_one(args)
    if args.engine not in (None, *WITH_KERNELS):
        raise UsageError(
            f'the engine "{args.engine}" has no kernels to list', f"give --engine {' or '.join(WITH_KERNELS)}, or none"
        )
    if args.precision and not args.engine:
        raise UsageError(f"--precision {args.precision} is of kernels", f"give --engine {WITH_KERNELS[0]} too")
    if args.batch < 1:
        raise UsageError(f"--batch {args.batch}", "give 1 or more")
    true = _truth(args)
    model = arguments.open_model(args, engine="auto")  # kernels are planned without the engine that runs them
    # Rules are those for pictures; without known bounds of the input, zbox shows none.
    composite = model.composite(options)
    arguments.check_matches(model, options)
    graph = model.graph
    whole = model.whole or graph
    layers = [
        {
            "layer": layer.label,
            "node": layer.name,
            "op": layer.op,
            "kind": seen.kind if seen.kind != "unknown" else None,
            "shape": list(graph.shapes[layer.outputs[0]]),
            "rule": None if rule is None else described(rule),
            "decided": composite.falls_back(seen) and rule is not None,
        }
        for layer, seen, rule in model.layers(composite)
    ]
    prep = preprocessing(model)
    report: dict[str, Any] = {
        "model": graph.source,
        "sha256": graph.sha256,
        "producer": graph.metadata.get("onnxlrp.producer"),
        "opset": graph.metadata.get("onnxlrp.opset"),
        "batch": graph.batch,
        "inputs": [_tensor(t) for t in whole.inputs],
        "outputs": [_tensor(t) for t in whole.outputs],
        "kind": model.kind.to_dict(),
        "explained": {"output": model.choice.output if model.choice else None, "input": graph.inputs[0].name},
        "classes": model.classes,
        "labels": list(model.labels) if model.labels else None,
        "preprocessing": prep,
        "note": graph.metadata.get("onnxlrp.note"),
        "method": composite.name,
        "layers": layers,
        "without_rule": [row["layer"] for row in layers if row["rule"] is None],
    }
    found = None
    if args.engine:
        from ..engines.cuda.listing import listing

        found = listing(compile(graph, composite, mode="top"), graph.batch or args.batch, args.precision)
        report["kernels"] = {"engine": args.engine, **dataclasses.asdict(found)}
    if args.probe:
        report["probe"] = [dataclasses.asdict(row) for row in ranking.rank(model, ranking.pictures(args.probe), true)]
    report["wrote"] = [str(path) for path in _kept(args, model)]
    console.json(report, indent=1)
    _print(model, report, console)
    if args.probe:
        _print_probe(report["probe"], console)
    for path in report["wrote"]:
        console.line("wrote", path)
    if found:
        _print_kernels(found, args.engine, console)
    return 0


def _coverage(args: argparse.Namespace, console: Console) -> int:
    from . import coverage

    if args.model:
        raise UsageError(f"--coverage {args.coverage} beside {args.model}", "give a model or a folder of them")
    return coverage.run(args, console)


def _truth(args: argparse.Namespace) -> dict[Path, str] | None:
    """With --probe, the true classes where --labels names a file of them, which then holds no names of classes."""
    if not (args.probe and args.labels):
        return None
    true = ranking.truth(Path(args.labels), ranking.pictures(args.probe))
    args.labels = None if true else args.labels
    return true


def _kept(args: argparse.Namespace, model: Model) -> list[Path]:
    """The files that --write-prep and --embed ask for."""
    path, made = Path(args.model), []
    if args.write_prep:
        made.append(write_preprocessing.write_sidecar(model.preprocessing, path))
    if args.embed:
        made.append(write_preprocessing.embed(model.preprocessing, path, Path(args.embed)))
    return made


def described(rule: Any) -> str:
    """Return a rule with the options that differ from its defaults: `gamma(gamma=0.1)`."""
    name = str(getattr(rule, "name", type(rule).__name__))
    said = []
    for key, option in options_of(type(rule)).items():
        value = getattr(rule, key)
        if isinstance(value, np.ndarray):
            said.append(f"{key}={','.join(f'{v:.3g}' for v in value.ravel()[:4])}" + "…" * (value.size > 4))
        elif value is not None and value != option.default:
            said.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return f"{name}({', '.join(said)})" if said else name


def preprocessing(model: Model) -> dict[str, Any]:
    """Return the preprocessing and its sources, or why there is none."""
    try:
        prep = model.preprocessing
    except OnnxLrpError as error:
        if model.strict:
            raise
        return {"problem": error.message, "fix": error.fix}
    return {
        **prep.to_dict(),
        "source": prep.source,
        "assumed": list(prep.assumed),
        "labels_assumed": prep.labels_assumed,
        "conflicts": [dataclasses.asdict(conflict) for conflict in prep.conflicts],
        "notes": list(prep.notes),
        "doubts": summary.doubts(prep),
        "summary": summary.preprocessing(prep),
    }


def shown(tensor: Tensor, batch: int | None) -> str:
    """Return a tensor as text: `image   float32 [N, 3, 224, 224]`."""
    return f"{tensor.name}  {tensor.dtype} [{', '.join(map(str, (batch or 'N', *tensor.shape)))}]"


def _print_kernels(found: Any, engine: str, console: Console) -> None:
    """Print the listing: a row for each kernel, and for each instruction without one."""
    console.line("", "")
    console.line(
        "kernels", f"{engine}, batch {found.batch}, precision {found.precision}, for the model's own best class"
    )
    rows = [("%", "layer/rule", "instructions", "kernel", "blocks x threads")]
    for item in found.items:
        first, last = item.instructions[0], item.instructions[-1]
        cells = (f"{first}" if first == last else f"{first}..{last}", item.origin, _shortened(item.what))
        none = f"reads {item.tensor}" if item.tensor and not item.kernels else "-"
        for n, kernel in enumerate(item.kernels):
            rows.append((*(cells if n == 0 else ("", "", "")), kernel.name, kernel.shape))
        if not item.kernels:
            rows.append((*cells, none, ""))
    console.table(rows)
    console.line("", "")
    console.line("total", f"{found.launches} launches of {found.kernels} kernels")
    sizes = ((found.arena, "arena"), (found.inputs, "activations and seed"), (found.constants, "constants"))
    console.line("memory", ", ".join(f"{name} {size / 2**20:.2f} MiB" for size, name in sizes))


def _print_probe(rows: list[dict[str, Any]], console: Console) -> None:
    """The ranking of presets, the best first."""
    console.line("", "")
    right = ["right"] if rows[0]["accuracy"] is not None else []
    table = [("contrast of best class", "probability", *right, "preprocessing")]
    for row in rows:
        share = [f"{100 * row['accuracy']:.0f} %"] if right else []
        flags = row["flags"] + "  [as it is]" * row["current"]
        table.append((f"{row['contrast']:.2f} sd", f"{row['probability']:.3f}", *share, flags))
    console.table(table)
    console.line("hint", "this changes nothing; a confident model may be wrong, and few pictures prove little")


def _shortened(text: str, width: int = 40) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _print(model: Model, report: dict[str, Any], console: Console) -> None:
    graph, prep = model.graph, report["preprocessing"]
    made = ", ".join(filter(None, (report["producer"], report["opset"] and f"opset {report['opset']}")))
    console.line("model", f"{graph.source}  {made}".rstrip())
    whole, explained = model.whole or graph, report["explained"]
    for key, tensors in (("input", whole.inputs), ("output", whole.outputs)):
        for tensor in tensors:
            mark = "  [explained]" if len(tensors) > 1 and tensor.name == explained[key] else ""
            console.line(key, shown(tensor, graph.batch) + mark)
    console.line("kind", f"{model.kind.describe()}  [{model.kind.source}]")
    console.line("prep", prep.get("summary") or f"none: {prep['problem']}")
    for text in prep.get("doubts", ()):
        console.line("", text)
    names = report["labels"]
    if names:
        more = f", … ({len(names)})" if len(names) > _FIRST else ""
        assumed = "  [assumed: ImageNet's]" if prep.get("labels_assumed") else ""
        console.line("labels", ", ".join(short(name) for name in names[:_FIRST]) + more + assumed)
    else:
        console.line("labels", "none: give --labels FILE")
    console.line("batch", "any" if graph.batch is None else f"{graph.batch} only (other sizes are split and padded)")
    if report["note"]:
        console.line("note", report["note"])
    console.line("method", report["method"])
    console.line("", "")
    head = ("layer", "op", "result", "rule")
    rows = [(r["layer"], r["op"], "x".join(map(str, r["shape"])), _ruled(r)) for r in report["layers"]]
    console.table([head, *rows])
    missing = [row for row in report["layers"] if row["rule"] is None]
    console.line("", "")
    if missing:
        ops = ", ".join(sorted({row["op"] for row in missing}))
        console.line(
            "no rule",
            f"{len(missing)} of {len(rows)} layers ({ops}): --rule '{missing[0]['op']}=pass', or --on-unsupported",
        )
    else:
        console.line("no rule", f"0 of {len(rows)} layers")


def _ruled(row: dict[str, Any]) -> str:
    if row["rule"] is None:
        return "-- NO RULE --"
    return f"{row['rule']}  [--on-unsupported]" if row["decided"] else str(row["rule"])
