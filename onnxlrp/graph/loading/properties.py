"""Properties that the passes of `load` require and ensure, each with a check.

A check looks at the model alone, not at the passes that ran. Checks serve the tests: some copy the graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from ...errors import OnnxLrpError, UnsupportedError
from .. import operators
from ..batching.free import check as check_batch
from ..batching.pairs import pair_samples
from ..batching.sorting import sorts
from ..canonical.layer_norm import fuse_layer_norm
from ..canonical.moves import cancel_moves
from ..canonical.pointwise import write_in_layout
from ..decomposition.decompose import bytes_as_floats, decomposition_of
from ..frontend.batch_in_front import batch_in_front
from ..frontend.suppression import outputs_before_suppression
from ..frontend.weightless import LARGE, true_inputs
from ..graph import Layer
from ..lowering.lower import lower
from ..reading import memory
from ..rewriting.constant_folding import is_noop, is_pure
from ..rewriting.mutable_graph import MutableGraph, captured
from ..rewriting.shape_inference import infer
from .contracts import Property
from .load_state import LoadState
from .soundness import check_constants, check_layers


def _of_graph(name: str, holds: Callable[[MutableGraph], bool]) -> Property:
    return Property(name, lambda state: state.parsed is not None and holds(state.graph))


def _nodes_recorded(state: LoadState) -> bool:
    return {name for node in state.file.model.graph.node for name in node.output} == set(state.positions)


def _weights_apart(state: LoadState) -> bool:
    stored = {tensor.name for tensor in state.file.model.graph.initializer}
    large = [tensor for tensor in state.model.graph.initializer if np.prod(tensor.dims) > LARGE]
    return stored <= state.weights.keys() and not large


def _sizes_fixed(state: LoadState) -> bool:
    dims = (d for v in true_inputs(state.model, state.weights) for d in v.type.tensor_type.shape.dim)
    return state.sizes is not None and all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims)


def _converted(state: LoadState) -> bool:
    opset = next(entry.version for entry in state.model.opset_import if not entry.domain)
    groups = any(node.op_type == "GroupNormalization" for node in state.model.graph.node)
    return opset >= 18 and not state.model.functions and not groups


def _tables_folded(state: LoadState) -> bool:
    """Of the constants that are in the model; a DequantizeLinear of weights stays a layer."""
    graph = state.model.graph
    held = {tensor.name for tensor in graph.initializer}
    return not any(held.issuperset(node.input) for node in graph.node if node.op_type != "DequantizeLinear")


def is_of_columns(state: LoadState) -> bool:
    """Return whether a model is a pipeline of ai.onnx.ml with an input for each column."""
    pipeline = any(node.domain == "ai.onnx.ml" for node in state.file.model.graph.node)
    if not pipeline or state.parsed is None:
        return False
    from ..decomposition.ml.columns import are_columns

    return are_columns(state.graph)


def _parsed(graph: MutableGraph) -> bool:
    """Names are unique, and each layer reads what stands before it."""
    written = {*graph.inputs, *graph.constants, ""}
    for layer in graph.layers:
        if not written.issuperset({*layer.inputs, *captured(layer)}) or written.intersection(layer.outputs) - {""}:
            return False
        written.update(layer.outputs)
    return len({layer.name for layer in graph.layers}) == len(graph.layers) and written.issuperset(graph.outputs)


def _constants_folded(graph: MutableGraph) -> bool:
    uses = graph.uses()

    def foldable(layer: Layer) -> bool:
        if layer.op == "Shape":
            return layer.inputs[0] in graph.shapes or layer.inputs[0] in graph.constants
        constant = all(name in graph.constants for name in layer.inputs if name)
        return (constant and is_pure(layer)) or is_noop(graph, layer, uses)

    return not any(foldable(layer) for layer in graph.layers if layer.outputs[0] not in graph.outputs)


def _inferred(graph: MutableGraph) -> bool:
    again = graph.copy()
    infer(again)
    return not any(name in again.shapes and name not in graph.shapes for la in graph.layers for name in la.outputs)


def _unused_removed(graph: MutableGraph) -> bool:
    read = {*graph.outputs, *graph.states(), *(name for la in graph.layers for name in (*la.inputs, *captured(la)))}
    return all(read.intersection(layer.outputs) for layer in graph.layers) and graph.constants.keys() <= read


def _decomposed(graph: MutableGraph) -> bool:
    return not any(
        decomposition_of(la.op) is not None and not (la.op == "DynamicQuantizeLinear" and len(la.outputs) == 1)
        for la in graph.layers
    )


def _no_token_batch_norm(graph: MutableGraph) -> bool:
    producers, uses = graph.producers(), graph.uses()
    norms = [la for la in graph.layers if la.op == "BatchNormalization" and la.inputs[0] in producers]
    return not any(
        producers[norm.inputs[0]].op == "Reshape"
        and uses[norm.inputs[0]] == 1
        and len(graph.shapes.get(norm.inputs[0], ())) == 2
        and graph.constants.keys() >= set(norm.inputs[1:])
        and graph.shapes[producers[norm.inputs[0]].inputs[0]][2:][-1:] == graph.shapes[norm.inputs[0]][1:]
        for norm in norms
    )


def _lowered(graph: MutableGraph) -> bool:
    again = graph.copy()
    lower(again)
    return again.layers == graph.layers


def _batch_first(graph: MutableGraph) -> bool:
    try:
        check_batch(graph)
    except UnsupportedError:
        return False
    return True


def _spelled_out(graph: MutableGraph) -> bool:
    window = {"kernel_shape", "strides", "dilations", "pads"}
    moving = operators.CONVOLUTIONS | operators.WINDOW_POOLS
    return all(
        (layer.op not in moving or layer.attributes.keys() >= window)
        and not layer.attributes.keys() & {"auto_pad", "output_shape"}
        and (layer.op != "Gemm" or layer.attributes.keys() >= {"alpha", "beta", "transA", "transB"})
        for layer in graph.layers
    )


def _as_gemm(graph: MutableGraph) -> bool:
    def other(layer: Layer) -> bool:
        weight = graph.constants.get(layer.inputs[1]) if len(layer.inputs) > 1 else None
        if weight is None or weight.ndim != 2 or weight.dtype.kind != "f":
            return False
        matrix = len(graph.shapes[layer.inputs[0]]) == 2
        factor = layer.op == "Gemm" and not layer.attributes["transA"] and layer.attributes["alpha"] != 1
        return (layer.op == "MatMul" and matrix) or factor

    return not any(other(layer) for layer in graph.layers)


def _one_affine(graph: MutableGraph) -> bool:
    """No BatchNormalization, and no arithmetic with one number, right behind a layer of constant weights."""
    producers, uses = graph.producers(), graph.uses()

    def linear(name: str) -> bool:
        layer = producers.get(name)
        if layer is None or layer.op not in operators.CONVOLUTIONS | {"Gemm"} or uses[name] != 1:
            return False
        operands = [graph.constants.get(i) for i in layer.inputs[1:]]
        return all(value is not None and value.dtype.kind == "f" for value in operands)

    def affine(layer: Layer) -> bool:
        if layer.op == "BatchNormalization":
            return graph.constants.keys() >= set(layer.inputs[1:]) and not layer.attributes["training_mode"]
        numbers = [graph.constants.get(name) for name in layer.inputs[1:]]
        return layer.op in ("Mul", "Add") and all(
            value is not None and value.shape == () and value.dtype.kind == "f" for value in numbers
        )

    return not any(affine(layer) and linear(layer.inputs[0]) for layer in graph.layers)


def _pads_merged(graph: MutableGraph) -> bool:
    """No convolution reads a Pad of constant zeros along its spatial axes."""
    producers = graph.producers()
    pads = [producers[la.inputs[0]] for la in graph.layers if la.op == "Conv" and la.inputs[0] in producers]
    for pad in (layer for layer in pads if layer.op == "Pad" and layer.attributes["mode"] == "constant"):
        amounts = graph.constants.get(pad.inputs[1])
        plain = amounts is not None and len(pad.inputs) == 2 and not amounts.reshape(2, -1)[:, :2].any()
        if plain and amounts is not None and (amounts >= 0).all():
            return False
    return True


def _logit_per_column(graph: MutableGraph) -> bool:
    """No Concat of a tensor and 1 minus the same tensor."""
    producers = graph.producers()

    def complement(name: str, other: str) -> bool:
        layer = producers.get(name)
        return (
            layer is not None and layer.op == "Sub" and layer.inputs[1] == other and layer.inputs[0] in graph.constants
        )

    pairs = [la.inputs for la in graph.layers if la.op == "Concat" and len(la.inputs) == 2]
    scored = [pair for pair in pairs if any(n in producers and producers[n].op == "Sigmoid" for n in pair)]
    return not any(complement(a, b) or complement(b, a) for a, b in scored)


def _activations_fused(graph: MutableGraph) -> bool:
    """No x·HardSigmoid(x) with the constants of HardSwish, whose factor nothing else reads."""
    producers, uses = graph.producers(), graph.uses()
    for product in (layer for layer in graph.layers if layer.op == "Mul"):
        for x, gate in (product.inputs, product.inputs[::-1]):
            layer = producers.get(gate)
            if layer is not None and layer.op == "HardSigmoid" and layer.inputs[0] == x and uses[gate] == 1:
                slope, offset = layer.attributes["alpha"], layer.attributes["beta"]
                if np.isclose(slope, 1 / 6, rtol=1e-6) and offset == 0.5:
                    return False
    return True


def _softmax_fused(graph: MutableGraph) -> bool:
    """No eᵘ is divided by its own sum along one axis."""
    producers = graph.producers()
    for quotient in (layer for layer in graph.layers if layer.op == "Div" and layer.inputs[0] in producers):
        power, norm = producers[quotient.inputs[0]], producers.get(quotient.inputs[1])
        if power.op != "Exp" or norm is None or norm.op != "ReduceSum" or norm.inputs[0] != quotient.inputs[0]:
            continue
        axes = graph.constants.get(norm.inputs[1], np.zeros(0)) if len(norm.inputs) > 1 else np.zeros(0)
        kept = norm.attributes.get("keepdims", 1) == 1
        if kept and axes.size == 1 and int(axes.reshape(())) % len(graph.shapes[quotient.inputs[0]]):
            return False
    return True


def _unchanged_by(change: Callable[[MutableGraph], None]) -> Callable[[MutableGraph], bool]:
    def holds(graph: MutableGraph) -> bool:
        again = graph.copy()
        change(again)
        return again.layers == graph.layers

    return holds


def _conditions_numbered(graph: MutableGraph) -> bool:
    wheres = [la.inputs[0] for la in graph.layers if la.op == "Where" and la.inputs[0] not in graph.constants]
    numbers = {la.inputs[0] for la in graph.layers if la.op == "Cast" and graph.dtypes[la.outputs[0]] == "float32"}
    return numbers.issuperset(wheres)


def _places_numbered(graph: MutableGraph) -> bool:
    from ..canonical.places import lacks_places

    return not lacks_places(graph)


def _passes_check(check: Callable[[MutableGraph], None]) -> Callable[[MutableGraph], bool]:
    def holds(graph: MutableGraph) -> bool:
        try:
            check(graph)
        except OnnxLrpError:
            return False
        return True

    return holds


WEIGHTS_FIT = Property(
    "the weights fit into memory", lambda state: memory.stored(state.file.model).total <= state.memory_limit
)
NODES_RECORDED = Property("the order of the file is recorded", _nodes_recorded)
WEIGHTS_APART = Property("large weights are apart from the model", _weights_apart)
SAMPLES_IN_ORDER = _of_graph("no samples are sorted and put back", lambda graph: not sorts(graph))
SAMPLES_PAIRED = _of_graph("no product is of all samples of two towers", lambda graph: not pair_samples(graph.copy()))
BATCH_OF_INPUTS_FIRST = Property(
    "inputs have the batch on axis 0", lambda state: not batch_in_front(copy.deepcopy(state.model), state.weights)
)
NOTHING_SUPPRESSED = Property(
    "no output is what a NonMaxSuppression chose",
    lambda state: not outputs_before_suppression(copy.deepcopy(state.model), {}),
)
SIZES_FIXED = Property("every axis of the inputs has a length", _sizes_fixed)
MODEL_FITS = Property(
    "the model fits into memory",
    lambda state: memory.estimate(state.model, state.weights, state.batch).total <= state.memory_limit,
)
CONVERTED = Property("operators are those of a current opset", _converted)
TABLES_FOLDED = Property("tables of shape arithmetic are folded", _tables_folded)
PARSED = _of_graph("layers are in order and have unique names", _parsed)
NUMERIC_OUTPUTS = _of_graph(
    "outputs are numbers", lambda graph: not any(graph.dtypes.get(name) == "object" for name in graph.outputs)
)
CONSTANTS_FOLDED = _of_graph("constants are folded", _constants_folded)
SHAPES_INFERRED = _of_graph("every shape that can be inferred is known", _inferred)
SHAPES_KNOWN = _of_graph(
    "every shape is known",
    lambda graph: all(name in graph.shapes for layer in graph.layers for name in layer.outputs if name),
)
FLOATS_FIT = Property(
    "integers fit into memory as floats", lambda state: bytes_as_floats(state.graph) <= state.memory_limit
)
UNUSED_REMOVED = _of_graph("every layer and constant is needed", _unused_removed)
DECOMPOSED = _of_graph("operators are standard ones on floats", _decomposed)
TOKENS_NORMALISED = _of_graph("no BatchNormalization runs over flattened tokens", _no_token_batch_norm)
LAYERS_FIT = _of_graph("windows fit and indices are in range", _passes_check(check_layers))
CONSTANTS_FINITE = _of_graph("constants are finite numbers", _passes_check(check_constants))
LOWERED = _of_graph("operators that others express are written as these", _lowered)
BATCH_FIRST = _of_graph("the batch is axis 0 of every activation", _batch_first)
ATTRIBUTES_SPELLED_OUT = _of_graph("attributes are spelled out", _spelled_out)
PRODUCTS_AS_GEMM = _of_graph("products with a constant matrix are Gemms without factors", _as_gemm)
PADS_MERGED = _of_graph("convolutions hold their padding", _pads_merged)
ONE_AFFINE = _of_graph("one affine map per linear layer", _one_affine)
LOGIT_PER_COLUMN = _of_graph("two columns of one logit have a logit each", _logit_per_column)
ACTIVATIONS_FUSED = _of_graph("activation functions are one layer", _activations_fused)
SOFTMAX_FUSED = _of_graph("softmax is one layer", _softmax_fused)
MOVES_CANCELLED = _of_graph("no moves undo each other", _unchanged_by(cancel_moves))
LAYOUTS_KEPT = _of_graph("maps over channels have the layout around them", _unchanged_by(write_in_layout))
LAYER_NORM_FUSED = _of_graph("a layer normalisation is one layer", _unchanged_by(fuse_layer_norm))


# What few models have is imported where it is asked for.


def _unfolded(graph: MutableGraph) -> bool:
    from ..recurrent.unfold import folded

    return not folded(graph)


def _steps_masked(graph: MutableGraph) -> bool:
    from ..recurrent.steps import is_step

    return not any(is_step(layer, graph.shapes) for layer in graph.layers)


def _machines_explained(graph: MutableGraph) -> bool:
    from ..decomposition.ml.neuralize import is_explained

    return is_explained(graph)


def _texts_coded(graph: MutableGraph) -> bool:
    from ..decomposition.ml.texts import is_text

    return not is_text(graph)


def _sums_joined(graph: MutableGraph) -> bool:
    from ..recurrent.cells import split

    return not split(graph)


UNFOLDED = _of_graph("recurrent layers compute states alone", _unfolded)
SUMS_JOINED = _of_graph("sums of products in cells are one layer", _sums_joined)
STEPS_MASKED = _of_graph("one step of a sample is a masked sum", _steps_masked)
CONDITIONS_NUMBERED = _of_graph("conditions of Where stand as numbers too", _conditions_numbered)
PLACES_NUMBERED = _of_graph("places at computed indices stand as numbers", _places_numbered)
MACHINES_EXPLAINED = _of_graph("support vector machines have layers that explain them", _machines_explained)
TEXTS_CODED = _of_graph("inputs of text are codes", _texts_coded)
COLUMNS_JOINED = Property("columns of a pipeline are one input", lambda state: not is_of_columns(state))
