"""Receptive fields: the part of the input that a position inside of a model depends on.

Read off the windows of convolutions and poolings. Where a layer is none that moves a window, or mixes positions in
another way, all of the axis counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..graph import Array, Graph, Layer
from ..operators import CONVOLUTIONS, ELEMENTWISE, GLOBAL_POOLS, MIXES_ONE_AXIS, WINDOW_POOLS, ops

Box = tuple[tuple[int, int], ...]

_POINTWISE = ELEMENTWISE | ops("BatchNormalization LRN")


@dataclass(frozen=True, eq=False)
class Span:
    """What an axis shows of the positions along one axis of the tensor asked for.

    Attributes:
        axis: The axis of the tensor asked for.
        low: The first place that each position depends on.
        high: The last; below `low` where there is none.
    """

    axis: int
    low: Array
    high: Array

    def hull(self, other: Span) -> Span | None:
        """Return the smallest span that holds both, None where they are of different axes."""
        if other.axis != self.axis:
            return None
        empty, there = self.low > self.high, other.low > other.high
        low = np.where(empty, other.low, np.where(there, self.low, np.minimum(self.low, other.low)))
        high = np.where(empty, other.high, np.where(there, self.high, np.maximum(self.high, other.high)))
        return Span(self.axis, low, high)


_Spans = dict[int, Span]  # by axis; an axis that is not there counts as a whole


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """The receptive fields of all positions of a tensor.

    Attributes:
        shape: The shape of the input per sample.
        axis: The axis of channels of the tensor, which positions leave out.
        spans: By axis of the input; a missing one counts as a whole.
    """

    shape: tuple[int, ...]
    axis: int
    spans: Mapping[int, Span] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every position depends on all of the input."""
        return not self.spans

    def box(self, position: tuple[int, ...]) -> Box:
        """Return the part of the input that a position depends on.

        Args:
            position: The place along each axis of the tensor but that of channels.

        Returns:
            For each axis of the input (start, stop), cut at its border; start = stop where it depends on nothing.
        """
        found = []
        for n, length in enumerate(self.shape):
            span = self.spans.get(n)
            if span is None:
                found.append((0, length))
                continue
            at = position[span.axis - (span.axis > self.axis)]
            low, high = int(span.low[at]), int(span.high[at])
            found.append((low, high + 1) if low <= high else (0, 0))
        return tuple(found)


def receptive_field(graph: Graph, tensor: str, axis: int) -> ReceptiveField:
    """Return the receptive fields of the positions of a tensor in the explained input.

    Args:
        graph: The graph.
        tensor: The name of a tensor in it.
        axis: Its axis of channels.
    """
    shape, source = graph.shapes[tensor], graph.inputs[0]
    start = {n: Span(n, np.arange(length), np.arange(length)) for n, length in enumerate(shape) if n != axis}
    reached: dict[str, _Spans] = {tensor: start}
    for layer in reversed(graph.layers):
        for name in layer.outputs:
            spans = reached.get(name)
            if spans is None:
                continue
            for number, operand in enumerate(layer.inputs):
                if operand in graph.shapes:
                    back = _back(graph, layer, name, number, spans)
                    reached[operand] = _joined(reached[operand], back) if operand in reached else back
    return ReceptiveField(source.shape, axis, reached.get(source.name, {}))


def _joined(first: _Spans, second: _Spans) -> _Spans:
    """The hull of both; an axis that counts as a whole in one does so."""
    both = {n: first[n].hull(second[n]) for n in first.keys() & second.keys()}
    return {n: span for n, span in both.items() if span is not None}


