"""GridSample as elements at places, and a sum of them with weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..graph import Array, Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph

# mode → (the elements that are weighed along an axis, counted from the one below the position; their weights, by
# polynomials of the rest t: coefficients of the highest power of t, of the next, …). The cubic ones are those of
# Keys (1981) with a = -0.75.
_LINEAR = ((0, 1), ((-1, 1), (1, 0)))
_CUBIC = ((-1, 0, 1, 2), ((-0.75, 1.25, -1.25, 0.75), (1.5, -2.25, 1.5, -0.75), (-0.75, 0, 0.75, 0), (0, 1, 0, 0)))
_TAPS: dict[str, tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]] = {
    "nearest": ((0,), ((1,),)),
    "linear": _LINEAR,
    "bilinear": _LINEAR,
    "cubic": _CUBIC,
    "bicubic": _CUBIC,
}
_BOUND = 8.0  # no weight is larger

Tensor = str | Array


def sample(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write y(o) = Σ_k w_k(o) x(p_k(o)) as a gathering of the elements around each point and a sum of products.

    Places p and weights w follow from the points in the layers of the graph, as onnxruntime computes them, so that the
    gradient by the points is that of the weights. Of constant points they are constants, and the layer is linear.

    Returns:
        The layers; none where the file's operator has no meaning that runtimes agree on.
    """
    x, grid = layer.inputs
    axes = len(graph.shape(x)) - 2
    mode = str(layer.attributes.get("mode", "linear"))
    if mode not in _TAPS or (_TAPS[mode] is _CUBIC and axes != 2) or 0 in graph.shape(layer.outputs[0]):
        return []
    points = graph.constant(grid)
    if points is not None and (points != points[:1]).any():
        return []
    build = Builder(graph, layer)
    places, weights = _places_and_weights(_Steps(build), grid if points is None else points[:1], mode)
    (_fixed if points is not None else _computed)(build, places, weights)
    return build.layers


def _fixed(build: Builder, places: Tensor, weights: Tensor | None) -> None:
    """Append the layers for constant places [1, O, K] and weights [1, O, K]."""
    assert isinstance(places, np.ndarray)
    x, out = build.layer.inputs[0], build.out
    batch, channels, *space = build.shape(x)
    _, count, taps = places.shape
    rows = build.reshape(x, (batch, channels, math.prod(space)), f"{out}/flat")
    where = build.integers(places.reshape(-1), f"{out}/indices")
    shape = (batch, channels, count * taps)
    drawn = build.add("Gather", rows, where, out=f"{out}/elements", shape=shape, axis=2)
    if weights is not None:
        assert isinstance(weights, np.ndarray)
        drawn = build.reshape(drawn, (batch, channels, count, taps), f"{out}/around")
        factors = build.constant(weights[0].astype(np.float32), f"{out}/weights")
        drawn = build.add("Mul", drawn, factors, out=f"{out}/weighed", shape=build.shape(drawn))
        axis = build.integers([3], f"{out}/axis")
        shape = (batch, channels, count)
        drawn = build.add("ReduceSum", drawn, axis, out=f"{out}/sum", shape=shape, keepdims=0)
    build.reshape(drawn, build.shape(out), out)


def _computed(build: Builder, places: Tensor, weights: Tensor | None) -> None:
    """Append the layers for computed places [N, O, K] and weights [N, O, K]: rows of all channels are gathered."""
    assert isinstance(places, str)
    x, out = build.layer.inputs[0], build.out
    batch, channels, *space = build.shape(x)
    _, count, taps = build.shape(places)
    flat = build.reshape(x, (batch, channels, math.prod(space)), f"{out}/flat")
    shape: tuple[int, ...] = (batch, math.prod(space), channels)
    rows = build.add("Transpose", flat, out=f"{out}/rows", shape=shape, perm=[0, 2, 1])
    where = build.reshape(places, (batch, count * taps, 1), f"{out}/indices")
    build.graph.dtypes[where] = "int64"
    shape = (batch, count * taps, channels)
    drawn = build.add("GatherND", rows, where, out=f"{out}/elements", shape=shape, batch_dims=1)
    if weights is not None:
        assert isinstance(weights, str)
        drawn = build.reshape(drawn, (batch, count, taps, channels), f"{out}/around")
        # The bound says that the weights are the gate of the elements, also of one channel.
        ends = [build.constant(np.float32(sign * _BOUND), f"{out}/bound") for sign in (-1, 1)]
        bounded = build.add("Clip", weights, *ends, out=f"{out}/bounded", shape=build.shape(weights))
        factors = build.reshape(bounded, (batch, count, taps, 1), f"{out}/weights")
        drawn = build.add("Mul", drawn, factors, out=f"{out}/weighed", shape=build.shape(drawn))
        axis = build.integers([2], f"{out}/axis")
        shape = (batch, count, channels)
        drawn = build.add("ReduceSum", drawn, axis, out=f"{out}/sum", shape=shape, keepdims=0)
    turned = build.add("Transpose", drawn, out=f"{out}/turned", shape=(batch, channels, count), perm=[0, 2, 1])
    build.reshape(turned, build.shape(out), out)


