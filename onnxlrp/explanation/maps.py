"""Heatmaps as arrays: pooled to a small grid, and compared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..inputs import InputKind

Array = npt.NDArray[Any]

GRID = 56  # of pooled heatmaps: the visible detail in 6 kB


def pooled(maps: Array, grid: int = GRID) -> Array:
    """Average heatmaps [N, H, W] over min(H, grid) x min(W, grid) cells of equal size; cells may share pixels."""
    height, width = (_cells(n, min(n, grid)) for n in maps.shape[1:])
    if 1 in maps.shape[1:]:  # not a picture: as many numbers, in a row
        width = _cells(maps.shape[2], min(maps.shape[2], grid * grid))
    means: Array = np.einsum("ah,nhw,bw->nab", height, maps, width, optimize=True)
    return means


def block_sums(maps: Array, rows: int, columns: int | None = None) -> Array:
    """Sum maps [n, H, W] over the cells of a grid of at most `rows` and `columns` (as many, if not given).

    Every pixel is in one cell: the sum of a map stays what it is.
    """
    for axis, most in ((1, rows), (2, rows if columns is None else columns)):
        length = maps.shape[axis]
        if length > most:
            edges = np.arange(most) * length // most
            maps = np.add.reduceat(maps, edges, axis=axis)
    return np.asarray(maps)


def spread(heat: Array, kind: InputKind) -> Array:
    """Spread coarse maps evenly over the parts of the input that their places stand for; sums stay.

    Args:
        heat: Maps [N, *sizes], one length for each axis of space of the input; of a vector for each axis.
        kind: The kind of the input.

    Returns:
        Relevance [N, *shape].
    """
    spatial = kind.spatial_axes or tuple(range(len(kind.shape)))
    for n, axis in enumerate(spatial):
        length, places = kind.shape[axis], heat.shape[1 + n]
        at = np.arange(length) * places // length
        parts = np.bincount(at, minlength=places)[at].reshape([-1 if i == 1 + n else 1 for i in range(heat.ndim)])
        heat = heat.take(at, axis=1 + n) / parts
    others = tuple(axis for axis in range(len(kind.shape)) if axis not in spatial)
    count = math.prod(kind.shape[axis] for axis in others)
    wide = np.expand_dims(heat, tuple(1 + axis for axis in others)) / count
    return np.array(np.broadcast_to(wide, (len(heat), *kind.shape)))


def cosine(a: Array, b: Array) -> Array:
    """Compute the cosine ⟨a, b⟩ / (|a| |b|) of heatmaps [N, …]: [N]; 1 where both are zero, 0 where one is."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    # Scaled first: squares of very large or small relevance overflow or vanish.
    a, b = (x / np.maximum(np.abs(x).max(axis=1, keepdims=True), np.finfo(np.float64).tiny) for x in (a, b))
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = lengths[0] * lengths[1]
    both = (lengths[0] == 0) & (lengths[1] == 0)
    alike: Array = np.where(both, 1.0, (a * b).sum(axis=1) / np.where(product == 0, 1, product))
    return np.clip(alike, -1, 1)


def spearman(a: Array, b: Array) -> Array:
    """Compute the rank correlation of the pixels [N], in -1..1 (Spearman 1904).

    Equal values share the mean of their ranks; 1 where both heatmaps are constant, 0 where one is.
    """
    x, y = (r - r.mean(axis=1, keepdims=True) for r in (ranks(a), ranks(b)))
    return cosine(x, y)


def ranks(maps: Array) -> Array:
    """Return the rank of every value within its heatmap, from 0 [N, H·W]; equal values share their mean rank."""
    return (
        np.stack([_ranks(values) for values in maps.reshape(len(maps), -1)])
        if len(maps)
        else maps.reshape(len(maps), -1)
    )


def _ranks(values: Array) -> Array:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Array = (last - (counts + 1) / 2)[group.reshape(-1)]
    return mean


def shares(maps: Array) -> Array:
    """Divide |R| of each heatmap [N, H, W] by its sum; zero where all of it is zero."""
    size = np.abs(maps)
    total = size.sum(axis=(1, 2), keepdims=True)
    parts: Array = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
    return parts


def _cells(length: int, count: int) -> Array:
    """Return the matrix [count, length] that averages over equal cells; pixels count by their part in a cell."""
    edges = np.linspace(0, length, count + 1)
    pixels = np.arange(length)
    parts = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: Array = np.clip(parts, 0, 1)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
