"""Check of weight randomization: explanations depend on the weights (Adebayo et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..explanation import maps
from ..findings.finding import Finding, MissingData, judged
from ..model.randomized import last_weighted, randomized
from .context import CheckContext
from .localization import ALL
from .registry import check


@check("randomised", severity="warning", order=50)
@dataclass(frozen=True)
class WeightRandomization:
    """The heatmaps change when the weights of the last layer are replaced by random ones.

    The weights are drawn from a normal distribution of their own scale. A heatmap that stays explains the picture, not
    the model.

    Args:
        cosine: The largest mean |cosine| between the heatmaps before and after.
        seed: The seed of the weights.

    References:
        Adebayo et al. 2018, "Sanity checks for saliency maps".
    """

    cosine: float = 0.999
    seed: int = 1

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        layer = last_weighted(context.model)
        if layer is None:
            raise MissingData("no layer has weights in floating point", "")
        value = float(np.mean(np.abs(context.in_order(self._cosines))))
        message = f"with random weights in {layer.label}, the heatmaps keep a |cosine| of {value:.3f}"
        # Sixt et al. 2020, "When explanations lie": relevance by z⁺ converges, whatever the last layers are.
        fix = (
            "z⁺ rules and guided backprop depend little on the last layers (Sixt et al. 2020): compare with -m epsilon"
        )
        yield judged(value <= self.cosine, message, ALL, value, self.cosine, fix)

    def _cosines(self, part: CheckContext) -> list[float]:
        layer = last_weighted(part.model)
        assert layer is not None
        changed = randomized(part.model, layer, self.seed)
        new = part.heat(part.explain(changed, part.samples, part.targets))
        return [float(value) for value in maps.cosine(part.maps, new)]
