"""What a graph says about its tensors before any program runs: signs, logits, first layers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from onnxlrp.graph.graph import Graph, Layer, ops

_NONNEGATIVE = ops(
    """Relu Sigmoid HardSigmoid Softmax Softplus Abs Exp Sqrt ReduceL1 ReduceL2 ReduceSumSquare
    ThresholdedRelu"""
)
# Nonnegative where every activation and constant that they read is.
_KEEPS_SIGN = ops(
    """Add Sum Mean Mul Div Min MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool LRN
    ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd Concat Where Identity Dropout Cast Sign Ceil
    Floor Round LeakyRelu PRelu Elu Celu Selu HardSwish Swish Mish Gelu Erf Tanh Atan CumSum"""
)
# Nonnegative where their first operand is; the others are indices and sizes.
_ROUTES = ops(
    """Reshape Flatten Transpose Squeeze Unsqueeze Split Slice Gather GatherElements GatherND Expand Tile
    DepthToSpace SpaceToDepth Trilu TopK"""
)
_HEADS = ops("Softmax LogSoftmax Sigmoid Hardmax ArgMax TopK Cast Identity ai.onnx.ml::ZipMap")
# May stand behind a head (MobileNet: Softmax, then Reshape); behind anything else they belong to the model.
_BEHIND_HEADS = ops("Reshape Flatten Squeeze Unsqueeze Transpose QuantizeLinear DequantizeLinear")
_WEIGHTED = {"Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "ConvInteger": 1, "MatMulInteger": 1,
             "QLinearConv": 3, "QLinearMatMul": 3, "com.microsoft::QGemm": 3}  # fmt: skip


def nonnegative(graph: Graph) -> frozenset[str]:
    """The activations that are >= 0 whatever the input is."""
    known = {t.name for t in graph.inputs if t.dtype.startswith("uint") or t.dtype == "bool"}
    for layer in graph.layers:
        if _is_nonnegative(graph, layer, known):
            known.update(name for name in layer.outputs if name)
    return frozenset(known)


def _is_nonnegative(graph: Graph, layer: Layer, known: set[str]) -> bool:
    def holds(name: str) -> bool:
        return name in known or (name in graph.constants and bool((graph.constants[name] >= 0).all()))

    op, inputs = layer.op, [name for name in layer.inputs if name]
    if op in _NONNEGATIVE:
        return True
    if op == "Clip":
        low = _scalar(graph, layer, 1, -np.inf)
        return low is not None and (low >= 0 or (holds(inputs[0]) and (_scalar(graph, layer, 2, np.inf) or 0) >= 0))
    if op == "Max":
        return any(holds(name) for name in inputs)
    if op == "Mul" and inputs[0] == inputs[1]:
        return True
    if op == "Pow":
        exponent = _scalar(graph, layer, 1, None)
        return holds(inputs[0]) or (exponent is not None and exponent % 2 == 0)
    if op == "Pad":
        value = _scalar(graph, layer, 2, 0.0)
        return holds(inputs[0]) and (layer.attributes.get("mode") != "constant" or (value is not None and value >= 0))
    if op == "Resize":
        return holds(inputs[0]) and layer.attributes.get("mode") != "cubic"
    if op == "Where":
        return all(holds(name) for name in inputs[1:])
    if op == "DequantizeLinear":
        zero = graph.constants.get(inputs[2]) if len(inputs) > 2 else np.zeros(1)
        dtype = graph.dtypes.get(inputs[0], "")
        return dtype.startswith("uint") and zero is not None and not zero.any() and holds(inputs[1])
    if op in _ROUTES:
        return holds(inputs[0])
    if op in _KEEPS_SIGN:
        return all(holds(name) for name in inputs)
    return False


def _scalar(graph: Graph, layer: Layer, position: int, default: float | None) -> float | None:
    """A scalar constant operand; the default where it is absent, None where it is no constant."""
    name = layer.inputs[position] if len(layer.inputs) > position else ""
    if not name:
        return default
    value = graph.constants.get(name)
    return None if value is None or value.size != 1 else float(value.reshape(()))


def head(graph: Graph, output: str) -> str:
    """The logit tensor of an output: what stands before Softmax, Sigmoid, ArgMax and their like."""
    logit = tensor = output
    while (layer := graph.producer(tensor)) is not None:
        if layer.op in _HEADS:
            logit = tensor = layer.inputs[0]
        elif layer.op in _BEHIND_HEADS:
            tensor = layer.inputs[0]
        else:
            break
    return logit if logit in graph.shapes else output


def relevant(graph: Graph, inputs: Iterable[str], target: str) -> frozenset[str]:
    """The names of the layers on a path from the inputs to the target tensor."""
    reached = set(inputs)
    for layer in graph.layers:
        if reached.intersection(layer.inputs):
            reached.update(layer.outputs)
    needed, names = {target}, set()
    for layer in reversed(graph.layers):
        if needed.intersection(layer.outputs) and reached.intersection(layer.outputs):
            names.add(layer.name)
            needed.update(layer.inputs)
    return frozenset(names)


def first_layers(graph: Graph, tensor: str) -> frozenset[str]:
    """The names of the first layers with weights on the paths from an input; preprocessing before them has none."""
    open_tensors, names = {tensor}, set()
    for layer in graph.layers:
        if not open_tensors.intersection(layer.inputs):
            continue
        if is_weighted(graph, layer):
            names.add(layer.name)
        else:
            open_tensors.update(layer.outputs)
    return frozenset(names)


def is_weighted(graph: Graph, layer: Layer) -> bool:
    """Does the layer apply a constant kernel or matrix to an activation?"""
    position = _WEIGHTED.get(layer.op)
    if position is None:
        return False
    operands = (layer.inputs[0], layer.inputs[position]) if layer.op == "MatMul" else (layer.inputs[position],)
    return any(name in graph.constants and graph.constants[name].ndim > 1 for name in operands)
