"""The number that stands for any batch while shapes are folded: a prime that divides no other number of the model."""

from __future__ import annotations

import math
from collections.abc import Collection

import onnx
from onnx import numpy_helper

from ..graph import Array

# The first number that is tried.
PRIME = 1009
_FEW = 64  # elements of a constant that is shape arithmetic; a table of positions is none
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


def fitting_prime(numbers: Collection[int], above: int = PRIME - 1) -> int:
    """Return the first prime above a number that divides none of these numbers, but for zero."""
    candidate = above + 1
    while any(candidate % n == 0 for n in range(2, math.isqrt(candidate) + 1)) or any(
        number and number % candidate == 0 for number in numbers
    ):
        candidate += 1
    return candidate


def numbers_of(model: onnx.ModelProto, weights: dict[str, Array]) -> set[int]:
    """Return the lengths and whole numbers that a model states, from which shape arithmetic starts."""
    found = {int(n) for array in weights.values() for n in array.shape}
    small = [array for array in weights.values() if array.size <= _FEW]
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        values = (*graph.input, *graph.output, *graph.value_info)
        found.update(dim.dim_value for value in values for dim in value.type.tensor_type.shape.dim)
        found.update(n for tensor in graph.initializer for n in tensor.dims)
        for attribute in (a for node in graph.node for a in node.attribute):
            found.update((attribute.i, *attribute.ints))
            if attribute.HasField("g"):
                graphs.append(attribute.g)
            if attribute.HasField("t"):
                found.update(attribute.t.dims)
                if attribute.t.data_type in _INTEGERS and math.prod(attribute.t.dims) <= _FEW:
                    small.append(numpy_helper.to_array(attribute.t))
    for array in small:
        if array.dtype.kind in "iu":
            found.update(array.ravel().tolist())
    return found
