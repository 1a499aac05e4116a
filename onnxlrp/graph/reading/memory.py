"""Memory that a model will need at least, read off its shapes before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from ...errors import InputError, OnnxLrpError, UnsupportedError
from ..graph import Array
from ..operators import ROUNDINGS
from .memory_limit import size
from .printable import first_line, printable
from .structure import bodies
from .tensors import TYPES, nbytes, tensors

_WIDENED = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
# Longer operands are no shapes: their values say nothing about the size of a result.
_READ = 4096
# Values that Concat may make of shapes, all together.
_LISTS = 2_000_000
# Operators whose results are as long as the values of their operand say; at most this many times its size and rank.
_BY_VALUES = {"NonZero": 8, "Unique": 4, "Compress": 1}


class Estimate(NamedTuple):
    """Bytes that a model needs.

    Attributes:
        weights: Of its weights as float32.
        folded: Of what constant folding makes of them.
        layer: Of the operands and results of the largest layer, for one sample.
        largest: The name of the node with the largest result.
    """

    weights: int
    folded: int
    layer: int
    largest: str = ""

    @property
    def total(self) -> int:
        """The sum of all three."""
        return self.weights + self.folded + self.layer


def check(estimate: Estimate, limit: int, name: str) -> None:
    """Check an estimate against a limit.

    Raises:
        InputError: The model needs more than `limit` bytes.
    """
    if estimate.total > limit:
        parts = f"weights {size(estimate.weights)}, constants {size(estimate.folded)}, layer {size(estimate.layer)}"
        where = f' at "{printable(estimate.largest)}"' if estimate.largest else ""
        raise InputError(
            f"{name} needs {size(estimate.total)} of memory or more ({parts}{where}); the limit is {size(limit)}",
            "allow more, if the machine has it, with --max-memory SIZE, such as 16G (load: max_memory=...)",
        )


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the shapes that onnx infers; local functions are inlined first.

    Raises:
        UnsupportedError: The shapes do not fit together.
        InputError: Constants grow without end.
    """
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        _lists(model.graph, {})
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except OnnxLrpError:
        raise
    except Exception as error:
        raise UnsupportedError(
            f"the shapes of the model do not fit together: {first_line(error)}",
            "export the model again with static shapes",
        ) from None


def _lists(graph: onnx.GraphProto, outer: Mapping[str, int], written: int = 0) -> int:
    """Refuse constants that Concat doubles without end: onnx writes them out while it infers shapes.

    Returns how many values they have together, with those `written` before.
    """
    lengths = {**outer, **{tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}}
    for node in graph.node:
        for inner in bodies(node):
            written = _lists(inner, lengths, written)
        operands = [lengths.get(name) for name in node.input if name]
        if node.op_type == "Constant":
            operands = [max(math.prod(a.t.dims), len(a.ints), len(a.floats)) for a in node.attribute]
        known = [length for length in operands if length is not None]
        if not known or len(known) < len(operands):
            continue
        longest = max(known)
        if node.op_type == "Concat":
            longest = sum(known)
            written += longest
        if written > _LISTS:
            raise InputError(
                f'the constant "{printable(node.name or node.output[0])}" and those before it are lists of more than '
                f"{_LISTS} values",
                "export the model again",
            )
        lengths.update(dict.fromkeys(node.output, longest))
    return written


def estimate(model: onnx.ModelProto, weights: Mapping[str, Array], batch: int) -> Estimate:
    """Estimate what a model without its weights needs. Tensors without a shape count nothing.

    Args:
        model: The model, with inferred shapes.
        weights: Its weights.
        batch: How many samples its shapes are for.
    """
    held = sum(max(value.dtype.itemsize, 1) * value.size for value in weights.values())
    tally = _Tally(batch)
    tally.visit(model.graph, set(weights))
    return Estimate(held, tally.folded, tally.layer, tally.largest)


def has_tables(graph: onnx.GraphProto, constant: Iterable[str] = ()) -> bool:
    """Return whether nodes are left that onnxruntime computes from constants, and folding layers would compute slower.

    Dequantised constants onnxruntime keeps.

    Args:
        graph: The graph.
        constant: Names of constants of the graphs around it.
    """
    known = {*constant, *(tensor.name for tensor in graph.initializer)}
    for node in graph.node:
        if node.op_type in ROUNDINGS:
            continue
        if node.op_type == "Expand" and all(name in known for name in node.input):
            known.update(node.output)
            continue
        if all(name in known for name in node.input if name) or node.op_type in ("Shape", "Size"):
            return True
        if any(has_tables(inner, known) for inner in bodies(node)):
            return True
    return False


def stored(model: onnx.ModelProto) -> Estimate:
    """Estimate the weights alone, by their dims, before any of them is read."""
    held = 0
    for tensor in tensors(model):
        unit = 4 if tensor.data_type in _WIDENED else nbytes(tensor.data_type, 8) / 8
        held += int(unit * math.prod(tensor.dims))
    return Estimate(held, 0, 0)


def result(node: onnx.NodeProto, operands: Mapping[str, Array], opsets: Mapping[str, int]) -> int | None:
    """Return how many bytes the results of a node will take; None where only computing them tells.

    Args:
        node: The node.
        operands: Values of its operands.
        opsets: Domain → version.
    """
    inputs, small = [], []
    for name, value in operands.items():
        if value.size <= _READ:
            small.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(name, kind, value.shape))
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "one", inputs, outputs, small)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    found = sizes(inferred(helper.make_model(graph, opset_imports=imports)).graph.output, 1)
    if all(value.name in found for value in outputs):
        return sum(found.values())
    if node.op_type in _BY_VALUES:
        return sum(_BY_VALUES[node.op_type] * value.size * max(value.ndim, 1) for value in operands.values())
    return None


class _Tally:
    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.folded = self.layer = self.biggest = 0
        self.largest = ""

    def visit(self, graph: onnx.GraphProto, constant: set[str]) -> None:
        known = sizes((*graph.input, *graph.value_info, *graph.output), self.batch)
        constant |= {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            made = sum(known.get(name, 0) for name in node.output)
            if made > self.biggest:
                self.biggest, self.largest = made, node.name or node.output[0]
            if all(name in constant for name in node.input if name) or node.op_type in ("Shape", "Size"):
                constant.update(node.output)
                self.folded += made
            else:
                self.layer = max(self.layer, made + sum(known.get(name, 0) for name in {*node.input} - constant))
            for inner in bodies(node):
                self.visit(inner, set(constant))


def sizes(values: Iterable[onnx.ValueInfoProto], batch: int) -> dict[str, int]:
    """Return the bytes of the tensors whose shapes are stated, for one sample of `batch`."""
    found: dict[str, int] = {}
    for value in values:
        kind = value.type.tensor_type
        if kind.elem_type in TYPES and kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            count = math.prod(max(d.dim_value, 0) for d in kind.shape.dim)
            found[value.name] = nbytes(kind.elem_type, count // (batch if count % batch == 0 else 1))
    return found