def _places_and_weights(steps: _Steps, grid: Tensor, mode: str) -> tuple[Tensor, Tensor | None]:
    """Return the elements around each point, counted in one channel, and their weights, [N, O, K]; None for ones."""
    attributes = steps.build.layer.attributes
    space = steps.build.shape(steps.build.layer.inputs[0])[2:]
    corners, padding = bool(attributes.get("align_corners", 0)), str(attributes.get("padding_mode", "zeros"))
    batch, *rest, axes = steps.shape(grid)
    points = steps.reshape(grid, (batch, math.prod(rest), axes))
    taps = len(_TAPS[mode][0])
    places: Tensor | None = None
    weights: Tensor | None = None
    for axis, length in enumerate(space):
        # The last axis is the first coordinate.
        along, own = _along(steps, steps.column(points, axes - 1 - axis), length, mode, corners, padding)
        wide = (batch, math.prod(rest), *(taps if i == axis else 1 for i in range(axes)))
        stride = np.array(math.prod(space[axis + 1 :]), np.int64)
        term = steps("Mul", steps.reshape(along, wide), stride)
        places = term if places is None else steps("Add", places, term)
        if own is not None:
            factor = steps.reshape(own, wide)
            weights = factor if weights is None else steps("Mul", weights, factor)
    assert places is not None
    shape = (batch, math.prod(rest), taps**axes)
    return steps.reshape(places, shape), None if weights is None else steps.reshape(weights, shape)


def _along(
    steps: _Steps, coordinate: Tensor, length: int, mode: str, corners: bool, padding: str
) -> tuple[Tensor, Tensor | None]:
    """Return the elements [N, O, taps] of one axis around coordinates [N, O, 1], and their weights; None for ones."""
    one = np.float32(1)
    at = steps("Add", coordinate, one)
    if corners:
        at = steps("Mul", steps("Div", at, np.float32(2)), np.float32(length - 1))
    else:
        at = steps("Div", steps("Sub", steps("Mul", at, np.float32(length)), one), np.float32(2))
    if padding != "reflection":  # beyond these every element is outside
        at = steps("Clip", at, np.float32(-3), np.float32(length + 2))
    offsets, polynomials = _TAPS[mode]
    first = steps("Round" if mode == "nearest" else "Floor", at)
    taps = steps("Add", first, np.array(offsets, np.float32)) if len(offsets) > 1 else first
    if padding == "reflection":
        taps = _reflected(steps, taps, length, corners)
    inside = steps("Clip", taps, np.float32(0), np.float32(length - 1))
    weights: Tensor | None = None
    if mode != "nearest":
        t = steps("Sub", at, first)
        weights = steps(
            "Add", steps("Mul", t, np.array(polynomials[0], np.float32)), np.array(polynomials[1], np.float32)
        )
        for row in polynomials[2:]:
            weights = steps("Add", steps("Mul", weights, t), np.array(row, np.float32))
    if padding == "zeros":
        valid = steps("Cast", steps("Equal", taps, inside), to=onnx.TensorProto.FLOAT)
        weights = valid if weights is None else steps("Mul", weights, valid)
    return steps("Cast", inside, to=onnx.TensorProto.INT64), weights


def _reflected(steps: _Steps, taps: Tensor, length: int, corners: bool) -> Tensor:
    """Return whole positions reflected at the first and last element, or half an element beyond them."""
    low, span = (0.0, max(length - 1, 1)) if corners else (-0.5, length)
    behind = steps("Abs", steps("Sub", taps, np.float32(low)))
    within = steps("Mod", behind, np.float32(2 * span), fmod=1)
    left = steps("Abs", steps("Sub", np.float32(span), within))
    return steps("Round", steps("Sub", np.float32(low + span), left))


@dataclass
class _Steps:
    """Arithmetic with tensors of the graph, which appends layers, and with constants, which computes."""

    build: Builder

    def __call__(self, op: str, *operands: Tensor | np.generic, **attributes: Any) -> Tensor:
        """Return the result of an elementwise operator."""
        if not any(isinstance(operand, str) for operand in operands):
            return np.asarray(_NUMPY[op](*operands, **attributes))
        shape = np.broadcast_shapes(*(self.shape(operand) for operand in operands))
        kinds = {"Equal": "bool", "Cast": "int64" if attributes.get("to") == onnx.TensorProto.INT64 else "float32"}
        return self._add(op, operands, shape, kinds.get(op, ""), attributes)

    def shape(self, operand: Tensor | np.generic) -> tuple[int, ...]:
        """Return the shape of an operand."""
        return self.build.shape(operand) if isinstance(operand, str) else operand.shape

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return an operand in another shape."""
        if isinstance(x, np.ndarray):
            return x.reshape(shape)
        return self._add("Reshape", (x, np.array(shape, np.int64)), shape)

    def column(self, x: Tensor, n: int) -> Tensor:
        """Return x[:, :, n : n + 1]."""
        if isinstance(x, np.ndarray):
            return x[:, :, n : n + 1].astype(np.float32)
        bounds = (np.array([value], np.int64) for value in (n, n + 1, 2))
        return self._add("Slice", (x, *bounds), (*self.build.shape(x)[:2], 1))

    def _add(
        self,
        op: str,
        operands: Sequence[Tensor | np.generic],
        shape: Sequence[int],
        kind: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> str:
        out = f"{self.build.out}/sampling/{len(self.build.layers)}"
        names = [o if isinstance(o, str) else self.build.constant(o, f"{out}/constant") for o in operands]
        self.build.add(op, *names, out=out, shape=shape, **(attributes or {}))
        self.build.graph.dtypes[out] = kind or self.build.graph.dtypes.get(names[0], "float32")
        return out


_NUMPY: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Mod": lambda x, n, fmod: np.fmod(x, n),
    "Abs": np.abs,
    "Clip": np.clip,
    "Floor": np.floor,
    "Round": np.rint,
    "Equal": np.equal,
    "Cast": lambda x, to: x.astype(np.int64 if to == onnx.TensorProto.INT64 else np.float32),
}
