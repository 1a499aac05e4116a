"""The tensors of a graph that hold maps of its input."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph
from .places import Places, places
from .tracing import trace_axes


def maps_of(graph: Graph, spatial: Sequence[int]) -> dict[str, Places]:
    """Return the layout of every tensor that has places along all spatial axes of the explained input.

    Args:
        graph: The graph, its first input explained.
        spatial: The axes of space of that input.
    """
    traced = trace_axes(graph, graph.inputs[0])
    found = {name: places(axes, spatial) for name, axes in traced.items()}
    return {name: laid for name, laid in found.items() if laid is not None}
