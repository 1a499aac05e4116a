"""The logarithm of the softmax of logits, as a further output of the graph."""

from __future__ import annotations

from ..graph import Graph, Head
from .ends import End


def with_log_softmax(graph: Graph, head: Head) -> tuple[Graph, str]:
    """Return the graph with log softmax z of the logits z as a further output, and the tensor of it.

    Args:
        graph: The graph.
        head: The head of an output with a score for each class: one axis of its logits alone is longer than 1.
    """
    shape = graph.shapes[head.logits]
    axis = max(range(len(shape)), key=lambda i: shape[i])
    end = End(graph, head.logits, f"{head.logits}/log_softmax")
    end.add("LogSoftmax", shape, axis=1 + axis)
    name = end.renamed(f"{head.logits}/log_softmax")
    return end.with_output(), name
