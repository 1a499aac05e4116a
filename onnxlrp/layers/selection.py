"""Selections of elements by constant indices along each axis, expressed by the maps that engines have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UnsupportedError
from ..graph.graph import Array
from ..program.affine import Affine, LinearStep, composed
from ..program.linear import LinearMap, Matmul, Permute, Reshape, Shape, Slice, Sum
from ..program.op import Op
from ..program.trace import Trace
from ..program.value import Value
from . import Node

NO_SOURCE = -1  # the index of an output that copies no input
MAX_SELECTION = 1 << 25  # elements of a selection matrix


@dataclass
class MapSequence:
    """A builder of compositions: maps are appended one by one.

    Args:
        trace: The trace that holds constant weights.
        shape: Shape of the result of the maps so far.
        steps: The maps so far.
    """

    trace: Trace
    shape: Shape
    steps: list[LinearStep]

    def add(self, linear: LinearMap, adjoint: bool = False, weight: Value | None = None) -> None:
        """Append a map, or its adjoint."""
        step = LinearStep(linear, adjoint, weight)
        assert step.shapes()[0] == self.shape
        self.steps.append(step)
        self.shape = step.shapes()[1]

    def reshape(self, shape: Shape) -> None:
        """Append a reshape, unless the shape is the same."""
        if shape != self.shape:
            self.add(Reshape(self.shape, shape))

    def permute(self, order: Sequence[int]) -> None:
        """Append a transposition, unless the order is the same."""
        if tuple(order) != tuple(range(len(self.shape))):
            self.add(Permute(self.shape, tuple(self.shape[a] for a in order), tuple(order)))

    def multiply(self, axis: int, matrix: Array) -> None:
        """Append y_j = Σ_i x_i M_ij along one axis."""
        order = list(range(len(self.shape)))
        order[axis], order[-1] = order[-1], order[axis]
        self.permute(order)
        self.add(Matmul(self.shape, (*self.shape[:-1], matrix.shape[1])), weight=self.trace.constant(matrix))
        self.permute(order)

    def copy(self, shape: Shape) -> None:
        """Append broadcast copies: axes of size 1 grow to this shape."""
        axes = tuple(i for i, (a, b) in enumerate(zip(self.shape, shape, strict=True)) if a != b)
        if axes:
            self.add(Sum(shape, self.shape, axes), adjoint=True)

    def select(self, picks: Sequence[Array | None]) -> None:
        """Append a selection by indices along each axis.

        Args:
            picks: For each axis the input index that each output copies, NO_SOURCE for zero; None keeps the axis.
        """
        plans = [_axis_selection(self.shape[i], pick) for i, pick in enumerate(picks)]
        boxes = [plan.box for plan in plans]
        if any(box != (0, 1, n) for box, n in zip(boxes, self.shape, strict=True)):
            starts, strides, lengths = zip(*boxes, strict=True)
            self.add(Slice(self.shape, lengths, starts, strides))
        for axis, plan in enumerate(plans):
            if plan.matrix is not None:
                self.multiply(axis, plan.matrix)
        if any(plan.repeats != (1, 1) for plan in plans):
            before = list(zip(self.shape, (plan.repeats for plan in plans), strict=True))
            # Copies of single elements need no axis of their own.
            ones = [(1, n, 1) if n > 1 and k != (1, 1) else (n,) for n, k in before]
            many = [(k[0], n, k[1]) if n > 1 and k != (1, 1) else (n * k[0] * k[1],) for n, k in before]
            self.reshape(tuple(n for part in ones for n in part))
            self.copy(tuple(n for part in many for n in part))
            self.reshape(tuple(n * k[0] * k[1] for n, k in before))
        if any(plan.pads != (0, 0) for plan in plans):
            whole = tuple(n + sum(p.pads) for p, n in zip(plans, self.shape, strict=True))
            starts = tuple(p.pads[0] for p in plans)
            self.add(Slice(whole, self.shape, starts, (1,) * len(whole)), adjoint=True)

    def linear(self) -> LinearMap | None:
        """Return the sequence as one map; None if it is empty."""
        if len(self.steps) == 1 and not self.steps[0].adjoint and self.steps[0].weight is None:
            return self.steps[0].linear
        return composed(*self.steps) if self.steps else None


def map_sequence(node: Node, x: Value) -> MapSequence:
    """Return an empty sequence of maps on an operand."""
    return MapSequence(node.trace, x.shape, [])


def route(node: Node, linear: LinearMap | None, inside: Array | None = None, filled: bool = False) -> Op:
    """Return the op of an operator that copies elements: relevance returns to their sources.

    Args:
        node: The layer.
        linear: The map from operand to result; None for the identity.
        inside: 1 where the result is a copy and 0 elsewhere; relevance that arrives elsewhere is dropped, which the
            ledger records. None where all of it is copies.
        filled: Whether the result is not zero where it is not a copy.
    """
    x, y, trace = node.operand(node.activations[0]), node.result, node.trace
    if linear is not None and not filled:
        trace.declare_linear(linear, x, None, None, y)

    def vjp(r: Value) -> tuple[Value, ...]:
        if inside is not None and not inside.all():
            trace.record_absorbed("gate", lambda: r * trace.constant(1.0 - inside))
        return (r if linear is None else Affine(linear).T(trace.broadcast_to(r, y.shape)),)

    return Op("routing", (x,), y, vjp, name=node.layer.label)


def copy_mask(picks: Sequence[Array | None], shape: Shape) -> Array:
    """Return 1 where the result of a selection is a copy and 0 elsewhere.

    Args:
        picks: The selection, as `MapSequence.select` takes it.
        shape: Shape of the operand.
    """
    inside = np.ones(())
    for n, pick in zip(shape, picks, strict=True):
        along = np.ones(n) if pick is None else (pick != NO_SOURCE).astype(float)
        inside = inside[..., None] * along
    return inside


class _AxisSelection(NamedTuple):
    """A selection along one axis: a box (start, step, length), then a matrix, copies (outer, inner), zero padding."""

    box: tuple[int, int, int]
    matrix: Array | None = None
    repeats: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)


def _axis_selection(n: int, pick: Array | None) -> _AxisSelection:
    if pick is None or np.array_equal(pick, np.arange(n)):
        return _AxisSelection((0, 1, n))
    if not len(pick):
        return _AxisSelection((0, 1, 0))
    taken = np.flatnonzero(pick != NO_SOURCE)
    first, last = (taken[0], taken[-1] + 1) if len(taken) else (0, 1)
    pads, core = (int(first), int(len(pick) - last)), pick[first:last]
    step = int(core[1] - core[0]) if len(core) > 1 else 1
    if (core != NO_SOURCE).all() and step and np.array_equal(core, core[0] + step * np.arange(len(core))):
        return _AxisSelection((int(core[0]), step, len(core)), pads=pads)
    if len(core) % n == 0:
        k = len(core) // n
        for repeats, pattern in (((1, k), np.repeat(np.arange(n), k)), ((k, 1), np.tile(np.arange(n), k))):
            if np.array_equal(core, pattern):
                return _AxisSelection((0, 1, n), repeats=repeats, pads=pads)
    if n * len(core) > MAX_SELECTION:
        raise UnsupportedError(
            f"a selection of {len(core)} out of {n} elements in no regular order is too large",
            "export the model with slices or reshapes instead of indices",
        )
    matrix = (core[None, :] == np.arange(n)[:, None]).astype(np.float64)
    return _AxisSelection((0, 1, n), matrix=matrix, pads=pads)
