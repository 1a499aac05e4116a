"""Random transformations of pictures with exact adjoints: shift, scale, rotation, crop and flip as one resampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError, at_least
from .optimize import Array, Pullback

Draw = tuple[Array, float, float, bool]  # shift as a share of each side, factor, angle, flip
Drawn = tuple[Callable[[Array], Array], Pullback]


@dataclass(frozen=True)
class Affine:
    """One multilinear resampling of each picture: y(p) = x(Rᵀ(p - c)/s + c + t), and `fill` outside.

    Padding, jitter, scaling, rotation and flips compose to one such map, so that x is interpolated once.

    Attributes:
        shift: The largest shift, as a share of each side.
        scale: The least and the largest factor s.
        rotation: The largest angle in degrees, in the plane of the last two axes of space.
        flip: Mirror the last axis in half of the draws.
        fill: The value outside the picture.
    """

    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    rotation: float = 0.0
    flip: bool = False
    fill: float = 0.5

    def __post_init__(self) -> None:
        at_least(0, shift=self.shift, rotation=self.rotation)
        if not 0 < self.scale[0] <= self.scale[1]:
            raise UsageError(f"scale={self.scale}", "give the least and the largest factor, above 0")

    def draw(self, n: int, rng: np.random.Generator) -> Drawn:
        """Draw a map for each of n pictures [n, C, *space]."""
        return _resampled([self._one(rng) for _ in range(n)], self.fill)

    def _one(self, rng: np.random.Generator) -> Draw:
        """A shift (as a share), scale, angle and flip."""
        shift = rng.uniform(-self.shift, self.shift, 3)
        factor = math.exp(rng.uniform(*np.log(self.scale)))
        angle = math.radians(rng.uniform(-self.rotation, self.rotation))
        return shift, factor, angle, bool(rng.random() < 0.5 and self.flip)


@dataclass(frozen=True)
class Crop:
    """A random crop, resized to the whole: its side is a share of the picture's, drawn around `share`, within it.

    Attributes:
        share: The mean side, as a share; the side is drawn from a normal distribution around it.
        deviation: The standard deviation of that share.
    """

    share: float
    deviation: float = 0.05

    def draw(self, n: int, rng: np.random.Generator) -> Drawn:
        """Draw a crop of each of n pictures."""
        draws = []
        for _ in range(n):
            side = float(np.clip(rng.normal(self.share, self.deviation), 0.05, 1.0))
            draws.append(((1 - side) * rng.uniform(-0.5, 0.5, 3), 1 / side, 0.0, False))
        return _resampled(draws, 0.5)


@dataclass(frozen=True)
class Noise:
    """Normal noise added to each value: T(x) = x + ε.

    Attributes:
        deviation: Its standard deviation.
    """

    deviation: float

    def draw(self, n: int, rng: np.random.Generator) -> Drawn:
        """Draw the noise's generator; the adjoint is the identity."""

        def apply(x: Array) -> Array:
            return np.asarray(x + rng.standard_normal(x.shape, np.float32) * np.float32(self.deviation))

        return apply, lambda s: s


def _resampled(draws: Sequence[Draw], fill: float) -> Drawn:
    """The map of each picture and its adjoint; neighbours are computed when the size of the pictures is known."""
    made: dict[tuple[int, ...], list[_Resampling]] = {}

    def each(x: Array, run: Callable[[_Resampling, Array, Array], None]) -> Array:
        space, out = x.shape[2:], np.empty(x.shape, np.float32)
        if space not in made:
            made[space] = [_Resampling.of(space, *draw, fill) for draw in draws]
        for resampling, one, result in zip(made[space], x, out, strict=True):
            run(resampling, one, result)
        return out

    return lambda x: each(x, _Resampling.apply), lambda s: each(s, _Resampling.adjoint)


