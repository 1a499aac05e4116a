"""How alike heatmaps are, map by map: maps [N, H, W] of two models or runs in, one number for each pair [N] out.

`METRICS` has them by name, with the side that is better and what a map has with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation.maps import cosine, shares

Array = npt.NDArray[Any]

__all__ = ["METRICS", "Metric", "cosine", "mass_shift", "ranks", "spearman", "topk_iou"]


def spearman(a: Array, b: Array) -> Array:
    """Pearson's correlation of the ranks of the pixels, equal values sharing the mean of theirs (Spearman 1904), in
    -1..1; 1 where both maps are constant, 0 where one is."""
    x, y = (r - r.mean(axis=1, keepdims=True) for r in (ranks(a), ranks(b)))
    return cosine(x, y)


def topk_iou(a: Array, b: Array, share: float = 0.1) -> Array:
    """|A ∩ B| / |A ∪ B| of the pixels of highest relevance, in 0..1: A and B have the `share` of all pixels that is
    highest in each map, at least one; of equal ones the first."""
    a, b = _flat(a), _flat(b)
    k = max(1, round(share * a.shape[1]))
    both = (_highest(a, k) & _highest(b, k)).sum(axis=1)
    overlap: Array = both / (2 * k - both)
    return overlap


def mass_shift(a: Array, b: Array) -> Array:
    """½ Σ|p - q|, in 0..1: the share of Σ|R| that lies elsewhere (the total variation distance), p and q being |R| of
    the two maps as shares of their sums; 0 where both are empty, 1 where one is."""
    p, q = (shares(x.reshape(len(x), 1, -1).astype(np.float64))[:, 0] for x in (a, b))
    empty = p.any(axis=1) != q.any(axis=1)
    moved: Array = np.where(empty, 1.0, np.abs(p - q).sum(axis=1) / 2)
    return moved


@dataclass(frozen=True)
class Metric:
    """A measure of two maps; `higher` where more is more alike; `same` is what a map has with itself."""

    of: Callable[[Array, Array], Array]
    higher: bool
    same: float


METRICS: Mapping[str, Metric] = {
    "cosine": Metric(cosine, True, 1.0),
    "spearman": Metric(spearman, True, 1.0),
    "topk_iou": Metric(topk_iou, True, 1.0),
    "mass_shift": Metric(mass_shift, False, 0.0),
}


def ranks(maps: Array) -> Array:
    """The rank of every value within its map, from 0; equal values share the mean of theirs: [N, H·W]."""
    return np.stack([_ranks(values) for values in _flat(maps)]) if len(maps) else _flat(maps)


def _ranks(values: Array) -> Array:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Array = (last - (counts + 1) / 2)[group.reshape(-1)]
    return mean


def _highest(maps: Array, k: int) -> npt.NDArray[np.bool_]:
    order = np.argsort(-maps, axis=1, kind="stable")[:, :k]
    chosen = np.zeros(maps.shape, bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen


def _flat(maps: Array) -> Array:
    return maps.reshape(len(maps), -1).astype(np.float64)
