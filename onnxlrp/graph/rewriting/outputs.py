"""Outputs that are no numbers are left out."""

from __future__ import annotations

from ...errors import UnsupportedError
from ..reading.printable import printable
from .mutable_graph import MutableGraph


def drop_text_outputs(graph: MutableGraph) -> None:
    """Leave out outputs of text, such as names of classes, and the layers that only they need.

    Raises:
        UnsupportedError: Every output is text.
    """
    numbers = [name for name in graph.outputs if graph.dtypes.get(name) != "object"]
    if not numbers:
        raise UnsupportedError(
            f'the output "{printable(graph.outputs[0])}" is text', "export the model with an output of its scores"
        )
    graph.outputs = numbers
    graph.prune()
