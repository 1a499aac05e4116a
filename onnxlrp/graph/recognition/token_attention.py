"""Attention between the tokens of a model: every map of it, where its tokens lie, and which of them the head reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...errors import UnsupportedError
from ..axes.parts import Axes, Axis, inputs_of, is_placed, length_of
from ..axes.tracing import selected, trace_axes
from ..facts import relevant
from ..graph import Array, Graph
from ..operators import MATRIX_PRODUCTS
from .attention import Weights, every_weights

_FIX = "take the method attention, or gradient_x_input"


class TokenAttention(NamedTuple):
    """The attention of a model over one sequence of tokens.

    Attributes:
        maps: The attention weights [..., tokens, tokens], in order.
        pooling: Weights [..., queries, tokens] of a last attention by which the head reads tokens; None without one.
        tokens: The axis of the tokens, in terms of the input's axes.
        rows: The share of each token in what the head reads [tokens]; their sum is 1.
        read: Which tokens these are, in words.
    """

    maps: tuple[Weights, ...]
    pooling: Weights | None
    tokens: Axis
    rows: Array
    read: str


def token_attention(graph: Graph, target: str) -> TokenAttention:
    """Find the attention between tokens on the paths from the input to a tensor.

    Args:
        graph: The graph, its explained input first.
        target: The tensor, such as that of the logits.

    Raises:
        UnsupportedError: There is no attention, or not between the same tokens everywhere: in windows, between two
            sequences, or tokens that lie nowhere in the input.
    """
    traced = trace_axes(graph, graph.inputs[0])
    inside = relevant(graph, (graph.inputs[0].name,), target)
    found = [one for one in every_weights(graph) if one.layer.name in inside]
    if not found:
        raise UnsupportedError("the model has no attention: no softmax weighs activations in a matrix product", _FIX)
    if any(one.layer.op not in ("MatMul", "Gemm") for one in found):
        raise UnsupportedError(f"the attention of {found[0].layer.label} is a product of another kind", _FIX)
    tokens = _ends(traced, found[0])[1]
    if not any(True for _ in inputs_of(tokens)):
        raise UnsupportedError(f"the keys of {found[0].layer.label} lie nowhere in the input", _FIX)
    maps, pooling = found, None
    if _ends(traced, found[-1])[0] != tokens:
        maps, pooling = found[:-1], found[-1]
    for one in found:
        queries, keys = _ends(traced, one)
        lead = traced.get(one.tensor, ())[:-2]
        if keys != tokens or (queries != tokens and one is not pooling) or any(map(is_placed, lead)):
            first, own = length_of(tokens), length_of(keys)
            what = f"{own} tokens in windows or in another sequence" if own != first or lead else "other queries"
            raise UnsupportedError(
                f"the attention of {one.layer.label} is not between the same {first} tokens as that of "
                f"{found[0].layer.label}: {what}",
                _FIX,
            )
    rows, read = _read(graph, traced, tokens, found[-1], target)
    if pooling is not None:
        rows, read = np.full(length_of(tokens), np.nan), f"the queries of {pooling.layer.label}"
    return TokenAttention(tuple(maps), pooling, tokens, rows, read)


def _ends(traced: Mapping[str, Axes], weights: Weights) -> tuple[Axis, Axis]:
    """The axes of queries and of keys."""
    axes = traced.get(weights.tensor, ((), ()))
    return (axes[-1], axes[-2]) if weights.flipped else (axes[-2], axes[-1])


def _read(graph: Graph, traced: Mapping[str, Axes], tokens: Axis, last: Weights, target: str) -> tuple[Array, str]:
    """The share of each token in what the layers behind the last attention take of them, and that in words.

    Tokens are picked, or all of them are summed; a linear layer over all is taken as their mean.
    """
    count = length_of(tokens)
    behind = relevant(graph, last.layer.outputs, target)
    depends = set(last.layer.outputs)
    rows = np.zeros(count)
    for layer in graph.layers:
        if layer.name not in behind or not depends.intersection(layer.inputs):
            continue
        depends.update(layer.outputs)
        if any(tokens in traced.get(name, ()) for name in layer.outputs):
            continue
        for position, name in enumerate(layer.inputs):
            axes = traced.get(name, ())
            if name not in depends or tokens not in axes:
                continue
            chosen = selected(graph, layer) if position == 0 and layer.op not in MATRIX_PRODUCTS else None
            picked = chosen[1] if chosen is not None and axes[chosen[0]] == tokens else range(count)
            rows[list(picked)] += 1 / len(picked)
    used = np.flatnonzero(rows)
    if not used.size:
        return np.full(count, 1 / count), f"the mean of {count} tokens"
    words = f"token {', '.join(map(str, used))} of {count}" if used.size <= 2 else f"the mean of {used.size} tokens"
    return rows / rows.sum(), words
