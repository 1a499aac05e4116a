"""A weighted sum of an output's values, as an output of the graph that every method can explain."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from ...errors import InputError
from ..graph import Array, Graph, Head
from .ends import End

Kind = Literal["seed", "dot", "cosine"]


class Seeded(NamedTuple):
    """An output that is explained by what is put in at it.

    Attributes:
        tensor: The tensor z where relevance starts.
        shape: Its shape per sample.
        input: The further input of the graph with the seed w of each sample, of the same shape.
        kind: What is made of both: "seed" and "dot" Σ w z, "cosine" Σ w z / (‖w‖ ‖z‖), where w are the values of
            another sample.
    """

    tensor: str
    shape: tuple[int, ...]
    input: str
    kind: Kind = "seed"

    def describe(self) -> str:
        """Return what is explained, in words."""
        sizes = " x ".join(map(str, self.shape)) or "1"
        made = {
            "seed": "a weighted sum",
            "dot": "the dot product with the other sample",
            "cosine": "the cosine with the other sample",
        }
        return f"{made[self.kind]}, of the {sizes} values of {self.tensor}"

    def similarities(self, z: Array, w: Array) -> tuple[Array, Array, Array]:
        """Return the similarity of each sample to another, its weights on z, and its gradient by z.

        s = Σ w z, or Σ w z / (‖w‖ ‖z‖); rules start with v ⊙ z, where v = w, or w / (‖w‖ ‖z‖), whose sum is s.

        Args:
            z: The values [N, *shape].
            w: Those of the other sample [N, *shape].

        Returns:
            s [N], v [N, *shape], ∂s/∂z [N, *shape], in float64.

        Raises:
            InputError: The cosine of values that are all zero.
        """
        z, w = z.astype(np.float64), np.broadcast_to(w, z.shape).astype(np.float64)
        axes = tuple(range(1, z.ndim))
        if self.kind != "cosine":
            return (w * z).sum(axis=axes), w, w
        long, other = (np.sqrt((a**2).sum(axis=axes, keepdims=True)) for a in (z, w))
        if not (long.all() and other.all()):
            raise InputError("all values of a sample at the output are zero: there is no cosine", "--similarity dot")
        weights = w / (long * other)
        s = (weights * z).sum(axis=axes, keepdims=True)
        return s.reshape(len(z)), weights, weights - s * z / long**2


def with_seed(graph: Graph, head: Head, kind: Kind = "seed") -> tuple[Graph, Head, Seeded]:
    """Return the graph with s = Σ_i w_i z_i as a further output, or the cosine, and the head of that output.

    z are the values that `head` explains: the logits of an output, or all values of a layer. The seed w is an input of
    the graph. ∂s/∂z = w, so that gradients of s start with w at z.

    Args:
        graph: The graph.
        head: The head of the output.
        kind: As of `Seeded`.
    """
    tensor = head.start
    shape = graph.shapes[tensor]
    end = End(graph, tensor, f"{tensor}/seed")
    name = end.add_input("seed", shape, end.dtype if end.dtype.startswith("float") else "float32")
    dot = _product(end, shape, tensor, name)
    if kind == "cosine":
        own = _product(end, shape, tensor, tensor)
        _product(end, shape, name, name)
        end.add("Mul", (1,), own)
        root = end.add("Sqrt", (1,))
        end.tensor = dot
        end.add("Div", (1,), root)
    scores = end.renamed(f"{tensor}/seeded")
    return (
        end.with_output(),
        Head(scores, scores, "Values", stated=True, unit=tensor),
        Seeded(tensor, shape, name, kind),
    )


def _product(end: End, shape: tuple[int, ...], one: str, other: str) -> str:
    """Append the sum over all values of a product, [1]."""
    end.tensor = one
    end.add("Mul", shape, other)
    if not shape:
        return end.add("Unsqueeze", (1,), np.array([1], np.int64))
    if len(shape) > 1:
        end.sum(range(1, len(shape)), keep=False)
    return end.sum([0], keep=True)
