"""Layers → a plain ONNX model again, in the floating type that an engine computes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..graph import Array, Graph, Layer
from ..operators import OWN, RECURRENT
from ..recurrence import with_own_states
from .dequantize import dequantize_by_arithmetic

# The IR version that opset 23 came with.
IR_VERSION = 11
_LARGE = 1 << 16  # bytes
_FLOAT_KINDS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def emit(
    graph: Graph,
    dtype: npt.DTypeLike = np.float32,
    outputs: Iterable[str] = (),
    apart: dict[str, Array] | None = None,
    portable: bool = False,
) -> onnx.ModelProto:
    """Write a graph as an ONNX model: one node per layer, and a batch "N", or the fixed one.

    Args:
        graph: The graph.
        dtype: The floating type of the constants.
        outputs: Activations to give out besides the model's own outputs, in order; those of 8 bits as floats.
        apart: Gets the large constants, where it is given: the model only names them, so that nothing is copied and no
            message grows over 2 GB.
        portable: Whether the model is for sessions of others: no DequantizeLinear, whose layers their optimisers round.
    """
    asked = tuple(outputs)
    narrow = {t for t in asked if graph.dtypes.get(t) in ("uint8", "int8") and graph.producer(t) is not None}
    graph = _widened(graph, narrow) if narrow else graph
    graph = dequantize_by_arithmetic(graph) if portable else graph
    wanted = list(dict.fromkeys([*(t.name for t in graph.outputs), *asked]))
    kind = np.dtype(dtype)
    batch: int | str = "N" if graph.batch is None else graph.batch
    inputs = [helper.make_tensor_value_info(t.name, _kind(t.dtype, kind), [batch, *t.shape]) for t in graph.inputs]
    values = []
    for name in wanted:
        shape, named = graph.shapes[name], graph.dtypes.get(name, "float32")
        values.append(helper.make_tensor_value_info(name, _kind(named, kind), [batch, *shape]))
    layers = _needed(with_own_states(graph), wanted)
    used = {name for layer in layers for name in layer.inputs} | set(wanted)
    constants = {name: value for name, value in graph.constants.items() if name in used}
    layers = [_on_all_axes(graph, layer, constants) if layer.op == "Resize" else layer for layer in layers]
    return build(layers, constants, inputs, values, graph.opsets, kind, graph.inputs[0].name, None, apart)


def _on_all_axes(graph: Graph, layer: Layer, constants: dict[str, Array]) -> Layer:
    """Write a Resize along some axes as one along all, by scales.

    Of a Resize of chosen axes next to a transpose, onnxruntime's optimiser takes the sizes for those of all axes.
    """
    attributes = dict(layer.attributes)
    axes = attributes.pop("axes", ())
    roi, scales = (constants.get(name) if name else None for name in (*layer.inputs, "", "")[1:3])
    stretched = attributes.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    if not axes or (roi is not None and roi.size) or not stretched:
        return layer
    before, after = (1, *graph.shapes[layer.inputs[0]]), (1, *graph.shapes[layer.outputs[0]])
    every = np.ones(len(before), np.float32)
    for i, axis in enumerate(axes):
        every[axis] = _factor(before[axis], after[axis]) if scales is None or not scales.size else scales[i]
    name = f"{layer.outputs[0]}/scales"
    constants[name] = every
    return replace(layer, inputs=(layer.inputs[0], "", name), attributes=attributes)


def _factor(before: int, after: int) -> np.float32:
    """The least float that gives a length, rounded down as runtimes do, and is not below their quotient."""
    factor = np.float32(after / before)
    while np.float64(factor) * before < after or np.float32(factor) * np.float32(before) < after:
        factor = np.nextafter(factor, np.float32(np.inf))
    return factor


def light(
    graph: Graph, dtype: npt.DTypeLike, outputs: Iterable[str], portable: bool = False
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Write a graph as an ONNX model without its large constants, and return these by name; see `emit`."""
    apart: dict[str, Array] = {}
    return emit(graph, dtype, outputs, apart, portable), apart