@dataclass(frozen=True, eq=False)
class _Resampling:
    """y = Σ_k w_k ⊙ x̄[i + o_k] at each place: the 2^d neighbours of a point, in x̄, which is x between edges of `fill`.

    Attributes:
        index: i [places], the neighbour of the lowest index, flat in x̄.
        corners: The offset o_k and the weights w_k [places] of each neighbour.
        fill: The value outside of the picture.
    """

    index: Array
    corners: Sequence[tuple[int, Array]]
    fill: float

    @classmethod
    def of(
        cls, space: tuple[int, ...], shift: Array, factor: float, angle: float, flip: bool, fill: float
    ) -> _Resampling:
        """Compute neighbours and weights for a shift (share of each side), scale, rotation and flip."""
        index: Array | int = 0
        corners: list[tuple[int, Array]] = []
        # From the edge below the picture, place 0 of x̄, to the one above it: beyond, all is the same.
        first = [(length + 1) / 2 + float(shift[axis]) * length for axis, length in enumerate(space)]
        for axis, (length, at) in enumerate(zip(space, _points(space, first, factor, angle, flip), strict=True)):
            stride = math.prod(n + 2 for n in space[axis + 1 :])
            np.maximum(at, 0, out=at)
            np.minimum(at, length + 1, out=at)
            low = np.floor(at)
            np.minimum(low, length, out=low)
            at -= low
            whole = low.astype(np.intp)
            whole *= stride
            index = index + whole
            upper = [(offset + stride, weight * at) for offset, weight in corners] or [(stride, at)]
            lower = [(offset, weight - part) for (offset, weight), (_, part) in zip(corners, upper, strict=False)]
            corners = [*(lower or [(0, 1 - at)]), *upper]
        flat = [(offset, np.broadcast_to(weight, space).ravel()) for offset, weight in corners]
        return cls(np.broadcast_to(np.asarray(index), space).ravel(), flat, fill)

    def apply(self, x: Array, out: Array) -> None:
        """Write the resampled picture [C, *space] into `out`."""
        wide = np.full((len(x), *[n + 2 for n in x.shape[1:]]), self.fill, np.float32)
        wide[_inner(x)] = x
        part = np.empty(self.index.size, np.float32)
        for values, made in zip(wide.reshape(len(x), -1), out.reshape(len(x), -1), strict=True):
            for k, (offset, weight) in enumerate(self.corners):
                found = part if k else made
                values[offset:].take(self.index, out=found, mode="clip")
                found *= weight
                if k:
                    made += part

    def adjoint(self, s: Array, out: Array) -> None:
        """Write Aᵀ s [C, *space] into `out`: each value goes back to the neighbours that it came from."""
        wide = np.zeros((len(s), *[n + 2 for n in s.shape[1:]]), np.float32)
        part = np.empty(self.index.size, np.float32)
        for values, made in zip(s.reshape(len(s), -1), wide.reshape(len(s), -1), strict=True):
            for offset, weight in self.corners:
                np.multiply(values, weight, out=part)
                np.add.at(made[offset:], self.index, part)
        out[...] = wide[_inner(s)]


def _inner(x: Array) -> tuple[slice, ...]:
    """Where x lies in x̄."""
    return (slice(None), *[slice(1, -1)] * (x.ndim - 1))


def _points(space: tuple[int, ...], first: Sequence[float], factor: float, angle: float, flip: bool) -> list[Array]:
    """Return where each place of the result looks in x̄, along each axis; arrays that broadcast over the space.

    Args:
        space: The lengths of the axes.
        first: Where the centre of the result looks, along each axis.
        factor: The scale.
        angle: The angle of the rotation in the plane of the last two axes.
        flip: Mirror the last axis.
    """
    centred = [(np.arange(length) - (length - 1) / 2) / factor for length in space]
    if flip:
        centred[-1] = -centred[-1]
    grids = [values.reshape([-1 if a == axis else 1 for a in range(len(space))]) for axis, values in enumerate(centred)]

    def moved(axis: int, *parts: Array) -> Array:
        terms = [np.asarray(part, np.float32) for part in (parts[0] + first[axis], *parts[1:])]
        return sum(terms[1:], terms[0])

    if len(space) > 1 and angle:
        cos, sin = math.cos(angle), math.sin(angle)
        y, x = grids[-2:]
        last = len(space) - 1
        turned = [moved(last - 1, cos * y, -sin * x), moved(last, sin * y, cos * x)]
        return [*(moved(axis, grid) for axis, grid in enumerate(grids[:-2])), *turned]
    return [moved(axis, grid) for axis, grid in enumerate(grids)]
