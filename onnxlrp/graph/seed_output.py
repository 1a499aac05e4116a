"""A weighted sum of an output's values, as an output of the graph that every method can explain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .ends import End
from .graph import Graph, Head


class Seeded(NamedTuple):
    """An output that is explained by what is put in at it.

    Attributes:
        tensor: The tensor z where relevance starts.
        shape: Its shape per sample.
        input: The further input of the graph with the seed w of each sample, of the same shape.
    """

    tensor: str
    shape: tuple[int, ...]
    input: str


def with_seed(graph: Graph, head: Head) -> tuple[Graph, Head, Seeded]:
    """Return the graph with s = Σ_i w_i z_i as a further output, and the head of that output.

    z are the values that `head` explains: the logits of an output, or all values of a layer. The seed w is an input of
    the graph. ∂s/∂z = w, so that gradients of s start with w at z.

    Args:
        graph: The graph.
        head: The head of the output.
    """
    tensor = head.start
    shape = graph.shapes[tensor]
    end = End(graph, tensor, f"{tensor}/seed")
    name = end.add_input("seed", shape, end.dtype if end.dtype.startswith("float") else "float32")
    end.tensor = tensor
    end.add("Mul", shape, name)
    if not shape:
        end.add("Unsqueeze", (1,), np.array([1], np.int64))
    else:
        if len(shape) > 1:
            end.sum(range(1, len(shape)), keep=False)
        end.sum([0], keep=True)
    scores = end.renamed(f"{tensor}/seeded")
    return end.with_output(), Head(scores, scores, "Values", stated=True, unit=tensor), Seeded(tensor, shape, name)