def build(
    layers: Iterable[Layer],
    constants: Mapping[str, Array],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    opsets: Mapping[str, int],
    dtype: np.dtype[Any],
    first_input: str,
    batch: int | None = None,
    apart: dict[str, Array] | None = None,
) -> onnx.ModelProto:
    """Write layers and constants as an ONNX model.

    Args:
        layers: The layers, in order.
        constants: The constants.
        inputs: The inputs.
        outputs: The outputs.
        opsets: Domain → version.
        dtype: The floating type of the constants.
        first_input: The input whose length on axis 0 an Expand reads as the batch, where `batch` is None.
        batch: The batch.
        apart: Gets the large constants; see `emit`.
    """
    nodes = [node for layer in layers for node in _nodes(layer, constants, dtype, first_input, batch)]
    initializers = [_initializer(name, value, dtype, apart) for name, value in constants.items()]
    proto = helper.make_graph(nodes, "onnxlrp", inputs, outputs, initializers)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(proto, ir_version=IR_VERSION, opset_imports=imports, producer_name="onnxlrp")


def _initializer(name: str, value: Array, dtype: np.dtype[Any], apart: dict[str, Array] | None) -> onnx.TensorProto:
    value = value.astype(dtype, copy=False) if is_floating(value) else value
    if apart is None or value.nbytes < _LARGE:
        return numpy_helper.from_array(value, name)
    apart[name] = value
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    named = onnx.TensorProto(name=name, data_type=kind, dims=value.shape, data_location=onnx.TensorProto.EXTERNAL)
    named.external_data.add(key="location", value="apart")
    return named


def is_floating(value: Array) -> bool:
    """Return whether an array holds floating numbers, bfloat16 among them."""
    return bool(np.issubdtype(value.dtype, np.floating)) or value.dtype.name == "bfloat16"


def to_node(layer: Layer, dtype: np.dtype[Any] | None = None) -> onnx.NodeProto:
    """Write one layer as a node; floating tensors and types among its attributes get `dtype`, if it is given."""
    domain, _, op = layer.op.rpartition("::")
    node = helper.make_node(op, layer.inputs, layer.outputs, name=layer.name, domain=domain)
    for key, value in layer.attributes.items():
        if key == "dilations" and op == "AveragePool" and set(value) == {1}:
            continue  # onnxruntime's quantised AveragePool knows no dilations
        if isinstance(value, np.ndarray):
            array = value.astype(dtype) if dtype is not None and is_floating(value) else value
            value = numpy_helper.from_array(array, key)
        elif dtype is not None and key in ("to", "dtype") and value in _FLOAT_KINDS:
            value = helper.np_dtype_to_tensor_dtype(dtype)
        elif isinstance(value, tuple) and not value:
            node.attribute.append(helper.make_attribute(key, value, attr_type=onnx.AttributeProto.INTS))
            continue
        node.attribute.append(helper.make_attribute(key, value))
    return node


def _nodes(
    layer: Layer, constants: Mapping[str, Array], dtype: np.dtype[Any], first_input: str, batch: int | None
) -> list[onnx.NodeProto]:
    if layer.op == "MatMul" and len(layer.inputs) == 3:
        x, weight, bias = layer.inputs
        product = f"{layer.outputs[0]}/product"
        behind = helper.make_node("Add", [product, bias], layer.outputs, name=f"{layer.name}/bias")
        return [to_node(replace(layer, inputs=(x, weight), outputs=(product,)), dtype), behind]
    if layer.op == "DynamicQuantizeLinear":
        return _rounded(layer, dtype)
    if layer.op in RECURRENT or layer.op in OWN:
        from .recurrent_nodes import nodes_of

        return nodes_of(layer, constants, dtype, to_node)
    target = constants.get(layer.inputs[1]) if layer.op == "Expand" else None
    if target is None or target[0] != -1:
        return [to_node(layer, dtype)]
    # ONNX has no -1 in Expand: read the batch from the input.
    out = layer.outputs[0]
    if batch is not None:
        given = helper.make_node("Constant", [], [f"{out}/given"], value_ints=[batch, *(int(d) for d in target[1:])])
        return [given, helper.make_node("Expand", [layer.inputs[0], f"{out}/given"], layer.outputs, name=layer.name)]
    length, rest, shape = (f"{out}/{part}" for part in ("batch", "rest", "target"))
    return [
        helper.make_node("Shape", [first_input], [length], name=length, start=0, end=1),
        helper.make_node("Constant", [], [rest], name=rest, value_ints=[int(d) for d in target[1:]]),
        helper.make_node("Concat", [length, rest], [shape], name=shape, axis=0),
        helper.make_node("Expand", [layer.inputs[0], shape], layer.outputs, name=layer.name),
    ]


