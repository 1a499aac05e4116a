"""One way to write each layer: defaults spelled out, padding explicit, affine neighbours merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import defs

from ...errors import InputError
from ..graph import Layer
from ..reading.printable import printable
from ..rewriting.mutable_graph import MutableGraph
from ..to_onnx import is_floating
from .fuse_activations import recombine
from .merge_affine import merge_affine

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})


def canonize(graph: MutableGraph) -> None:
    """Rewrite a graph with known shapes into the form that every later stage may assume."""
    graph.layers = [_explicit(graph, layer) for layer in graph.layers]
    graph.layers = [_dense(graph, layer) for layer in graph.layers]
    merge_pads(graph)
    merge_affine(graph)
    recombine(graph)
    graph.prune()
    number_conditions(graph)


def _explicit(graph: MutableGraph, layer: Layer) -> Layer:
    """Attributes that the node leaves to their defaults, written down."""
    if "::" in layer.op:
        return layer
    attributes = {**_defaults(layer.op, graph.opsets.get("", 23)), **layer.attributes}
    if layer.op in _CONVOLUTIONS or layer.op in _POOLS:
        attributes = _window(graph, layer, attributes)
    if layer.op == "Transpose" and "perm" not in attributes:
        attributes["perm"] = tuple(reversed(range(len(graph.shapes[layer.inputs[0]]))))
    return replace(layer, attributes=attributes)


@cache
def _defaults(op: str, opset: int) -> Mapping[str, Any]:
    schema = defs.get_schema(op, opset)
    known = {name: a.default_value for name, a in schema.attributes.items()}
    values = {name: onnx.helper.get_attribute_value(value) for name, value in known.items() if value.type}
    return {name: v.decode() if isinstance(v, bytes) else v for name, v in values.items()}


def _window(graph: MutableGraph, layer: Layer, attributes: dict[str, Any]) -> dict[str, Any]:
    """kernel_shape, strides, dilations and pads as numbers; auto_pad and output_shape resolved into pads."""
    source, out = graph.shapes[layer.inputs[0]][2:], graph.shapes[layer.outputs[0]][2:]
    rank = len(source)
    if layer.op in _CONVOLUTIONS:
        name = layer.inputs[1]
        weight = graph.constants[name].shape if name in graph.constants else graph.shapes[name]
        attributes["kernel_shape"] = tuple(weight[2:])
    ones, zeros = (1,) * rank, (0,) * rank
    attributes["strides"] = tuple(attributes.get("strides") or ones)
    attributes["dilations"] = tuple(attributes.get("dilations") or ones)
    auto_pad = attributes.pop("auto_pad", "NOTSET")
    output_shape = attributes.pop("output_shape", None)
    strides = attributes["strides"]
    if {len(strides), len(attributes["dilations"]), len(attributes["kernel_shape"])} != {rank}:
        raise InputError(
            f'The {layer.op} node "{printable(layer.label)}" has a window of other dimensions than its operand.',
            "Export the model again.",
        )
    reach = [(k - 1) * d + 1 for k, d in zip(attributes["kernel_shape"], attributes["dilations"], strict=True)]
    if layer.op == "ConvTranspose":
        extra = attributes["output_padding"] = tuple(attributes.get("output_padding") or zeros)
        if output_shape is not None or auto_pad.startswith("SAME"):
            sizes = zip(source, out, strides, reach, extra, strict=True)
            total = [s * (i - 1) + e + r - o for i, o, s, r, e in sizes]
            # What the windows do not reach is added at the end.
            attributes["output_padding"] = tuple(e - min(t, 0) for e, t in zip(extra, total, strict=True))
            attributes["pads"] = _split([max(t, 0) for t in total], auto_pad != "SAME_UPPER")
    elif auto_pad.startswith("SAME"):
        total = [max((o - 1) * s + r - i, 0) for i, o, s, r in zip(source, out, strides, reach, strict=True)]
        attributes["pads"] = _split(total, auto_pad == "SAME_LOWER")
    attributes["pads"] = zeros * 2 if auto_pad == "VALID" else tuple(attributes.get("pads") or zeros * 2)
    if auto_pad != "NOTSET" and "ceil_mode" in attributes:
        attributes["ceil_mode"] = 0
    return attributes


def _split(total: list[int], begin_heavy: bool) -> tuple[int, ...]:
    """Total padding per axis → ONNX pads; the odd one goes to the end, or to the beginning."""
    begin = [t - t // 2 if begin_heavy else t // 2 for t in total]
    return (*begin, *(t - b for t, b in zip(total, begin, strict=True)))


def _dense(graph: MutableGraph, layer: Layer) -> Layer:
    """MatMul of a matrix with a constant is a Gemm; a Gemm's alpha and beta go into its constants."""
    weight = graph.constant(layer.inputs[1]) if len(layer.inputs) > 1 else None
    if weight is None or weight.ndim != 2 or not is_floating(weight):
        return layer
    if layer.op == "MatMul" and len(graph.shapes.get(layer.inputs[0], ())) == 2:
        attributes = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        return replace(layer, op="Gemm", attributes=attributes)
    if layer.op != "Gemm" or layer.attributes["transA"]:
        return layer
    inputs, attributes = list(layer.inputs), dict(layer.attributes)
    if attributes["alpha"] != 1:
        inputs[1] = graph.add_constant(weight.astype(np.float64) * attributes["alpha"], inputs[1])
        attributes["alpha"] = 1.0
    bias = graph.constant(inputs[2]) if len(inputs) > 2 else None
    width = graph.shapes[layer.outputs[0]][1]
    if bias is not None and bias.size in (1, width):
        if attributes["beta"] != 1:
            bias = bias.astype(np.float64) * attributes["beta"]
            attributes["beta"] = 1.0
        if bias is not graph.constants[inputs[2]] or bias.shape != (width,):
            inputs[2] = graph.add_constant(np.array(np.broadcast_to(bias.reshape(-1), (width,))), inputs[2])
    return replace(layer, inputs=tuple(inputs), attributes=attributes)


