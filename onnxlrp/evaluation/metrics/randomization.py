"""Weight randomization: the explanation depends on the weights, replaced by random ones layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import UnsupportedError, at_least, one_of
from ...explanation.maps import spearman
from ...model.randomized import randomized, weighted
from ..context import EvaluationContext, finite, flat
from .registry import Curve, Measurement, metric


@metric("randomisation", paper="Adebayo et al. 2018", better="lower")
@dataclass(frozen=True)
class Randomization:
    """The mean over layers of |Spearman's ρ| between the heatmap and that of the model with random weights.

    Read it as a smoke test: a heatmap that stays near 1 does not explain the model, but a smaller number is no better
    heatmap (Binder et al. 2023).

    Args:
        order: "cascading" randomizes all layers from the output down to the one measured, "independent" that one alone.
        layers: How many layers are measured, evenly spaced.
        seed: The seed of the weights.

    References:
        Adebayo et al. 2018, "Sanity checks for saliency maps". Binder et al. 2023, "Shortcomings of top-down
        randomization-based sanity checks for evaluations of deep neural network explanations".
    """

    order: str = "cascading"
    layers: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(("cascading", "independent"), order=self.order)
        at_least(1, whole=True, layers=self.layers)

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        found = list(weighted(context.model))
        if not found:
            raise UnsupportedError(
                "randomisation: no layer has weights in floating point", "leave this metric out for this model"
            )
        chosen = evenly_spaced(len(found), self.layers)
        before, similarities, model = context.maps, [], context.model
        for n, layer in enumerate(found):
            if n > chosen[-1]:
                break
            if self.order == "cascading":
                model = randomized(model, layer, self.seed + n)
            elif n in chosen:
                model = randomized(context.model, layer, self.seed + n)
            if n in chosen:
                relevance = finite(context.again(model=model).relevance, context.attributor.name)
                after = context.samples.kind.summed(relevance)
                similarities.append(np.abs(spearman(flat(before), flat(after))))
        similarity = np.stack(similarities, axis=1)
        ticks = [found[n].label for n in chosen]
        place = np.arange(len(chosen)) + 1.0
        curve = Curve(place, similarity, "randomized layers, from the output", "|rank correlation|", ticks)
        return Measurement(similarity.mean(axis=1), {"": curve})


def evenly_spaced(count: int, several: int) -> list[int]:
    """Return at most `several` of the numbers 0 … count - 1, evenly spaced, with the first and the last."""
    return sorted({int(n) for n in np.rint(np.linspace(0, count - 1, min(count, several)))})
