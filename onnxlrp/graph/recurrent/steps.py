"""One step of each sample, at an index that is computed at run time, as a sum over steps of which a mask keeps one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..graph import Layer
from ..operators import STEPS
from ..rewriting.builder import Builder, Shape
from ..rewriting.mutable_graph import MutableGraph


def mask_steps(graph: MutableGraph) -> None:
    """Write each GatherND of one step of a sample as `STEPS` of a mask. Indices below 0 count from the end."""
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += _masked(graph, layer) if is_step(layer, graph.shapes) else [layer]
    graph.layers = layers


def _masked(graph: MutableGraph, layer: Layer) -> list[Layer]:
    build, (data, indices) = Builder(graph, layer), layer.inputs
    batch, steps, *rest = graph.shapes[data]
    ones, kind = [1] * len(rest), graph.dtypes[indices]

    def typed(name: str, dtype: str) -> str:
        graph.dtypes[name] = dtype
        return name

    length = build.constant(np.array(steps, kind), f"{build.out}/length")
    places = build.constant(np.arange(steps, dtype=kind).reshape(1, steps, *ones), f"{build.out}/places")
    column = typed(build.reshape(indices, (-1, 1, *ones), f"{build.out}/column", declare=False), kind)
    build.declare(column, (batch, 1, *ones))
    typed(column, kind)
    within = typed(build.add("Mod", column, length, out=f"{build.out}/within", shape=(batch, 1, *ones)), kind)
    chosen = f"{build.out}/chosen"
    typed(build.add("Equal", places, within, out=chosen, shape=(batch, steps, *ones)), "bool")
    mask = build.add("Cast", chosen, out=f"{build.out}/mask", shape=(batch, steps, *ones), to=1)
    kept = build.add(STEPS, data, mask, out=f"{build.out}/kept", shape=(batch, 1, *rest), name=layer.name, sum=1)
    build.reshape(kept, (-1, *rest), build.out, f"{layer.name}/shape", declare=False)
    return build.layers


def is_step(layer: Layer, shapes: Mapping[str, Shape]) -> bool:
    """Return whether a layer picks one step of each sample, in the form that `graph.lowering` writes."""
    return (
        layer.op == "GatherND"
        and layer.attributes.get("batch_dims", 0) == 1
        and shapes.get(layer.inputs[1], ())[1:] == (1,)
    )
