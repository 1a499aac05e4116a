"""Whether explanations depend on the weights: a smoke test after Adebayo et al. 2018."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..graph import facts
from ..graph.graph import Layer
from ..model import Model
from . import maps
from .case import Case
from .finding import Finding, Missing, judged
from .places import ALL
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
            raise Missing("no layer has weights in floating point", "")
        changed = randomised(case.model, layer, self.seed)
        new = case.heat(case.explain(changed, case.samples, case.targets))
        value = float(np.abs(maps.cosine(case.maps, new)).mean())
        message = f"with the weights of {layer.label} drawn anew, the maps keep a |cosine| of {value:.3f}"
        # Sixt et al. 2020, "When explanations lie": what z⁺ passes down converges, whatever the last layers say.
        fix = "z⁺ rules and guided backprop forget the last layers (Sixt et al. 2020): compare with -m epsilon"
        yield judged(value <= self.cosine, message, ALL, value, self.cosine, fix)


def last_weighted(model: Model) -> Layer | None:
    """The layer nearest to the output that applies constant weights in floating point."""
    return next(weighted(model), None)


def weighted(model: Model) -> Iterator[Layer]:
    """The layers between the explained input and the logits that apply constant weights in floating point, from the
    output to the input."""
    graph = model.graph
    between = facts.relevant(graph, (graph.inputs[0].name,), facts.head(graph, graph.outputs[0].name))
    layers = (layer for layer in reversed(graph.layers) if layer.name in between)
    return (layer for layer in layers if facts.is_weighted(graph, layer) and _weights(model, layer))


def randomised(model: Model, layer: Layer, seed: int) -> Model:
    """The model with the weights of a layer drawn from a normal distribution of their standard deviation."""
    rng = np.random.default_rng(seed)
    constants = dict(model.graph.constants)
    for name in _weights(model, layer):
        old = constants[name]
        constants[name] = rng.normal(0, float(old.std()) or 1.0, old.shape).astype(old.dtype)
    graph = dataclasses.replace(model.graph, constants=MappingProxyType(constants))
    # A new model, for a copy would share the programs of the old weights.
    return Model(graph, model.engine, model.path, model.flags, model.strict, model.whole, model.choice, model.given)


def _weights(model: Model, layer: Layer) -> list[str]:
    constants = model.graph.constants
    return [n for n in layer.inputs if n in constants and constants[n].ndim > 1 and constants[n].dtype.kind == "f"]
