"""Resize: a constant matrix along each axis, from the definition of the operator (ONNX, Resize-19)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import UnsupportedError
from ..graph.graph import Array
from ..program.affine import Affine, Diagonal, LinearStep, composed
from ..program.op import Op, linear_op
from . import Node, layer, unsupported
from .selection import MAX_SELECTION, map_sequence, route


class Axis(NamedTuple):
    """One resized axis.

    Args:
        before: Length of the input.
        after: Length of the output.
        scale: after / before, as the operator states it.
        start: Begin of the region of interest, as a share of the input.
        end: End of the region of interest, as a share of the input.
    """

    before: int
    after: int
    scale: float
    start: float
    end: float

    def coordinates(self, rule: str) -> Array:
        """Return the coordinate of each output on the input's axis, by the coordinate transformation mode `rule`."""
        x, n = np.arange(self.after, dtype=np.float64), self.before
        half_pixel = (x + 0.5) / self.scale - 0.5
        if rule == "half_pixel_symmetric":
            # The middle stays in the middle where the length was rounded.
            return half_pixel + n / 2 * (1 - self.after / (self.scale * n))
        if rule == "pytorch_half_pixel":
            return half_pixel if self.after > 1 else np.zeros(1)
        if rule == "align_corners":
            return x * (n - 1) / max(1, self.after - 1)
        if rule == "asymmetric":
            return x / self.scale
        if rule == "tf_half_pixel_for_nn":
            return (x + 0.5) / self.scale
        if rule == "tf_crop_and_resize":
            if self.after == 1:
                return np.full(1, 0.5 * (self.start + self.end) * (n - 1))
            return self.start * (n - 1) + x * (self.end - self.start) * (n - 1) / (self.after - 1)
        return half_pixel


@layer("Resize", kind="avgpool")
def resize(node: Node) -> Op:
    """Resize: nearest neighbours return relevance to their source, interpolation y = A x shares it: x ⊙ Aᵀ(R / Ax)."""
    if node.attribute("mode", "nearest") == "nearest":
        return _repeated(node)
    rule = str(node.attribute("coordinate_transformation_mode", "half_pixel"))
    axes = _resized(node, rule)
    where = [axis.coordinates(rule) for axis in axes]
    fill = float(node.attribute("extrapolation_value", 0.0))
    outside = [np.zeros(axis.after, bool) for axis in axes]
    if rule == "tf_crop_and_resize":
        outside = [(at < 0) | (at > axis.before - 1) for axis, at in zip(axes, where, strict=True)]
    matrices = [
        np.where(gone, 0.0, _matrix(node, axis, at)) for axis, at, gone in zip(axes, where, outside, strict=True)
    ]
    return _interpolated(node, matrices, outside, fill if any(gone.any() for gone in outside) else 0.0)


