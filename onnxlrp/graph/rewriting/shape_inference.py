"""Static shapes and types of every activation, by onnx.shape_inference."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from ...errors import UnsupportedError
from ..frontend.weightless import LARGE
from ..graph import Layer
from ..operators import TREES
from ..reading.printable import first_line
from ..writing.to_onnx import build, is_floating
from .constant_folding import fold
from .mutable_graph import MutableGraph, value_types


def complete_shapes(graph: MutableGraph, memory_limit: int = 1 << 62) -> None:
    """Infer the shapes that are still open, and fold what becomes constant by them, until nothing changes.

    Args:
        graph: Its constants are folded.
        memory_limit: Bytes that a folded constant may take.
    """
    while any(name and name not in graph.shapes for layer in graph.layers for name in layer.outputs):
        count = len(graph.layers)
        infer(graph)
        fold(graph, memory_limit)
        if len(graph.layers) == count:
            return


def infer(graph: MutableGraph) -> None:
    """Infer static shapes and types of every activation by onnx.shape_inference, without the weights.

    Args:
        graph: Gets the shapes and types.

    Raises:
        UnsupportedError: The shapes do not fit together.
    """
    inputs, constants = [], {}
    for name in graph.inputs:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(graph.dtypes[name]))
        inputs.append(helper.make_tensor_value_info(name, kind, (graph.batch, *graph.shapes[name][1:])))
    for name, value in graph.constants.items():
        if value.size <= LARGE:
            constants[name] = value
        else:
            kind = onnx.TensorProto.FLOAT if is_floating(value) else helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(name, kind, value.shape))
    outputs = [onnx.ValueInfoProto(name=name) for name in graph.outputs]
    model = build(
        graph.layers, constants, inputs, outputs, graph.opsets, np.dtype(np.float32), graph.inputs[0], graph.batch
    )
    for layer in graph.layers:
        model.graph.value_info.extend(_contributed(graph, layer))
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=False)
    except onnx.shape_inference.InferenceError as error:
        raise UnsupportedError(
            f"the shapes of the model do not fit together: {first_line(error)}",
            "export the model again with static shapes",
        ) from None
    shapes, dtypes = value_types((*inputs[: len(graph.inputs)], *model.graph.value_info, *model.graph.output))
    graph.shapes, graph.dtypes = shapes, {**graph.dtypes, **dtypes}


def _contributed(graph: MutableGraph, layer: Layer) -> list[onnx.ValueInfoProto]:
    """Types of the outputs of an operator that onnx does not know: what onnxruntime said."""
    if "::" not in layer.op:
        return []
    operands = [name for name in layer.inputs if name in graph.shapes]
    for name, shape in zip(layer.outputs, _results(layer, graph.batch), strict=False):
        graph.shapes.setdefault(name, shape)
        graph.dtypes.setdefault(name, "int64" if len(shape) == 1 else "float32")
    values = []
    for name in layer.outputs:
        if graph.shapes.get(name):
            dtype = graph.dtypes.setdefault(name, graph.dtypes.get(operands[0], "float32") if operands else "float32")
            shape = (graph.batch, *graph.shapes[name][1:])
            values.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
    return values


def _results(layer: Layer, batch: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of the results of a model of ai.onnx.ml: values, or the class of each sample and its scores."""
    if layer.op in TREES and (targets := int(layer.attributes.get("n_targets", 0))):
        return ((batch, targets),)
    if layer.op == "ai.onnx.ml::SVMRegressor":
        return ((batch, 1),)
    count = classes(layer)
    if layer.op == "ai.onnx.ml::SVMClassifier" and count > 2 and not layer.attributes.get("prob_a"):
        count = len(layer.attributes.get("rho", ())) if layer.attributes.get("vectors_per_class") else count
    return ((batch,), (batch, count)) if count else ()


def classes(layer: Layer) -> int:
    """Return how many scores a classifier of ai.onnx.ml gives; 0 for any other layer."""
    kinds = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")
    counts = (len(layer.attributes.get(kind, ())) for kind in kinds)
    return next((n for n in counts if n), 0) if layer.op.startswith("ai.onnx.ml::") else 0
