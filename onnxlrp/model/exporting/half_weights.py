"""Weights of an exported explainer in half precision; what is computed of them stays in single precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ...program.program import Array

LEAST = 256  # elements: smaller tensors, such as biases and stabilisers, save nothing
_LOST = 2.0**-11  # the largest relative error that rounding to 11 bits makes


def halve(model: Any, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Store large float32 initialisers as float16, each with a Cast to float32 of its old name.

    Runtimes fold the Cast when they load the graph: relevance, denominators and stabilisers keep the range of float32,
    and the file takes half. A tensor stays that float16 cannot hold: where values overflow, or so many are below its
    normal range that the tensor changes by more than 2⁻¹¹, and scales of quantisers.

    Args:
        model: The ONNX model, changed in place.
        weights: The large initialisers that the model only names.

    Returns:
        The large initialisers as they are now.
    """
    graph, kept = model.graph, dict(weights)
    scales = {name for node in graph.node if node.op_type.endswith("QuantizeLinear") for name in node.input[1:]}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST or tensor.name in scales:
            continue
        array = weights[tensor.name] if tensor.name in weights else numpy_helper.to_array(tensor)
        half = _half(array)
        if half is None:
            continue
        name = f"{tensor.name}/half"
        while name in taken:
            name += "_"
        taken.add(name)
        casts.append(helper.make_node("Cast", [name], [tensor.name], name=f"{name}/cast", to=TensorProto.FLOAT))
        if tensor.name in kept:
            del kept[tensor.name]
            kept[name] = half
            tensor.name, tensor.data_type = name, TensorProto.FLOAT16
        else:
            tensor.CopyFrom(numpy_helper.from_array(half, name))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return kept


def _half(array: Array) -> Array | None:
    """Return an array in half precision; None where that loses more than its rounding."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    wide = array.astype(np.float64)
    apart = np.linalg.norm((half - wide).ravel())
    return half if np.isfinite(apart) and apart <= _LOST * np.linalg.norm(wide.ravel()) else None
