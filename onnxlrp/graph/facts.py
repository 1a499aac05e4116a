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
_DECISIONS = frozenset({"bool", "int32", "int64"})
# Factors of a product that are no signal: bounded functions, and what may stand between one and the product.
_BOUNDED = ops("Sigmoid HardSigmoid Tanh Softmax Clip Erf Softsign")
_BETWEEN = ops("Reshape Flatten Squeeze Unsqueeze Transpose Expand Identity Resize Slice Cast")
_BETWEEN_A_CONSTANT = ops("Add Sub Mul Div")
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
    """The names of the layers on a path from the inputs to the target tensor.

    A path leads through numbers: what a comparison decides or an index picks has no relevance.
    """
    reached = set(inputs)
    for layer in graph.layers:
        if reached.intersection(layer.inputs):
            reached.update(name for name in layer.outputs if graph.dtypes.get(name) not in _DECISIONS)
    needed, names = {target}, set()
    for layer in reversed(graph.layers):
        if needed.intersection(layer.outputs) and reached.intersection(layer.outputs):
            names.add(layer.name)
            needed.update(layer.inputs)
    return frozenset(names)


def gate(graph: Graph, layer: Layer) -> int | None:
    """Which factor of a product is the gate: 0, 1 or None.

    x·f(x) is a gate of itself (SiLU); else the factor that is a bounded function's value (squeeze-and-excitation), or
    the one that is broadcast over the other.
    """
    elementwise = [_formula(graph, name) for name in layer.inputs]
    for own in (0, 1):
        if layer.inputs[1 - own] in elementwise[own]:
            return own
    bounded = [_is_bounded(graph, name) for name in layer.inputs]
    if bounded[0] != bounded[1]:
        return bounded.index(True)
    sizes = [int(np.prod(graph.shapes[name])) for name in layer.inputs]
    return None if sizes[0] == sizes[1] else int(sizes[1] < sizes[0])


def _formula(graph: Graph, tensor: str) -> set[str]:
    """The tensors of which this one is an elementwise function, of no other."""
    chain: set[str] = set()
    while (layer := graph.producer(tensor)) is not None:
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if len(live) != 1 or graph.shapes.get(live[0]) != graph.shapes.get(tensor):
            break
        if layer.op not in _BOUNDED | _KEEPS_SIGN | _NONNEGATIVE | _BETWEEN_A_CONSTANT or layer.op == "Softmax":
            break
        tensor = live[0]
        chain.add(tensor)
    return chain


def _is_bounded(graph: Graph, tensor: str) -> bool:
    while (layer := graph.producer(tensor)) is not None:
        if layer.op == "Clip":
            return _scalar(graph, layer, 1, None) is not None and _scalar(graph, layer, 2, None) is not None
        if layer.op in _BOUNDED:
            return True
        live = [name for name in layer.inputs if name not in graph.constants]
        if layer.op not in _BETWEEN and not (layer.op in _BETWEEN_A_CONSTANT and len(live) == 1):
            return False
        tensor = live[0]
    return False


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
