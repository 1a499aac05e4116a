"""Copies of a model with weights drawn anew, for the sanity checks of Adebayo et al. 2018."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import MappingProxyType

import numpy as np

from ..graph import facts
from ..graph.graph import Layer
from .model import Model


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


def randomized(model: Model, layer: Layer, seed: int) -> Model:
    """The model with the weights of a layer drawn from a normal distribution of their standard deviation."""
    rng = np.random.default_rng(seed)
    constants = dict(model.graph.constants)
    for name in _weights(model, layer):
        old = constants[name]
        constants[name] = rng.normal(0, float(old.std()) or 1.0, old.shape).astype(old.dtype)
    graph = dataclasses.replace(model.graph, constants=MappingProxyType(constants))
    # A new model, for a copy would share the programs of the old weights.
    known = model.path, model.flags, model.strict, model.whole, model.choice, model.given, model.kind_word
    return Model(graph, model.engine, *known)


def _weights(model: Model, layer: Layer) -> list[str]:
    constants = model.graph.constants
    return [n for n in layer.inputs if n in constants and constants[n].ndim > 1 and constants[n].dtype.kind == "f"]