def _repeated(node: Node) -> Op:
    """Return the op of a Resize that repeats elements, the one of nearest neighbours that loading leaves."""
    x, y = node.operand(0), node.result
    if any(after % before for before, after in zip(x.shape, y.shape, strict=True)):
        raise unsupported(node.layer)
    maps = map_sequence(node, x)
    maps.select([np.repeat(np.arange(n), m // n) for n, m in zip(x.shape, y.shape, strict=True)])
    return route(node, maps.linear())


def _interpolated(node: Node, matrices: list[Array], outside: list[Array], fill: float) -> Op:
    """Return the op of the matrices along the axes, with `fill` where a coordinate of any axis lies outside."""
    x, y, trace = node.operand(0), node.result, node.trace
    maps = map_sequence(node, x)
    # Shrinking axes first, and of the growing ones the last axis, which needs no transposition, at the end.
    order = sorted(range(len(matrices)), key=lambda i: matrices[i].shape[1] / matrices[i].shape[0] > 1)
    for i in order:
        n, m = matrices[i].shape
        if n != m or not np.array_equal(matrices[i], np.eye(n)):
            maps.multiply(i, matrices[i])
    linear = maps.linear()
    if linear is None:
        return route(node, None)
    if not fill:
        trace.declare_linear(linear, x, None, None, y)
        return linear_op("avgpool", ((Affine(linear, gain=trace.constant(1.0)), x),), y, node.layer.label)
    inside = np.ones(())
    for gone in outside:
        inside = inside[..., None] * ~gone
    shifted = composed(*maps.steps, LinearStep(Diagonal(y.shape, y.shape), layer_weight=True))
    weight, bias = trace.constant(1.0), trace.constant((1 - inside) * fill)
    trace.declare_linear(shifted, x, weight, bias, y)
    return linear_op("avgpool", ((Affine(shifted, weight, bias), x),), y, node.layer.label)


def _resized(node: Node, rule: str) -> list[Axis]:
    """Return every per-sample axis of the operand."""
    x, y = node.operand(0), node.result
    rank = len(x.shape) + 1
    chosen = node.attribute("axes")
    axes = [int(a) % rank for a in (range(rank) if chosen is None else chosen)]
    roi = node.array(1, []).reshape(-1) if node.has(1) else np.zeros(0)
    scales = node.array(2, []).reshape(-1) if node.has(2) else np.zeros(0)
    sizes = node.array(3, []).reshape(-1) if node.has(3) else np.zeros(0)
    found = []
    policy = str(node.attribute("keep_aspect_ratio_policy", "stretch"))
    shape = (1, *x.shape)
    ratios = {a: float(s) / shape[a] for a, s in zip(axes, sizes, strict=False) if a}
    for axis, (n, m) in enumerate(zip(x.shape, y.shape, strict=True), 1):
        place = axes.index(axis) if axis in axes else None
        scale, region = m / n, (0.0, 1.0)
        if place is not None:
            if scales.size:
                scale = float(scales[place])
            elif policy != "stretch":
                scale = (min if policy == "not_larger" else max)(ratios.values())
            if roi.size and rule == "tf_crop_and_resize":
                region = (float(roi[place]), float(roi[place + len(axes)]))
        if rule == "align_corners" and scales.size and abs(scale * n - m) > 1e-4:
            raise UnsupportedError(
                f"Resize {node.layer.label!r} aligns corners with a scale that gives no integer length, {n} times "
                f"{scale:g}: runtimes disagree about its coordinates",
                "export the model with the size of the result instead of the scale",
            )
        found.append(Axis(n, m, scale, *region))
    return found


def _matrix(node: Node, axis: Axis, where: Array) -> Array:
    """Return the weight of each input in each output, [before, after]."""
    if axis.before == axis.after and np.allclose(where, np.arange(axis.before), atol=1e-6):
        return np.eye(axis.before)
    if axis.before * axis.after > MAX_SELECTION:
        raise unsupported(node.layer)
    cubic = node.attribute("mode") == "cubic"
    kernel = _cubic(float(node.attribute("cubic_coeff_a", -0.75))) if cubic else _triangle
    # Below scale 1, antialiasing widens the kernel to the inputs that one output stands for.
    wide = min(1.0, axis.scale) if node.attribute("antialias", 0) else 1.0
    first = np.floor(where).astype(np.int64) + 1
    reach = int(np.ceil((2 if cubic else 1) / wide))
    taps = first[:, None] + np.arange(-reach, reach)[None, :]
    weights = kernel(np.abs(taps - where[:, None]) * wide)
    if node.attribute("exclude_outside", 0):
        weights = weights * ((taps >= 0) & (taps < axis.before))
    weights = weights / weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((axis.before, axis.after))
    # Taps beyond an edge repeat the edge.
    np.add.at(matrix, (np.clip(taps, 0, axis.before - 1), np.arange(axis.after)[:, None]), weights)
    return matrix


def _triangle(distance: Array) -> Array:
    return np.asarray(np.maximum(0, 1 - distance))


def _cubic(a: float) -> Callable[[Array], Array]:
    """Return the cubic convolution kernel of Keys (1981)."""

    def kernel(d: Array) -> Array:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)))

    return kernel
