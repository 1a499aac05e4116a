"""Attributes spelled out: defaults written down, windows as numbers, padding explicit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import onnx
from onnx import defs

from ...errors import InputError, UnsupportedError
from .. import operators
from ..graph import Layer
from ..reading.printable import printable
from ..rewriting.mutable_graph import MutableGraph


def spell_out_attributes(graph: MutableGraph) -> None:
    """Write down every attribute that a layer leaves to its default.

    Windows get `kernel_shape`, `strides`, `dilations` and `pads` as numbers; `auto_pad` and `output_shape` become pads.

    Args:
        graph: Has the shapes of all activations.

    Raises:
        InputError: A window has other dimensions than the operand that it moves over.
    """
    graph.layers = [_explicit(graph, layer) for layer in graph.layers]


def _explicit(graph: MutableGraph, layer: Layer) -> Layer:
    if "::" in layer.op:
        return layer
    attributes = {**_defaults(layer.op, graph.opsets.get("", 23)), **layer.attributes}
    if layer.op in operators.CONVOLUTIONS or layer.op in operators.WINDOW_POOLS:
        attributes = _window(graph, layer, attributes)
    if layer.op == "Transpose" and "perm" not in attributes:
        attributes["perm"] = tuple(reversed(range(len(graph.shapes[layer.inputs[0]]))))
    return replace(layer, attributes=attributes)


@cache
def _defaults(op: str, opset: int) -> Mapping[str, Any]:
    schema = defs.get_schema(op, opset)
    known = {name: a.default_value for name, a in schema.attributes.items()}
    values = {name: onnx.helper.get_attribute_value(value) for name, value in known.items() if value.type}
    return {name: _text(v) for name, v in values.items()}


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_text(v) for v in value)
    return value.decode() if isinstance(value, bytes) else value


def _window(graph: MutableGraph, layer: Layer, attributes: dict[str, Any]) -> dict[str, Any]:
    """kernel_shape, strides, dilations and pads as numbers; auto_pad and output_shape resolved into pads."""
    source, out = graph.shapes[layer.inputs[0]][2:], graph.shapes[layer.outputs[0]][2:]
    rank = len(source)
    if layer.op in operators.CONVOLUTIONS:
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
            f'the {layer.op} node "{printable(layer.label)}" has a window of other dimensions than its operand',
            "export the model again",
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
        total = [(o - 1) * s + r - i for i, o, s, r in zip(source, out, strides, reach, strict=True)]
        _check_same(layer, auto_pad, attributes["dilations"], total)
        attributes["pads"] = _split([max(t, 0) for t in total], auto_pad == "SAME_LOWER")
    attributes["pads"] = zeros * 2 if auto_pad == "VALID" else tuple(attributes.get("pads") or zeros * 2)
    if auto_pad.startswith("SAME") and "ceil_mode" in attributes:  # with VALID, onnxruntime rounds up as it says
        attributes["ceil_mode"] = 0
    return attributes


def _check_same(layer: Layer, auto_pad: str, dilations: tuple[int, ...], total: list[int]) -> None:
    """Raise UnsupportedError where onnxruntime reckons the pads of a pooling by itself, against the standard."""
    found = ""
    if layer.op not in operators.CONVOLUTIONS and set(dilations) != {1}:
        found = "has dilations, which onnxruntime leaves out of the pads"
    elif layer.op in ("AveragePool", "LpPool") and min(total) < -1:
        found = "skips more than one element at the end, which onnxruntime shares between both ends"
    if found:
        raise UnsupportedError(
            f'the {layer.op} node "{printable(layer.label)}" of auto_pad {auto_pad} {found}',
            "export the model with explicit pads",
        )


def _split(total: list[int], begin_heavy: bool) -> tuple[int, ...]:
    """Total padding per axis → ONNX pads; the odd one goes to the end, or to the beginning."""
    begin = [t - t // 2 if begin_heavy else t // 2 for t in total]
    return (*begin, *(t - b for t, b in zip(total, begin, strict=True)))