def _rounded(layer: Layer, dtype: np.dtype[Any]) -> list[onnx.NodeProto]:
    """Round each sample to 255 steps.

    y = s·min(round(x/s), 255 - z) with s = (max(x, 0) - min(x, 0)) / 255 and z = round(-min(x, 0)/s).
    """
    x, out = layer.inputs[0], layer.outputs[0]
    nodes: list[onnx.NodeProto] = []

    def constant(what: str, value: Array) -> str:
        tensor = numpy_helper.from_array(value, f"{out}/{what}")
        nodes.append(helper.make_node("Constant", [], [f"{out}/{what}"], name=f"{layer.name}/{what}", value=tensor))
        return f"{out}/{what}"

    def add(what: str, op: str, *inputs: str, **attributes: Any) -> str:
        y = f"{out}/{what}" if what else out
        name = f"{layer.name}/{what}" if what else layer.name
        nodes.append(helper.make_node(op, inputs, [y], name=name, **attributes))
        return y

    axes = constant("axes", np.array([1], np.int64))
    flat = add("flat", "Flatten", x, axis=1)
    none, steps, least = (
        constant(what, np.array(value, dtype)) for what, value in (("none", 0), ("steps", 255), ("least", 1e-30))
    )
    low = add("low", "Min", add("min", "ReduceMin", flat, axes, keepdims=1), none)
    high = add("high", "Max", add("max", "ReduceMax", flat, axes, keepdims=1), none)
    step = add("step", "Div", add("range", "Sub", high, low), steps)
    scale = add("scale", "Max", step, least)  # of a sample that is 0 everywhere
    below = add("zero", "Round", add("below", "Div", low, scale))
    whole = add("whole", "Round", add("units", "Div", flat, scale))
    value = add("value", "Mul", add("clipped", "Min", whole, add("most", "Add", steps, below)), scale)
    add("", "Reshape", value, add("shape", "Shape", x))
    return nodes


def _widened(graph: Graph, tensors: Iterable[str]) -> Graph:
    """The graph where these activations are floats; its layers read them in their own type, by another name."""
    own = {tensor: f"{tensor}/narrow" for tensor in tensors}
    layers: list[Layer] = []
    for layer in graph.layers:
        inputs, outputs = ([own.get(t, t) for t in names] for names in (layer.inputs, layer.outputs))
        layers.append(replace(layer, inputs=tuple(inputs), outputs=tuple(outputs)))
        for tensor in own.keys() & set(layer.outputs):
            to = {"to": TensorProto.FLOAT}
            layers.append(Layer("Cast", f"{tensor}/widened", "", (own[tensor],), (tensor,), to))
    dtypes = {**graph.dtypes, **dict.fromkeys(own, "float32")}
    return replace(graph, layers=tuple(layers), dtypes=dtypes)


def _needed(layers: Iterable[Layer], outputs: Iterable[str]) -> list[Layer]:
    needed, kept = set(outputs), []
    for layer in reversed(list(layers)):
        if needed.intersection(layer.outputs):
            kept.append(layer)
            needed.update(layer.inputs)
    return kept[::-1]


def _kind(name: str, dtype: np.dtype[Any]) -> int:
    known = np.dtype(name) if name != "bfloat16" else np.dtype(np.float32)
    return int(helper.np_dtype_to_tensor_dtype(dtype if np.issubdtype(known, np.floating) else known))
