"""Layers narrowed to the columns of their result at which relevance arrives: no queries where a softmax stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .affine import Affine
from .linear import Matmul, Slice
from .value import Value

Part = tuple[Affine, Value]


def narrowed(parts: Sequence[Part], relevance: Value) -> tuple[Sequence[Part], Value]:
    """Return a product with a matrix, and the relevance of its result, without columns that get none.

    Where one layer makes queries, keys and values, and relevance comes of the values alone, two thirds of the products
    would multiply zeros. A rule that treats each column by itself gives the same.

    Args:
        parts: The affine parts of a layer; anything but one product with a matrix is returned as it is.
        relevance: The relevance of its result.
    """
    if len(parts) != 1:
        return parts, relevance
    ((layer, x),) = parts
    linear, trace = layer.linear, relevance.trace
    if not isinstance(linear, Matmul) or layer.weight is None or layer.gain is not None:
        return parts, relevance
    weight = trace.leaf(layer.weight)
    bias = None if layer.bias is None else trace.leaf(layer.bias)
    width = linear.target[-1]
    found = trace.columns(relevance)
    if found is None or weight is None or weight.ndim != 2 or relevance.shape != linear.target:
        return parts, relevance
    if layer.bias is not None and (bias is None or bias.shape[-1:] != (width,)):
        return parts, relevance
    start, stop = found

    def cut(value: Value) -> Value:
        shape = (*value.shape[:-1], stop - start)
        starts = (*[0] * (len(shape) - 1), start)
        return trace.linear(Slice(value.shape, shape, starts, (1,) * len(shape)), value)

    own = weight[start:stop] if linear.transposed else weight[:, start:stop]
    narrow = Affine(
        replace(linear, target=(*linear.target[:-1], stop - start)),
        trace.constant(own),
        None if bias is None else trace.constant(bias[..., start:stop]),
    )
    trace.declare_linear(narrow.linear, x, narrow.weight, narrow.bias, cut(layer(x)))
    return ((narrow, x),), cut(relevance)
