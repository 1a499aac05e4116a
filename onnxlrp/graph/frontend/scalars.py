"""Inputs of one number for the whole batch (shape []), such as a sampling rate: constants once the number is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import InputError, UsageError
from ..graph import Array
from ..reading.printable import printable
from .weightless import true_inputs


def bind_scalars(
    model: onnx.ModelProto, weights: dict[str, Array], given: Mapping[str, float]
) -> dict[str, float | None]:
    """Replace inputs of shape [] by constants, in place.

    Args:
        model: The model without its weights, changed in place.
        weights: Its weights; the constants are added.
        given: Their numbers by name. For one that is not given yet stands a number that the file compares it with, so
            that a branch is taken which the exporter had in mind; 0 without one.

    Returns:
        The number of each, None for one that is not given: nothing may be explained before it is.

    Raises:
        UsageError: A name that no such input has.
        InputError: A number that the input's type does not hold.
    """
    found: dict[str, float | None] = {}
    for value in true_inputs(model, weights):
        kind = value.type.tensor_type
        if not kind.HasField("shape") or kind.shape.dim:
            continue
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        number = _number(value.name, given[value.name], dtype) if value.name in given else None
        array = np.array(_compared(model.graph, value.name, weights) if number is None else number, dtype)
        weights[value.name] = array
        model.graph.input.remove(value)
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        found[value.name] = number
    for name in given.keys() - found.keys():
        raise UsageError(f'no input of one number is called "{name}"', f"known: {', '.join(found) or 'none'}")
    return found


def _compared(graph: onnx.GraphProto, name: str, weights: dict[str, Array]) -> float:
    """Return the first number that a scalar is compared with for equality; 0 without one."""
    for node in graph.node:
        if node.op_type == "Equal" and name in node.input:
            other = weights.get(node.input[1 - list(node.input).index(name)])
            if other is not None and other.size == 1:
                return float(other.reshape(()))
    return 0.0


def _number(name: str, number: float, dtype: np.dtype[Any]) -> float:
    if dtype.kind in "biu" and np.array(number).astype(dtype) != number:
        name = printable(name)
        raise InputError(
            f'input "{name}" takes a number of {dtype}, not {number:g}',
            f'give one: given={{"{name}": 1}}',
            f"give one: --given {name}=1",
        )
    return number
