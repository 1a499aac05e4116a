"""A model of whole numbers that takes the numbers between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ...graph.graph import Graph
from ..loaded import LoadedModel

Loaded = TypeVar("Loaded", bound=LoadedModel)


def relaxed(model: Loaded) -> Loaded | None:
    """Return the same model for real numbers; None where its layers need whole ones.

    It is there where the model first casts its input to floating numbers, and goes on from these alone.
    """
    graph = model.graph
    source = graph.inputs[0]
    readers = graph.consumers(source.name)
    casts = [layer for layer in readers if layer.op == "Cast" and _floats(graph, layer.outputs[0])]
    if not readers or len(casts) != len(readers) or source.name in {t.name for t in graph.outputs}:
        return None
    inputs = (source._replace(dtype="float32"), *graph.inputs[1:])
    changed = replace(graph, inputs=inputs, dtypes={**graph.dtypes, source.name: "float32"})
    return type(model)(changed, model.engine, model.path, model.flags, model.strict, given=model.given)


def _floats(graph: Graph, tensor: str) -> bool:
    return graph.dtypes.get(tensor, "float32") in ("float32", "float64", "float16", "float")
