"""A Pad with zeros before a convolution or an average becomes its padding, as tf2onnx leaves them apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..graph import Layer
from ..rewriting.mutable_graph import MutableGraph


def merge_pads(graph: MutableGraph) -> None:
    """Merge each Pad with zeros into the convolution or average pooling that reads it, where the result is the same.

    The Pad stays for its other readers.

    Args:
        graph: Has the shapes of all activations, and all attributes spelled out.
    """
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