def number_conditions(graph: MutableGraph) -> None:
    """The condition of a Where as a number too, 1 where it holds: what relevance reads. Nobody in the model does."""
    layers: list[Layer] = []
    for layer in graph.layers:
        name = layer.inputs[0] if layer.op == "Where" else ""
        number = f"{name}/chosen"
        if name and name not in graph.constants and number not in graph.shapes:
            graph.shapes[number], graph.dtypes[number] = graph.shapes[name], "float32"
            layers.append(Layer("Cast", number, layer.path, (name,), (number,), {"to": onnx.TensorProto.FLOAT}))
        layers.append(layer)
    graph.layers = layers


def merge_pads(graph: MutableGraph) -> None:
    """A Pad with zeros before a convolution (tf2onnx) is the convolution's padding."""
    producers = graph.producers()
    merged: list[Layer] = []
    for layer in graph.layers:
        pad = producers.get(layer.inputs[0]) if layer.inputs else None
        pads = _zero_pads(graph, pad) if pad is not None and pad.op == "Pad" else None
        if pad is not None and pads is not None and _takes_pads(layer, pads):
            total = tuple(a + b for a, b in zip(layer.attributes["pads"], pads, strict=True))
            attributes = {**layer.attributes, "pads": total}
            if layer.op == "AveragePool":
                attributes["count_include_pad"] = 1
            layer = replace(layer, inputs=(pad.inputs[0], *layer.inputs[1:]), attributes=attributes)
        merged.append(layer)
    graph.layers = merged


def _takes_pads(layer: Layer, pads: tuple[int, ...]) -> bool:
    if layer.op == "Conv":
        return True
    # An average counts the zeros of a Pad layer; its own padding counts only if it says so.
    attributes = layer.attributes
    return bool(
        layer.op == "AveragePool"
        and not attributes["ceil_mode"]
        and (attributes["count_include_pad"] or not any(attributes["pads"]))
        and all(a + b < k for a, b, k in zip(attributes["pads"], pads, attributes["kernel_shape"] * 2, strict=True))
    )


def _zero_pads(graph: MutableGraph, pad: Layer) -> tuple[int, ...] | None:
    """The spatial pads of a Pad that adds zeros to spatial axes alone."""
    amounts = graph.constant(pad.inputs[1])
    rank = len(graph.shapes[pad.inputs[0]])
    if pad.attributes["mode"] != "constant" or amounts is None:
        return None
    if len(pad.inputs) > 2 and pad.inputs[2]:
        value = graph.constant(pad.inputs[2])
        if value is None or value.any():
            return None
    begin, end = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    axes = graph.constant(pad.inputs[3]) if len(pad.inputs) > 3 else np.arange(rank)
    if axes is None:
        return None
    begin[axes], end[axes] = amounts[: len(axes)], amounts[len(axes) :]
    if (begin < 0).any() or (end < 0).any() or begin[:2].any() or end[:2].any():
        return None
    return (*(int(v) for v in begin[2:]), *(int(v) for v in end[2:]))
