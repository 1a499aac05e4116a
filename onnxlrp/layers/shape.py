"""Routing: every output element is a copy of one input element, or a constant."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from ..program.linear import LinearMap, Permute, Reshape, Slice
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported


def _route(node: Node, linear: LinearMap | None) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    if linear is None:
        return Op("routing", (x,), y, lambda r: (r,), name=node.layer.label)
    trace.know(linear, x, None, None, y)
    return Op("routing", (x,), y, lambda r: (trace.adjoint(linear, trace.spread(r, y.shape)),), name=node.layer.label)


@layer("Identity", "Cast", kind="routing")
def identity(node: Node) -> Op:
    return _route(node, None)


@layer("Dropout", kind="routing")
def dropout(node: Node) -> Op:
    if node.array(2, False).any():
        raise UnsupportedError(
            f"Dropout {node.layer.label!r} is in training mode: every run gives another result",
            "export the model for inference (model.eval() in PyTorch)",
        )
    return _route(node, None)


@layer("Reshape", "Flatten", "Squeeze", "Unsqueeze", kind="routing")
def reshape(node: Node) -> Op:
    return _route(node, Reshape(node.operand(0).shape, node.result.shape))


@layer("Transpose", kind="routing")
def transpose(node: Node) -> Op:
    x = node.operand(0)
    order = node.ints("perm", tuple(range(len(x.shape), -1, -1)))
    if order[0] != 0:
        raise unsupported(node.layer)
    return _route(node, Permute(x.shape, node.result.shape, tuple(a - 1 for a in order[1:])))


@layer("Concat", kind="routing")
def concat(node: Node) -> Op:
    y, trace = node.result, node.trace
    axis = int(node.attribute("axis")) % (len(y.shape) + 1) - 1
    if axis < 0:
        raise unsupported(node.layer)
    pieces, start, operands = [], 0, []
    for i in range(len(node.layer.inputs)):
        width = node.array(i).shape[axis + 1] if node.is_constant(i) else node.operand(i).shape[axis]
        piece = _box(y.shape, axis, start, width)
        start += width
        if not node.is_constant(i):
            operands.append(node.operand(i))
            pieces.append(piece)
            trace.know(piece, y, None, None, node.operand(i))
    return Op(
        "routing",
        tuple(operands),
        y,
        lambda r: tuple(trace.linear(piece, trace.spread(r, y.shape)) for piece in pieces),
        name=node.layer.label,
    )


def _box(shape: tuple[int, ...], axis: int, start: int, width: int) -> Slice:
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    target = tuple(width if i == axis else n for i, n in enumerate(shape))
    return Slice(shape, target, starts, (1,) * len(shape))


@layer("Slice", kind="routing")
def slice_(node: Node) -> Op:
    x = node.operand(0)
    starts, ends = (node.array(i).reshape(-1).tolist() for i in (1, 2))
    axes = [int(a) % (len(x.shape) + 1) for a in node.array(3, range(len(starts))).reshape(-1)]
    steps = node.array(4, [1] * len(starts)).reshape(-1).tolist()
    first, step = [0] * len(x.shape), [1] * len(x.shape)
    for axis, start, end, stride in zip(axes, starts, ends, steps, strict=True):
        if axis == 0:
            if (start, stride) != (0, 1):
                raise unsupported(node.layer)
            continue
        first[axis - 1], _, step[axis - 1] = slice(int(start), int(end), int(stride)).indices(x.shape[axis - 1])
    return _route(node, Slice(x.shape, node.result.shape, tuple(first), tuple(step)))


@layer("Pad", kind="routing")
def pad(node: Node) -> Op:
    x, y = node.operand(0), node.result
    if node.attribute("mode", "constant") != "constant":
        raise unsupported(node.layer)
    rank = len(x.shape) + 1
    axes = [int(a) % rank for a in node.array(3, range(rank)).reshape(-1)]
    amounts = node.array(1).reshape(-1)
    before = [0] * rank
    for n, axis in enumerate(axes):
        before[axis] = int(amounts[n])
    if min(amounts) < 0 or before[0]:
        raise unsupported(node.layer)
    # Padding is the adjoint of cutting the middle out: relevance of the padding is dropped, and booked.
    cut = Slice(y.shape, x.shape, tuple(before[1:]), (1,) * len(x.shape))
    node.trace.know(cut, y, None, None, x)
    inside = np.zeros(y.shape)
    inside[cut.slices()] = 1

    def vjp(r: Value) -> tuple[Value, ...]:
        node.trace.book("gate", lambda: r * node.trace.constant(1 - inside))
        return (node.trace.linear(cut, node.trace.spread(r, y.shape)),)

    return Op("routing", (x,), y, vjp, name=node.layer.label)
