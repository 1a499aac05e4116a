"""Whether the explanation depends on the weights: they are drawn anew, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import UnsupportedError, at_least, one_of
from ...explanation.maps import spearman
from ...model.randomized import randomized, weighted
from .registry import Curve, Measured, metric
from .trial import Trial, finite, flat


@metric("randomisation", paper="Adebayo et al. 2018", better="lower")
@dataclass(frozen=True)
class Randomisation:
    """Mean over layers of |Spearman's ρ| between the map and that of the model with weights drawn anew.

    `order` "cascading" draws all layers from the output down to the one at hand, "independent" that one alone;
    at most `layers` of them are measured, evenly spread. Read it as a smoke test: a map that stays near 1 does not
    explain the model, but a smaller number is no better map (Binder et al. 2023).
    """

    order: str = "cascading"
    layers: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(("cascading", "independent"), order=self.order)
        at_least(1, whole=True, layers=self.layers)

    def __call__(self, trial: Trial) -> Measured:
        found = list(weighted(trial.model))
        if not found:
            raise UnsupportedError(
                "randomisation: no layer has weights in floating point", "leave this metric out for this model"
            )
        chosen = spread(len(found), self.layers)
        before, alike, model = trial.maps, [], trial.model
        for n, layer in enumerate(found):
            if n > chosen[-1]:
                break
            if self.order == "cascading":
                model = randomized(model, layer, self.seed + n)
            elif n in chosen:
                model = randomized(trial.model, layer, self.seed + n)
            if n in chosen:
                relevance = finite(trial.again(model=model).relevance, trial.by.name)
                after = trial.samples.kind.summed(relevance)
                alike.append(np.abs(spearman(flat(before), flat(after))))
        similarity = np.stack(alike, axis=1)
        ticks = [found[n].label for n in chosen]
        place = np.arange(len(chosen)) + 1.0
        curve = Curve(place, similarity, "layers drawn anew, from the output", "|rank correlation|", ticks)
        return Measured(similarity.mean(axis=1), {"": curve})


def spread(of: int, several: int) -> list[int]:
    """At most `several` of the numbers 0 … of - 1, evenly spread, the first and the last among them."""
    return sorted({int(n) for n in np.rint(np.linspace(0, of - 1, min(of, several)))})
