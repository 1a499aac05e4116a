"""Axes as parts of the input's axes: cut, merged, resized and joined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Union

# A run of positions along an axis of the input: (axis, length, step between positions). FEATURES is the axis of
# positions that stand for no place of the input, such as the filters of a convolution; a Picked is an axis of its own.
Part = tuple[Union[int, "Picked"], int, int]
Axis = tuple[Part, ...]  # outermost part first; () for an axis of length 1 that comes from nowhere
Axes = tuple[Axis, ...]  # of a tensor per sample, without the batch

FEATURES = -1
NOWHERE = -1  # in place of a position that is none of the axis


class Picked(NamedTuple):
    """Positions of an axis in another order, or among positions of nowhere: behind a roll, or beside a class token.

    Attributes:
        source: The axis.
        positions: Of each position that along `source`; NOWHERE for a token that is no place.
    """

    source: Axis
    positions: tuple[int, ...]


def picked(axis: Axis, index: Sequence[int]) -> Axis:
    """Return the axis of some positions of an axis, NOWHERE among them for others."""
    if len(axis) == 1 and isinstance(axis[0][0], Picked) and axis[0][1:] == (len(axis[0][0].positions), 1):
        inner = axis[0][0]
        return picked(inner.source, [NOWHERE if n == NOWHERE else inner.positions[n] for n in index])
    if not is_placed(axis) or all(n == NOWHERE for n in index):
        return unplaced(len(index))
    if list(index) == list(range(length_of(axis))):
        return axis
    return ((Picked(axis, tuple(index)), len(index), 1),)


def is_placed(axis: Axis) -> bool:
    """Return whether any part of an axis lies in the input."""
    return any(part[0] != FEATURES for part in axis)


def inputs_of(axis: Axis) -> Iterator[int]:
    """Yield the axes of the input that an axis has parts of."""
    for source, _, _ in axis:
        if isinstance(source, Picked):
            yield from inputs_of(source.source)
        elif source != FEATURES:
            yield source


def whole(axis: int, length: int) -> Axis:
    """Return an axis that is a whole axis of the input."""
    return ((axis, length, 1),)


def unplaced(length: int) -> Axis:
    """Return an axis of computed features, which lies nowhere in the input."""
    return ((FEATURES, length, 1),) if length > 1 else ()


def length_of(axis: Axis) -> int:
    """Return the number of positions along an axis."""
    return math.prod(n for _, n, _ in axis)


def resized(axis: Axis, length: int) -> Axis:
    """The axis with another number of positions; of several parts, none can be told then."""
    if length_of(axis) == length:
        return axis
    if len(axis) == 1 and isinstance(axis[0][0], Picked):
        return resized(axis[0][0].source, length)
    return ((axis[0][0], length, 1),) if len(axis) == 1 else unplaced(length)


def joined(several: Sequence[Axes]) -> Axes:
    """The axes of operands that meet: of their places, those that are not contradicted."""
    return tuple(_met(axes) for axes in zip(*several, strict=True))


def _met(axes: Sequence[Axis]) -> Axis:
    told = {axis for axis in axes if is_placed(axis)}
    if len(told) == 1:
        return told.pop()
    plain = next((axis for axis in axes if axis), ())
    return unplaced(length_of(plain))


def merged(axes: Sequence[Axis]) -> Axis:
    """Axes laid out one inside the other as one axis; parts of one axis that follow each other become one again."""
    parts: list[Part] = []
    for axis, n, step in (part for one in axes for part in one if part[1] > 1):
        if parts and axis == parts[-1][0] != FEATURES and parts[-1][2] == n * step:
            parts[-1] = (axis, parts[-1][1] * n, step)
        else:
            parts.append((axis, n, step))
    return tuple(parts)


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of the same elements in another shape, in order; a part that no boundary fits becomes FEATURES."""
    if tuple(map(length_of, axes)) == tuple(shape):
        return axes
    rest = [part for axis in axes for part in axis if part[1] > 1]
    made: list[Axis] = []
    for length in shape:
        taken: list[Axis] = []
        need = length
        while need > 1 and rest:
            axis, n, step = rest.pop(0)
            if need % n == 0:
                taken.append(((axis, n, step),))
                need //= n
            elif n % need == 0:
                taken.append(((axis, need, step * (n // need)),))
                rest.insert(0, (axis, n // need, step))
                need = 1
            else:
                return tuple(map(unplaced, shape))
        made.append(merged(taken))
    return tuple(made)
