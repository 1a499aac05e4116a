"""Several prototypes that differ: likeness of their features is taken off the score (Olah et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError
from ...graph.outputs import units
from ...graph.outputs.units import Start, Unit
from ...methods.registry import make_composite
from ..ascent.objectives import Score
from ..ascent.optimize import Array

_CHANNELS = 8  # at least: fewer have no likeness worth the name


@dataclass(eq=False)
class Diverse:
    """f(x_i) - λ |mean f| mean over j ≠ i of cos(G_i, G_j), G = A Aᵀ over the places of a layer's activations A.

    Attributes:
        score: f.
        layer: The layer.
        weight: λ.
        n: The number of pictures; further rows of a batch are transformed copies, those of one picture together.
    """

    score: Score
    layer: Unit
    weight: float
    n: int

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the value of each sample [N], and the gradient [N, …]."""
        values, slope = self.score(x)
        model, size = self.score.model, self.score.batch_size
        a = model.outputs(x, activations=[self.layer], batch_size=size)[f"activation/{self.layer.label}"]
        cost, pull = likeness(np.moveaxis(a, 1 + self.layer.axis, 1), len(x) // self.n)
        factor = self.weight * float(np.abs(values).mean())
        start = Start(self.layer.tensor, "seed", np.moveaxis(-factor * pull, 1, 1 + self.layer.axis).astype(np.float32))
        found = model.outputs(x, make_composite("gradient"), starts=[start], batch_size=size)
        return values - factor * cost, slope + found["relevance"]


def likeness(a: Array, copies: int = 1) -> tuple[Array, Array]:
    """Return the mean cosine of each sample's Gram matrix with those of other pictures [N], and its gradient.

    Args:
        a: Activations [N, C, …].
        copies: Rows of one picture, which lie together and are not compared with each other.

    Returns:
        The mean cosine [N], and ∂(Σ of all / 2)/∂a: each pair counts once, as a penalty on both.
    """
    n, flat = len(a), a.reshape(*a.shape[:2], -1).astype(np.float64)
    grams = np.einsum("ncp,ndp->ncd", flat, flat)
    norms = np.linalg.norm(grams.reshape(n, -1), axis=1) + 1e-12
    unit = grams / norms[:, None, None]
    cosines = np.einsum("ncd,mcd->nm", unit, unit)
    picture = np.arange(n) // copies
    others = (picture[:, None] != picture[None]) / max(n - copies, 1)
    cost = (cosines * others).sum(axis=1)
    pull = np.einsum("nm,mcd->ncd", others, unit) - cost[:, None, None] * unit
    slope = 2 * np.einsum("ncd,ndp->ncp", pull / norms[:, None, None], flat)
    return cost, slope.reshape(a.shape)


def layer_of(model: Any) -> Unit:
    """Return the last layer whose activations have places. Raises UsageError where there is none."""
    for one in reversed(units.layers(model.graph, ".*")):
        if one.channels >= _CHANNELS and np.prod(one.space) > 1:
            return one
    raise UsageError("the model has no layer with places to tell pictures apart by", "leave out --diversity")
