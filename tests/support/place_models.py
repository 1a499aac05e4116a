"""Models that read or write at indices that they compute: (shape of a sample, inputs, what builds it on a Net)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .routing_models import each, numbers
from .small_nets import Net

MODELS: dict[str, tuple[tuple[int, ...], tuple[str, ...], Callable[..., Any]]] = {}


def model(*shape: int) -> Callable[..., Any]:
    def add(build: Any) -> Any:
        MODELS[build.__name__] = (shape, ("x",), build)
        return build

    return add


def best(n: Net, count: int = 3, x: str = "x") -> list[str]:
    """The values and indices of the rows of x [N, rows, width] with the largest elements."""
    return n.ops("TopK", n.op("ReduceMax", x, numbers(2), keepdims=0), numbers(count), results=2, axis=1)


def column(n: Net, indices: str, *copies: int) -> str:
    """Indices [N, k] as [N, k, 1], or with copies along the last axes."""
    wide = n.op("Unsqueeze", indices, numbers(2))
    return n.op("Expand", wide, numbers(1, 1, *copies)) if copies else wide


def own_number(n: Net, count: int) -> str:
    """The number of each sample, [N, count, 1]."""
    length = n.op("Squeeze", n.op("Shape", "x", start=0, end=1))
    first = n.op("Reshape", n.op("Range", np.array(0), length, np.array(1)), numbers(-1, 1, 1))
    return n.op("Expand", first, numbers(1, count, 1))


@model(8)
def topk_values(n: Net) -> str:
    return n.ops("TopK", "x", numbers(3), results=2)[0]


@model(3, 5)
def topk_smallest_of_columns(n: Net) -> str:
    return n.ops("TopK", "x", numbers(2), results=2, axis=1, largest=0)[0]


@model(5, 6)
def gather_elements_of_the_best(n: Net) -> str:
    return n.op("GatherElements", "x", column(n, best(n)[1], 6), axis=1)


@model(5, 6)
def gather_nd_of_the_best(n: Net) -> str:
    return n.op("GatherND", "x", column(n, best(n)[1]), batch_dims=1)


@model(5, 6)
def gather_nd_by_tuples(n: Net) -> str:
    """x[torch.arange(N)[:, None], best]"""
    return n.op("GatherND", "x", n.op("Concat", own_number(n, 3), column(n, best(n)[1]), axis=-1))


@model(5, 6)
def gather_nd_by_triples(n: Net) -> str:
    rows = column(n, best(n)[1])
    columns = n.op("Mod", n.op("Add", rows, np.array(4)), np.array(6))
    return n.op("GatherND", "x", n.op("Concat", own_number(n, 3), rows, columns, axis=-1))


@model(5, 6)
def anchors_of_the_best(n: Net) -> str:
    """Rows of constants at computed indices have no relevance; what is added to them has."""
    values, indices = best(n)
    anchors = each(n, n.rng.normal(size=(1, 5, 2)).astype(np.float32))
    chosen = n.op("GatherElements", anchors, column(n, indices, 2), axis=1)
    return n.op("Add", chosen, column(n, values, 2))


@model(8)
def gates_of_experts(n: Net) -> str:
    """The softmax of the two best scores, at their places among zeros: a mixture of experts."""
    values, indices = n.ops("TopK", n.dense("x", 8, 6), numbers(2), results=2)
    zeros = each(n, np.zeros((1, 6), np.float32))
    return n.op("ScatterElements", zeros, indices, n.op("Softmax", values, axis=-1), axis=1)


@model(8)
def best_experts(n: Net) -> str:
    values, indices = n.ops("TopK", n.op("Softmax", n.dense("x", 8, 6), axis=-1), numbers(2), results=2)
    experts = n.op("Reshape", n.dense("x", 8, 24), numbers(0, 6, 4))
    chosen = n.op("GatherElements", experts, column(n, indices, 4), axis=1)
    return n.op("ReduceSum", n.op("Mul", chosen, column(n, values)), numbers(1), keepdims=0)


@model(5, 6)
def scatter_nd_by_tuples(n: Net) -> str:
    rows = n.op("GatherND", "x", column(n, best(n)[1]), batch_dims=1)
    places = n.op("Concat", own_number(n, 3), column(n, best(n)[1]), axis=-1)
    return n.op("ScatterND", "x", places, n.op("Tanh", rows))


@model(4, 3, 2)
def scatter_nd_by_triples_that_adds(n: Net) -> str:
    """Both indices count from the end here and there."""
    rows = column(n, n.ops("TopK", n.op("ReduceMax", "x", numbers(2, 3), keepdims=0), numbers(2), results=2)[1])
    columns = n.op("Sub", n.op("Mod", rows, np.array(3)), np.array(3))
    places = n.op("Concat", own_number(n, 2), rows, columns, axis=-1)
    updates = n.op("Slice", "x", numbers(0, 0), numbers(2, 1), numbers(1, 2))
    return n.op("ScatterND", "x", places, n.op("Squeeze", updates, numbers(2)), reduction="add")


def _reduced(reduction: str) -> Callable[[Net], str]:
    def build(n: Net) -> str:
        places = column(n, n.op("Mod", best(n)[1], np.array(3)), 6)
        updates = n.op("Tanh", n.op("Slice", "x", numbers(1), numbers(4), numbers(1)))
        return n.op("ScatterElements", "x", places, updates, axis=1, reduction=reduction)

    return build


for _reduction in ("none", "add", "max", "min"):
    MODELS[f"scatter_elements_{_reduction}"] = ((5, 6), ("x",), _reduced(_reduction))


def lengths(n: Net) -> str:
    """How many steps of each sample of x [N, steps, width] but the first begin with a value above 0, and one."""
    first = n.op("Squeeze", n.op("Slice", "x", numbers(1, 0), numbers(99, 1), numbers(1, 2)), numbers(2))
    counted = n.op("ReduceSum", n.op("Cast", n.op("Greater", first, np.array(0.0)), to=7), numbers(1), keepdims=0)
    return n.op("Add", counted, numbers(1))


@model(6, 3)
def reverse_sequence(n: Net) -> str:
    return n.op("ReverseSequence", "x", lengths(n), time_axis=1, batch_axis=0)


@model(5, 3)
def reverse_sequence_of_steps_first(n: Net) -> str:
    return n.op(
        "Transpose", n.op("ReverseSequence", n.op("Transpose", "x", perm=[1, 0, 2]), lengths(n)), perm=[1, 0, 2]
    )


@model(6, 3)
def reverse_sequence_by_one_length(n: Net) -> str:
    length = n.op("Expand", numbers(4), n.op("Shape", "x", start=0, end=1))
    return n.op("ReverseSequence", "x", length, time_axis=1, batch_axis=0)
