"""Printing of `onnxlrp inspect`: the model, its layers and rules, kernels, and the ranking of preprocessings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import listed
from ..graph.graph import Tensor
from ..model import Model
from ..preprocessing.labels import short
from . import summary
from .console import Console

_FIRST = 6  # class names shown
_MAY_BE_BOXES = "the outputs may be boxes of a detector: -t {target} explains the class of the best"


def print_model(model: Model, report: dict[str, Any], console: Console) -> None:
    """Print what `inspect` reports of a model: inputs, outputs, preprocessing, labels, layers and their rules."""
    graph, prep = model.graph, report["preprocessing"]
    made = ", ".join(filter(None, (report["producer"], report["opset"] and f"opset {report['opset']}")))
    console.line("model", f"{graph.source}  {made}".rstrip())
    whole, explained = model.whole or graph, report["explained"]
    for key, tensors in (("input", whole.inputs), ("output", whole.outputs)):
        for tensor in tensors:
            mark = "  [explained]" if len(tensors) > 1 and tensor.name == explained[key] else ""
            console.line(key, shown(tensor, graph.batch, graph.open_axes.get(tensor.name)) + mark)
    console.line("head", summary.head_line(model.head, report["classes"], bool(report["labels"])))
    if report["boxes"]:
        boxes = "{read}  [default target: {target}]" if report["boxes"]["certain"] else _MAY_BE_BOXES
        console.line("boxes", boxes.format_map(report["boxes"]))
    console.line("kind", f"{model.kind.describe()}  [{model.kind.source}]")
    if report["text"]:
        console.line("text", report["text"])
    for column, codes in report["categories"].items():
        console.line("words", f"{column}: {listed([repr(word) for word in codes], _FIRST)}")
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
    default = f"  [default for {report['default_for']}]" if report["default_for"] else ""
    console.line("method", report["method"] + default)
    if report["layers_unread"]:
        console.line("layers", f"cannot be read: {report['layers_unread']}")
        console.line("methods", f"those of forward passes alone: {', '.join(report['methods'])}")
        return
    if report["trees"]:
        for one in report["trees"]:
            console.line("trees", "{layer}: {trees} trees, {leaves} leaves, depth {depth}".format_map(one))
        console.line("", "tree_shap needs rows such as of the training set: explain … --background train.csv")
        return
    if not report["layers"]:  # a method without rules
        return
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
            f"{len(missing)} of {len(rows)} layers ({ops}): where the shape stays --rule '{missing[0]['op']}=pass', "
            "else -m occlusion; or --on-unsupported",
        )
    else:
        console.line("no rule", f"0 of {len(rows)} layers")


def print_kernels(found: Any, engine: str, console: Console) -> None:
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


def print_probe(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the ranking of presets, the best first."""
    console.line("", "")
    right = ["right"] if rows[0]["accuracy"] is not None else []
    table = [("contrast of best class", "probability", *right, "preprocessing")]
    for row in rows:
        share = [f"{100 * row['accuracy']:.0f} %"] if right else []
        flags = row["flags"] + "  [as it is]" * row["current"]
        table.append((f"{row['contrast']:.2f} sd", f"{row['probability']:.3f}", *share, flags))
    console.table(table)
    console.line("hint", "this changes nothing; a confident model may be wrong, and few pictures prove little")


def shown(tensor: Tensor, batch: int | None, open_axes: Mapping[int, str] | None = None) -> str:
    """Return a tensor as text: `image   float32 [N, 3, 224, 224]`; open axes by name, with the length shown for."""
    free = open_axes or {}
    sides = [f"{free[axis]}={length}" if axis in free else str(length) for axis, length in enumerate(tensor.shape)]
    text = f"{tensor.name}  {tensor.dtype} [{', '.join([str(batch or 'N'), *sides])}]"
    return text + "  [open: each sample tells it, or --size]" * bool(free)


def _ruled(row: dict[str, Any]) -> str:
    if row["rule"] is None:
        return "-- NO RULE --"
    return f"{row['rule']}  [--on-unsupported]" if row["decided"] else str(row["rule"])


def _shortened(text: str, width: int = 40) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
