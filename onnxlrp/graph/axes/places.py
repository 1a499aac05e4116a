"""Maps in a tensor: which of its axes are places of the input, and which are channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy.typing as npt

from .parts import NOWHERE, Axes, Part, Picked, length_of

Array = npt.NDArray[Any]


class _Order(NamedTuple):
    """Positions put in the order of their places: axes in an order, the first `joined` of them as one, of that `take`.

    `left_out` positions are none of the result, whose shape is `shape`.
    """

    order: tuple[int, ...]
    joined: int
    take: tuple[int, ...]
    left_out: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Places:
    """The layout of a tensor [N, …] as maps [N, channels, *sizes], `sizes` along the input's axes of space.

    `parts` are the lengths of the tensor's axes, each cut into its parts; `orders` put rolled axes back, and leave out
    tokens of no place; `order` are the parts of channels, then of space.
    """

    parts: tuple[int, ...]
    orders: tuple[_Order, ...]
    order: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def others(self) -> int:
        """How many positions of no place, such as class tokens, are left out of every map."""
        return sum(step.left_out for step in self.orders)

    def maps(self, values: Array) -> Array:
        """The tensor's values [N, …] as maps [N, channels, *sizes]."""
        cut = values.reshape(len(values), *self.parts)
        for step in self.orders:
            cut = cut.transpose(0, *(1 + n for n in step.order))
            flat = cut.reshape(len(values), -1, *cut.shape[1 + step.joined :])
            cut = flat[:, list(step.take)].reshape(len(values), *step.shape)
        return cut.transpose(0, *(1 + n for n in self.order)).reshape(len(values), -1, *self.sizes)


def places(axes: Axes, spatial: Sequence[int]) -> Places | None:
    """Find the places of a tensor with traced `axes` along the `spatial` axes of the input.

    Maps [K, h, w] and [h, w, K], tokens [h·w, K] and windows of them have places, rolled or not, and tokens with others
    of no place among them, as that of a class, which are left out. Attention between tokens has none.

    Args:
        axes: the tensor's axes, as `trace_axes` gives them.
        spatial: the axes of space of the input.

    Returns:
        The layout; None where an axis of space is missing or occurs twice, or some places are missing.
    """
    parts = [part for axis in axes for part in axis]
    lengths, orders = tuple(length for _, length, _ in parts), []
    while (source := next((part[0] for part in parts if isinstance(part[0], Picked)), None)) is not None:
        own = _chain(parts, source)
        if own is None or math.prod(parts[n][1] for n in own) != len(source.positions) or parts[own[-1]][2] != 1:
            return None
        positions = {place: n for n, place in enumerate(source.positions) if place != NOWHERE}
        count = length_of(source.source)
        if len(positions) != count or sum(place != NOWHERE for place in source.positions) != count:
            return None
        rest = [n for n in range(len(parts)) if n not in own]
        parts = [*source.source, *(parts[n] for n in rest)]
        take = tuple(positions[place] for place in range(count))
        left_out = len(source.positions) - count
        orders.append(_Order((*own, *rest), len(own), take, left_out, tuple(length for _, length, _ in parts)))
    groups = [_chain(parts, wanted) for wanted in spatial]
    found = [group for group in groups if group is not None]
    if len(found) < len(groups):
        return None
    taken = {n for own in found for n in own}
    order = (*(n for n in range(len(parts)) if n not in taken), *(n for own in found for n in own))
    sizes = tuple(math.prod(parts[n][1] for n in own) for own in found)
    return Places(lengths, tuple(orders), order, sizes)


def has_others(axes: Axes) -> bool:
    """Whether a tensor has positions of no place beside its places, as a class token."""
    return any(isinstance(part[0], Picked) and NOWHERE in part[0].positions for axis in axes for part in axis)


def _chain(parts: Sequence[Part], wanted: int | Picked) -> list[int] | None:
    """The parts of an axis, the outermost first; None where they are not all of it once."""
    own = sorted((n for n, part in enumerate(parts) if part[0] == wanted), key=lambda n: -parts[n][2])
    steps = [parts[n][2] for n in own]
    if not own or steps != [parts[n][1] * parts[n][2] for n in own[1:]] + steps[-1:]:
        return None
    return own
