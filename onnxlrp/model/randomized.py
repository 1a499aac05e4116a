"""Copies of a model with random weights, for the sanity checks of Adebayo et al. 2018."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import MappingProxyType

import numpy as np

from ..graph import facts
from ..graph.graph import Layer
from ..graph.outputs import heads
from .model import Model


def last_weighted(model: Model) -> Layer | None:
    """Return the layer nearest to the output that applies constant weights in floating point."""
    return next(weighted(model), None)


def weighted(model: Model) -> Iterator[Layer]:
    """Yield the layers that apply constant weights in floating point, from the logits to the explained input."""
    graph = model.graph
    between = facts.relevant(graph, (graph.inputs[0].name,), heads.head(graph, graph.outputs[0].name))
    layers = (layer for layer in reversed(graph.layers) if layer.name in between)
    return (layer for layer in layers if facts.is_weighted(graph, layer) and _weights(model, layer))


def randomized(model: Model, layer: Layer, seed: int) -> Model:
    """Return a copy of a model with random weights in one layer.

    Args:
        model: The model.
        layer: The layer; its weights are drawn from a normal distribution of their standard deviation.
        seed: Of the random numbers.
    """
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
