"""Reshape, transpose, concatenate: every output element is a copy of one input element."""

from __future__ import annotations

import numpy as np

from ..errors import UnsupportedError
from ..program.linear import Permute, Reshape, Slice
from ..program.op import Op
from ..program.value import Value
from . import Node, layer, unsupported
from .selection import map_sequence, route


@layer("Identity", "Cast", kind="routing")
def identity(node: Node) -> Op:
    """Identity and Cast: y = x: relevance passes unchanged."""
    return route(node, None)


@layer("Dropout", kind="routing")
def dropout(node: Node) -> Op:
    """Dropout: y = x at inference: relevance passes unchanged."""
    if node.array(2, False).any():
        raise UnsupportedError(
            f"Dropout {node.layer.label!r} is in training mode: every run gives another result",
            "export the model for inference (model.eval() in PyTorch)",
        )
    return route(node, None)


@layer("Reshape", "Flatten", "Squeeze", "Unsqueeze", kind="routing")
def reshape(node: Node) -> Op:
    """The same elements in another shape: relevance returns to its elements."""
    return route(node, Reshape(node.operand(0).shape, node.result.shape))


@layer("Transpose", kind="routing")
def transpose(node: Node) -> Op:
    """Axes in another order: relevance returns to its elements."""
    x = node.operand(0)
    order = node.ints("perm", tuple(range(len(x.shape), -1, -1)))
    if order[0] != 0:
        raise unsupported(node.layer)
    return route(node, Permute(x.shape, node.result.shape, tuple(a - 1 for a in order[1:])))


@layer("DepthToSpace", kind="routing")
def depth_to_space(node: Node) -> Op:
    """Channels become blocks of pixels: relevance returns to its elements."""
    x, b = node.operand(0), int(node.attribute("blocksize"))
    maps, (channels, height, width) = map_sequence(node, x), x.shape
    if node.attribute("mode", "DCR") == "DCR":
        maps.reshape((b, b, channels // b**2, height, width))
        maps.permute((2, 3, 0, 4, 1))
    else:
        maps.reshape((channels // b**2, b, b, height, width))
        maps.permute((0, 3, 1, 4, 2))
    maps.reshape(node.result.shape)
    return route(node, maps.linear())


@layer("SpaceToDepth", kind="routing")
def space_to_depth(node: Node) -> Op:
    """Blocks of pixels become channels: relevance returns to its elements."""
    x, b = node.operand(0), int(node.attribute("blocksize"))
    maps, (channels, height, width) = map_sequence(node, x), x.shape
    maps.reshape((channels, height // b, b, width // b, b))
    maps.permute((0, 2, 4, 1, 3) if node.attribute("mode", "DCR") == "CRD" else (2, 4, 0, 1, 3))
    maps.reshape(node.result.shape)
    return route(node, maps.linear())


@layer("Expand", kind="routing")
def expand(node: Node) -> Op:
    """Broadcast copies: an element receives the relevance of all its copies."""
    x, y = node.operand(0), node.result
    maps = map_sequence(node, x)
    maps.reshape((1,) * (len(y.shape) - len(x.shape)) + x.shape)
    maps.copy(y.shape)
    return route(node, maps.linear())


@layer("Concat", kind="routing")
def concat(node: Node) -> Op:
    """Operands side by side: each receives the relevance of its part, constants drop theirs."""
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
