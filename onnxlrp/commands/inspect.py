"""`onnxlrp inspect`: what a model takes, gives and is made of, and the rule that each layer gets."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np

from ..errors import OnnxLrpError
from ..graph.graph import Tensor
from ..labels import short
from ..model import Model
from . import request, summary
from .console import Console

_FIRST = 6  # class names shown


def run(args: argparse.Namespace, console: Console) -> int:
    """Describe a model; the exit code."""
    (method, options), entries = request.method(args), request.entries(args)
    model = request.open_model(args)
    # Rules are shown as they are for pictures; where nobody knows the bounds, zbox shows none.
    composite = model.composite(method, rules=entries, **options)
    request.check_matches(model, composite, entries)
    graph = model.graph
    layers = [
        {
            "layer": layer.label,
            "node": layer.name,
            "op": layer.op,
            "kind": seen.kind if seen.kind != "unknown" else None,
            "shape": list(graph.shapes[layer.outputs[0]]),
            "rule": None if rule is None else described(rule),
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
        "inputs": [_tensor(t) for t in graph.inputs],
        "outputs": [_tensor(t) for t in graph.outputs],
        "classes": model.classes,
        "labels": list(model.labels) if model.labels else None,
        "preprocessing": prep,
        "note": graph.metadata.get("onnxlrp.note"),
        "method": composite.name,
        "layers": layers,
        "without_rule": [row["layer"] for row in layers if row["rule"] is None],
    }
    console.json(report, indent=1)
    _print(model, report, console)
    return 0


def described(rule: Any) -> str:
    """A rule with the options that differ from its defaults: `gamma(gamma=0.1)`."""
    name = str(getattr(rule, "name", type(rule).__name__))
    said = []
    for field in dataclasses.fields(rule):
        value = getattr(rule, field.name)
        if isinstance(value, np.ndarray):
            said.append(f"{field.name}={','.join(f'{v:.3g}' for v in value.ravel()[:4])}" + "…" * (value.size > 4))
        elif value is not None and value != field.default:
            said.append(f"{field.name}={value:g}" if isinstance(value, float) else f"{field.name}={value}")
    return f"{name}({', '.join(said)})" if said else name


def preprocessing(model: Model) -> dict[str, Any]:
    """What is known of it, who says so, or why there is none."""
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
        "summary": summary.preprocessing(prep),
    }


def shown(tensor: Tensor, batch: int | None) -> str:
    """`image   float32 [N, 3, 224, 224]`."""
    return f"{tensor.name}  {tensor.dtype} [{', '.join(map(str, (batch or 'N', *tensor.shape)))}]"


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _print(model: Model, report: dict[str, Any], console: Console) -> None:
    graph, prep = model.graph, report["preprocessing"]
    made = ", ".join(filter(None, (report["producer"], report["opset"] and f"opset {report['opset']}")))
    console.line("model", f"{graph.source}  {made}".rstrip())
    for tensor in graph.inputs:
        console.line("input", shown(tensor, graph.batch))
    for tensor in graph.outputs:
        console.line("output", shown(tensor, graph.batch))
    console.line("prep", prep.get("summary") or f"none: {prep['problem']}")
    names = report["labels"]
    if names:
        more = f", … ({len(names)})" if len(names) > _FIRST else ""
        assumed = "  [assumed: ImageNet's]" if prep.get("labels_assumed") else ""
        console.line("labels", ", ".join(short(name) for name in names[:_FIRST]) + more + assumed)
    else:
        console.line("labels", "none: give --labels FILE")
    console.line("batch", "any" if graph.batch is None else f"{graph.batch} alone (other numbers are split and padded)")
    if report["note"]:
        console.line("note", report["note"])
    console.line("method", report["method"])
    console.line("", "")
    head = ("layer", "op", "result", "rule")
    rows = [
        (r["layer"], r["op"], "x".join(map(str, r["shape"])), r["rule"] or "-- NO RULE --") for r in report["layers"]
    ]
    console.table([head, *rows])
    missing = [row for row in report["layers"] if row["rule"] is None]
    console.line("", "")
    if missing:
        ops = ", ".join(sorted({row["op"] for row in missing}))
        console.line(
            "no rule", f"{len(missing)} of {len(rows)} layers ({ops}): decide by --rule '{missing[0]['op']}=pass'"
        )
    else:
        console.line("no rule", f"0 of {len(rows)} layers")