def _back(graph: Graph, layer: Layer, result: str, number: int, spans: _Spans) -> _Spans:
    """The spans of an operand of a layer, of those of its result."""
    source, target = graph.shapes[layer.inputs[number]], graph.shapes[result]
    if layer.op in CONVOLUTIONS | WINDOW_POOLS:
        return _windows(graph, layer, source, spans) if number == 0 else {}
    if layer.op in GLOBAL_POOLS:
        return {n: span for n, span in spans.items() if n == 0}
    if layer.op in _POINTWISE:
        lead = len(target) - len(source)
        kept = {n - lead: span for n, span in spans.items() if n >= lead}
        return {n: span for n, span in kept.items() if source[n] == target[n + lead]}
    if layer.op in MIXES_ONE_AXIS:
        return _without_axis(layer, len(target), spans)
    if layer.op == "Transpose":
        order = [int(n) for n in layer.attributes.get("perm", range(len(target), -1, -1))]
        return {order[n + 1] - 1: span for n, span in spans.items()} if order[0] == 0 else {}
    if layer.op == "Pad" and number == 0:
        return _padded(graph, layer, source, target, spans)
    if layer.op in ("Slice", "Split") and len(source) == len(target):
        return {n: span for n, span in spans.items() if source[n] == target[n]}
    return {}


def _without_axis(layer: Layer, rank: int, spans: _Spans) -> _Spans:
    """All but the axes that the layer works along; normalisations work along all axes from theirs on."""
    default = 0 if layer.op == "Concat" else -1
    axis = int(layer.attributes.get("axis", default))
    axis = axis - 1 if axis >= 0 else axis + rank  # the batch is axis 0
    later = layer.op in ("LayerNormalization", "RMSNormalization")
    return {n: span for n, span in spans.items() if not (n >= axis if later else n == axis)}


def _windows(graph: Graph, layer: Layer, source: tuple[int, ...], spans: _Spans) -> _Spans:
    """Through a window: the positions p s - pad to p s - pad + (k - 1) d; of a transposed one those that write to p."""
    d = len(source) - 1
    attributes = layer.attributes
    kernel = attributes.get("kernel_shape")
    if kernel is None:
        weight = layer.inputs[1]
        kernel = graph.constants[weight].shape[2:] if weight in graph.constants else graph.shapes[weight][1:]
    strides, dilations = (list(attributes.get(key) or [1] * d) for key in ("strides", "dilations"))
    pads = list(attributes.get("pads") or [0] * (2 * d))
    step: Callable[..., tuple[Array, Array]] = _transposed if layer.op == "ConvTranspose" else _plain
    found = {}
    for n, span in spans.items():
        if n > 0:
            low, high = step(span, int(kernel[n - 1]), int(strides[n - 1]), int(dilations[n - 1]), int(pads[n - 1]))
            found[n] = _clipped(span, low, high, source[n])
    return found


def _plain(span: Span, kernel: int, stride: int, dilation: int, pad: int) -> tuple[Array, Array]:
    return span.low * stride - pad, span.high * stride - pad + (kernel - 1) * dilation


def _transposed(span: Span, kernel: int, stride: int, dilation: int, pad: int) -> tuple[Array, Array]:
    return -((-(span.low + pad - (kernel - 1) * dilation)) // stride), (span.high + pad) // stride


def _padded(graph: Graph, layer: Layer, source: tuple[int, ...], target: tuple[int, ...], spans: _Spans) -> _Spans:
    """Through a padding with a constant; a padding that mirrors or repeats reads other places, so all count."""
    same = {n: span for n, span in spans.items() if source[n] == target[n]}
    pads = layer.attributes.get("pads")
    if pads is None and len(layer.inputs) > 1 and layer.inputs[1] in graph.constants and len(layer.inputs) < 4:
        pads = graph.constants[layer.inputs[1]].reshape(-1).tolist()
    if pads is None or len(pads) != 2 * (len(source) + 1) or layer.attributes.get("mode", "constant") != "constant":
        return same
    shifts = {n: int(pads[n + 1]) for n in spans}
    return {n: _clipped(s, s.low - shifts[n], s.high - shifts[n], source[n]) for n, s in spans.items()}


def _clipped(span: Span, low: Array, high: Array, length: int) -> Span:
    """A span cut at the border of its axis; what was empty stays so."""
    empty = span.low > span.high
    low, high = np.maximum(low, 0), np.minimum(high, length - 1)
    return Span(span.axis, np.where(empty, 1, low), np.where(empty, 0, high))
