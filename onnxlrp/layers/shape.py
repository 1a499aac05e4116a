"""Reshaping, reordering, joining: every output element is a copy of one input element."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from ..program.linear import Permute, Reshape, Slice
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported
from .selection import path, route


@layer("Identity", "Cast", kind="routing")
def identity(node: Node) -> Op:
    return route(node, None)


@layer("Dropout", kind="routing")
def dropout(node: Node) -> Op:
    if node.array(2, False).any():
        raise UnsupportedError(
            f"Dropout {node.layer.label!r} is in training mode: every run gives another result",
            "export the model for inference (model.eval() in PyTorch)",
        )
    return route(node, None)


@layer("Reshape", "Flatten", "Squeeze", "Unsqueeze", kind="routing")
def reshape(node: Node) -> Op:
    return route(node, Reshape(node.operand(0).shape, node.result.shape))


@layer("Transpose", kind="routing")
def transpose(node: Node) -> Op:
    x = node.operand(0)
    order = node.ints("perm", tuple(range(len(x.shape), -1, -1)))
    if order[0] != 0:
        raise unsupported(node.layer)
    return route(node, Permute(x.shape, node.result.shape, tuple(a - 1 for a in order[1:])))


@layer("DepthToSpace", kind="routing")
def depth_to_space(node: Node) -> Op:
    x, b = node.operand(0), int(node.attribute("blocksize"))
    way, (channels, height, width) = path(node, x), x.shape
    if node.attribute("mode", "DCR") == "DCR":
        way.reshape((b, b, channels // b**2, height, width))
        way.permute((2, 3, 0, 4, 1))
    else:
        way.reshape((channels // b**2, b, b, height, width))
        way.permute((0, 3, 1, 4, 2))
    way.reshape(node.result.shape)
    return route(node, way.linear())


@layer("SpaceToDepth", kind="routing")
def space_to_depth(node: Node) -> Op:
    x, b = node.operand(0), int(node.attribute("blocksize"))
    way, (channels, height, width) = path(node, x), x.shape
    way.reshape((channels, height // b, b, width // b, b))
    way.permute((0, 2, 4, 1, 3) if node.attribute("mode", "DCR") == "CRD" else (2, 4, 0, 1, 3))
    way.reshape(node.result.shape)
    return route(node, way.linear())


@layer("Expand", kind="routing")
def expand(node: Node) -> Op:
    x, y = node.operand(0), node.result
    way = path(node, x)
    way.reshape((1,) * (len(y.shape) - len(x.shape)) + x.shape)
    way.copy(y.shape)
    return route(node, way.linear())


@layer("Concat", kind="routing")
def concat(node: Node) -> Op:
    y, trace = node.result, node.trace
    axis = int(node.attribute("axis")) % (len(y.shape) + 1) - 1
    if axis < 0:
        raise unsupported(node.layer)
    pieces, start, operands, inside = [], 0, [], np.ones(y.shape[axis])
    for i in range(len(node.layer.inputs)):
        width = node.array(i).shape[axis + 1] if node.is_constant(i) else node.operand(i).shape[axis]
        piece = _box(y.shape, axis, start, width)
        if node.is_constant(i):
            inside[start : start + width] = 0
        else:
            operands.append(node.operand(i))
            pieces.append(piece)
            trace.declare_linear(piece, y, None, None, node.operand(i))
        start += width

    def vjp(r: Value) -> tuple[Value, ...]:
        if not inside.all():
            shape = [-1 if i == axis else 1 for i in range(len(y.shape))]
            trace.record_absorbed("gate", lambda: r * trace.constant((1 - inside).reshape(shape)))
        return tuple(trace.linear(piece, trace.broadcast_to(r, y.shape)) for piece in pieces)

    return Op("routing", tuple(operands), y, vjp, name=node.layer.label)


def _box(shape: tuple[int, ...], axis: int, start: int, width: int) -> Slice:
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    target = tuple(width if i == axis else n for i, n in enumerate(shape))
    return Slice(shape, target, starts, (1,) * len(shape))
