"""Maps in a tensor: which of its axes are places of the input, and which are channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .parts import Axes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Places:
    """The layout of a tensor [N, …] as maps [N, channels, *sizes], `sizes` along the input's axes of space.

    `parts` are the lengths of the tensor's axes, each cut into its parts; `order` those of channels, then of space.
    """

    parts: tuple[int, ...]
    order: tuple[int, ...]
    sizes: tuple[int, ...]

    def maps(self, values: Array) -> Array:
        """The tensor's values [N, …] as maps [N, channels, *sizes]."""
        cut = values.reshape(len(values), *self.parts)
        return cut.transpose(0, *(1 + n for n in self.order)).reshape(len(values), -1, *self.sizes)


def places(axes: Axes, spatial: Sequence[int]) -> Places | None:
    """Find the places of a tensor with traced `axes` along the `spatial` axes of the input.

    Maps [K, h, w] and [h, w, K], tokens [h·w, K] and windows of them have places; attention between tokens has none,
    nor have tokens with one more for the class.

    Args:
        axes: the tensor's axes, as `trace_axes` gives them.
        spatial: the axes of space of the input.

    Returns:
        The layout; None where an axis of space is missing or occurs twice.
    """
    parts = [part for axis in axes for part in axis]
    groups: list[list[int]] = []
    for wanted in spatial:
        own = sorted((n for n, part in enumerate(parts) if part[0] == wanted), key=lambda n: -parts[n][2])
        steps = [parts[n][2] for n in own]
        if not own or steps != [parts[n][1] * parts[n][2] for n in own[1:]] + steps[-1:]:
            return None
        groups.append(own)
    taken = {n for own in groups for n in own}
    rest = [n for n in range(len(parts)) if n not in taken]
    order = (*rest, *(n for own in groups for n in own))
    sizes = tuple(math.prod(parts[n][1] for n in own) for own in groups)
    return Places(tuple(length for _, length, _ in parts), order, sizes)
