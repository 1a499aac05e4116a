"""Detectors that end in NonMaxSuppression: the numbers before it become the outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx

from ..graph import SUPPRESSION, Array
from ..operators import MATRIX_PRODUCTS, SPATIAL

_OPERATOR = "NonMaxSuppression"


def outputs_before_suppression(model: onnx.ModelProto, weights: Mapping[str, Array]) -> dict[str, str]:
    """Make what NonMaxSuppression chooses from the outputs of a model, in the place of those that depend on its choice.

    That is the tensor that both its boxes and its scores are taken from (YOLO), or these two (SSD). Which boxes are
    chosen is found again by their scores and overlaps, as the file states them.

    Args:
        model: The model, which is changed.
        weights: Its constants by name.

    Returns:
        Entries of metadata; {} where there is no such operator, or several.
    """
    graph = model.graph
    found = [node for node in graph.node if node.op_type == _OPERATOR and node.domain in ("", "ai.onnx")]
    if len(found) != 1:
        return {}
    node = found[0]
    behind = set(node.output)
    for other in graph.node:
        if behind.intersection(other.input):
            behind.update(other.output)
    dropped = [value for value in graph.output if value.name in behind]
    if not dropped:
        return {}
    made = {name: other for other in graph.node for name in other.output}
    before = [_sources(made, name) for name in node.input[:2]]
    common = [name for name in before[0] if name in before[1] and name in made]
    last = {name: n for n, other in enumerate(graph.node) for name in other.output}
    chosen = [max(common, key=last.__getitem__)] if common else list(node.input[:2])
    stated = _stated(node, weights) | ({} if common else {"boxes": chosen[0], "scores": chosen[1]})
    kept = [value for value in graph.output if value.name not in behind and value.name not in chosen]
    known = {value.name: value for value in graph.value_info}
    new = [known.get(name) or onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in chosen]
    del graph.output[:]
    graph.output.extend([*new, *kept])
    _prune(graph)
    return {SUPPRESSION: json.dumps(stated)}


def _stated(node: onnx.NodeProto, weights: Mapping[str, Array]) -> dict[str, float | str]:
    """The thresholds that are constants of the file, and how boxes are written."""
    names = [*node.input, "", "", ""]
    found: dict[str, float | str] = {}
    for key, name in (("iou", names[3]), ("score", names[4])):
        if name in weights and weights[name].size == 1:
            found[key] = float(weights[name].reshape(-1)[0])
    if any(a.name == "center_point_box" and a.i == 1 for a in node.attribute):
        found["format"] = "cxcywh"
    return found


def _sources(made: Mapping[str, onnx.NodeProto], name: str) -> set[str]:
    """The tensors that a tensor is taken or computed from without weights; indices and conditions left out."""
    found, waiting = {name}, [name]
    while waiting:
        node = made.get(waiting.pop())
        if node is None or node.op_type in SPATIAL | MATRIX_PRODUCTS:
            continue
        indexed = node.op_type.startswith("Gather") or node.op_type in ("TopK", "Compress")
        read = node.input[:1] if indexed else node.input[1:] if node.op_type == "Where" else node.input
        for one in read:
            if one and one not in found:
                found.add(one)
                waiting.append(one)
    return found


def _prune(graph: onnx.GraphProto) -> None:
    """Drop the nodes that no output needs."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    needed.update(name for one in inner.node for name in one.input)
    del graph.node[:]
    graph.node.extend(kept[::-1])
