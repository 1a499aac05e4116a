"""A unit as an output of the graph: one number for each sample, which every method can explain."""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Head
from .ends import End
from .units import Unit


def with_output(graph: Graph, unit: Unit) -> tuple[Graph, Head]:
    """Return the graph with a further output, the activation of a unit, and the head of that output.

    The output is Σ weight · activation (`Unit.mask`), computed behind the tensor of the unit. Relevance starts at that
    tensor (`Head.unit`), not at the sum.

    Args:
        graph: The graph.
        unit: A unit of it.
    """
    end = End(graph, unit.tensor, unit.label)
    _append(end, unit)
    name = end.renamed(unit.label)
    return end.with_output(), Head(name, name, "Values", stated=True, unit=unit.tensor)


def _append(end: End, unit: Unit) -> str:
    """Append what computes the unit, and return the tensor of shape (1,)."""
    spatial = [i for i in range(len(unit.shape)) if i != unit.axis]
    if not unit.shape:
        end.add("Unsqueeze", (1,), np.array([1], np.int64))
    for axis, at in zip(spatial, unit.position or (), strict=False):
        end.pick(axis, at)
    if spatial:
        end.sum(spatial, keep=False)
    if unit.channel is not None:
        return end.pick(0, unit.channel)
    if unit.direction is not None:
        end.add("Mul", (unit.channels,), np.asarray(unit.direction, np.float32))
    return end.sum([0], keep=True)
