"""Whether explanations depend on the weights: a smoke test after Adebayo et al. 2018."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..explanation import maps
from ..findings.finding import Finding, MissingData, judged
from ..model.randomized import last_weighted, randomized
from .case import Case
from .localization import ALL
from .registry import check


@check("randomised", severity="warning")
@dataclass(frozen=True)
class Randomised:
    """With the weights of the last layer drawn anew (normal, at their own scale, by `seed`), the maps change: the mean
    |cosine| between old and new map is at most `cosine`. An explanation that stays explains the picture, not the model
    (Adebayo et al. 2018, "Sanity checks for saliency maps")."""

    cosine: float = 0.999
    seed: int = 1

    def __call__(self, case: Case) -> Iterable[Finding]:
        layer = last_weighted(case.model)
        if layer is None:
            raise MissingData("no layer has weights in floating point", "")
        changed = randomized(case.model, layer, self.seed)
        new = case.heat(case.explain(changed, case.samples, case.targets))
        value = float(np.abs(maps.cosine(case.maps, new)).mean())
        message = f"with the weights of {layer.label} drawn anew, the maps keep a |cosine| of {value:.3f}"
        # Sixt et al. 2020, "When explanations lie": what z⁺ passes down converges, whatever the last layers say.
        fix = "z⁺ rules and guided backprop forget the last layers (Sixt et al. 2020): compare with -m epsilon"
        yield judged(value <= self.cosine, message, ALL, value, self.cosine, fix)
