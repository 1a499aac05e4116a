"""Similarities of heatmaps: two batches [N, H, W] in, one number for each pair [N] out; `METRICS` by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation.maps import cosine, shares, spearman

Array = npt.NDArray[Any]

__all__ = ["METRICS", "Similarity", "cosine", "mass_shift", "spearman", "topk_iou"]


def topk_iou(a: Array, b: Array, share: float = 0.1) -> Array:
    """Compute the intersection over union |A ∩ B| / |A ∪ B| of the most relevant pixels [N], in 0..1.

    Args:
        a: Heatmaps [N, H, W].
        b: Heatmaps [N, H, W].
        share: The share of all pixels, at least one, that is most relevant; of equal ones the first.
    """
    a, b = _flat(a), _flat(b)
    k = max(1, round(share * a.shape[1]))
    both = (_highest(a, k) & _highest(b, k)).sum(axis=1)
    overlap: Array = both / (2 * k - both)
    return overlap


def mass_shift(a: Array, b: Array) -> Array:
    """Compute the share of Σ|R| that lies elsewhere [N], in 0..1: the total variation distance ½ Σ|p - q|.

    p and q are |R| of the two heatmaps, divided by their sums; 0 where both heatmaps are zero, 1 where one is.
    """
    p, q = (shares(x.reshape(len(x), 1, -1).astype(np.float64))[:, 0] for x in (a, b))
    empty = p.any(axis=1) != q.any(axis=1)
    moved: Array = np.where(empty, 1.0, np.abs(p - q).sum(axis=1) / 2)
    return moved


@dataclass(frozen=True)
class Similarity:
    """A similarity of two heatmaps.

    Attributes:
        compute: The function of heatmaps [N, H, W] and [N, H, W] to [N].
        higher: Whether larger values are more similar.
        identical: The value of a heatmap with itself.
    """

    compute: Callable[[Array, Array], Array]
    higher: bool
    identical: float


METRICS: Mapping[str, Similarity] = {
    "cosine": Similarity(cosine, True, 1.0),
    "spearman": Similarity(spearman, True, 1.0),
    "topk_iou": Similarity(topk_iou, True, 1.0),
    "mass_shift": Similarity(mass_shift, False, 0.0),
}


def _highest(maps: Array, k: int) -> npt.NDArray[np.bool_]:
    order = np.argsort(-maps, axis=1, kind="stable")[:, :k]
    chosen = np.zeros(maps.shape, bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen


def _flat(maps: Array) -> Array:
    return maps.reshape(len(maps), -1).astype(np.float64)
