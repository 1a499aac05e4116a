"""Segments of an input that are hidden together: superpixels, squares, or single values."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError, UsageError, did_you_mean
from .masks import is_picture
from .problem import Problem
from .registry import Array

KINDS = ("auto", "slic", "quickshift", "grid", "values")
INSTALL = "pip install scikit-image"


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of one sample.

    Attributes:
        labels: The segment of each position [*grid], from 0 to count - 1.
        kind: How they were made.
    """

    labels: Array
    kind: str

    @property
    def count(self) -> int:
        """The number of segments."""
        return int(self.labels.max()) + 1

    def masks(self, seen: Array) -> Array:
        """Make masks, bool [r, *grid], of the visible segments, bool [r, count]."""
        return np.asarray(np.take(seen, self.labels, axis=1))

    def spread(self, values: Array) -> Array:
        """Spread the value of each segment [count] evenly over it: a heatmap [*grid]."""
        return np.asarray((values / np.bincount(self.labels.ravel(), minlength=self.count))[self.labels])


def segments(problem: Problem, how: str | Array, features: int) -> list[Segments]:
    """Segment each of the N samples.

    Args:
        problem: The samples.
        how: "slic" or "quickshift" superpixels, "grid", "values", or an integer array [*grid] or [N, *grid]; "auto" is
            slic for a picture (a grid where scikit-image is missing), values for a vector and tokens, and a grid for
            other arrays.
        features: The approximate number of segments of a grid or slic; quickshift finds its own.

    Raises:
        UsageError: There are no such segments, or they need scikit-image or a picture.
        InputError: The array does not fit the samples.
    """
    n = len(problem.x)
    if not isinstance(how, str):
        return [Segments(labels, "given") for labels in _given(np.asarray(how), problem)]
    if how not in KINDS:
        raise UsageError(f'there are no segments "{how}"', did_you_mean(how, KINDS))
    picture = is_picture(problem)
    if how in ("slic", "quickshift"):
        if not picture:
            raise UsageError(f"{how} needs a picture as input", "use segments=grid or segments=values")
        if not installed():
            raise UsageError(f"{how} superpixels need scikit-image", f"{INSTALL}, or use segments=grid")
    kind = how
    if how == "auto":
        alone = problem.kind.name in ("vector", "tokens")
        kind = "slic" if picture and installed() else "values" if alone else "grid"
    by_value = kind == "values"
    squared = squares(problem.grid, int(np.prod(problem.grid)) if by_value else features)
    cut = Segments(squared, "values" if by_value else "grid")
    if kind in ("slic", "quickshift"):
        made = [Segments(_superpixels(x, kind, features), kind) for x in _pixels(problem)]
        # Noise gives a single superpixel.
        return [cut if how == "auto" and part.count == 1 else part for part in made]
    return [replace(cut, kind=f"grid, for lack of superpixels: {INSTALL}") if how == "auto" and picture else cut] * n


def installed() -> bool:
    """Return whether scikit-image is installed."""
    return importlib.util.find_spec("skimage") is not None


def squares(grid: tuple[int, ...], features: int) -> Array:
    """Cut a grid into at most `features` cubes of equal side, as small as possible."""
    side = next(s for s in range(1, max(grid) + 1) if np.prod([-(-length // s) for length in grid]) <= max(1, features))
    counts = [-(-length // side) for length in grid]
    places = np.meshgrid(*(np.arange(length) // side for length in grid), indexing="ij")
    return np.asarray(np.ravel_multi_index(tuple(places), counts))


def averages(problem: Problem, made: list[Segments]) -> Array:
    """Replace every value by the mean of its segment and channel: the baseline of the lime package."""
    channels_first = np.moveaxis(problem.kind.channels_last(problem.x.astype(np.float64)), -1, 1)
    smooth = np.empty(channels_first.shape)
    for out, channels, part in zip(smooth, channels_first, made, strict=True):
        flat = part.labels.ravel()
        sizes = np.bincount(flat)
        for channel, values in zip(out, channels, strict=True):
            channel[...] = (np.bincount(flat, values.ravel()) / sizes)[part.labels]
    return problem.kind.from_channels_last(np.moveaxis(smooth, 1, -1))


def _given(labels: Array, problem: Problem) -> Array:
    """Number the user's segments [N, *grid] from 0 without gaps."""
    shape = (len(problem.x), *problem.grid)
    if labels.dtype.kind not in "biu" or labels.shape not in (shape, shape[1:]):
        raise InputError(
            f"segments are {labels.dtype} {list(labels.shape)}",
            f"give whole numbers of shape {list(shape[1:])}, or {list(shape)} for one array a sample",
        )
    return np.stack([np.unique(m, return_inverse=True)[1].reshape(m.shape) for m in np.broadcast_to(labels, shape)])


def _pixels(problem: Problem) -> Array:
    """Return the pictures [N, h, w, channels] between 0 and 1, in the order red, green, blue."""
    low, high = (np.asarray(bound) for bound in problem.bounds())
    x = (problem.x.astype(np.float64) - low) / np.maximum(high - low, 1e-12)
    x = problem.kind.channels_last(x)
    swapped = problem.preprocessing is not None and problem.preprocessing.color == "BGR"
    return np.asarray(np.clip(x[..., ::-1] if swapped else x, 0, 1))


def _superpixels(pixels: Array, kind: str, features: int) -> Array:
    """Compute superpixels of a picture [h, w, channels]; quickshift with the settings of the lime package."""
    from skimage import segmentation

    lab = pixels.shape[-1] == 3
    quickshift: Any = segmentation.quickshift  # untyped
    if kind == "slic":
        made = segmentation.slic(pixels, n_segments=features, start_label=0, channel_axis=-1, convert2lab=lab)
    else:
        made = quickshift(pixels, kernel_size=4, max_dist=200, ratio=0.2, convert2lab=lab, rng=42)
    return np.asarray(np.unique(made, return_inverse=True)[1].reshape(made.shape))
