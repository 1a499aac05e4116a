"""The passes that turn a file into a `Graph`, in order, each with what it requires and what it ensures.

A new pass is a function that changes the state, and an entry of `PASSES`. Tests run the passes with their contracts
checked; `load` runs them without, for checks take time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import partial

from ..batching.free import free_or_fix
from ..canonical.attributes import spell_out_attributes
from ..canonical.binary_columns import write_binary_columns
from ..canonical.fuse_activations import fuse_activations
from ..canonical.gemm import write_as_gemm
from ..canonical.layer_norm import fuse_layer_norm
from ..canonical.merge_affine import merge_affine
from ..canonical.merge_pads import merge_pads
from ..canonical.moves import cancel_moves
from ..canonical.pointwise import write_in_layout
from ..canonical.softmax import fuse_softmax
from ..canonical.where_conditions import number_conditions
from ..decomposition.decompose import bytes_as_floats, decompose
from ..facts import applies_again
from ..frontend.batch_in_front import batch_in_front
from ..frontend.scalars import bind_scalars
from ..frontend.simplify import optimise, simplify
from ..frontend.suppression import outputs_before_suppression
from ..frontend.symbolic_sizes import fix_sizes
from ..frontend.weightless import separate_weights
from ..graph import COMPARED, PAIRS
from ..lowering.lower import lower
from ..lowering.token_batchnorm import rewrite_token_batch_norm
from ..operators import CONTROL_FLOW, GATHERS, RECURRENT, SCATTERS, SOFTMAXES, SQUARES
from ..reading import memory
from ..reading.module_paths import module_paths
from ..rewriting.constant_folding import fold
from ..rewriting.mutable_graph import MutableGraph
from ..rewriting.outputs import drop_text_outputs
from ..rewriting.parse import parse
from ..rewriting.shape_inference import complete_shapes
from . import properties as has
from .contracts import Pass
from .load_state import LoadState
from .soundness import check_constants, check_layers


def _on_graph(change: Callable[[MutableGraph], None]) -> Callable[[LoadState], None]:
    return lambda state: change(state.graph)


def _check_weights(state: LoadState) -> None:
    memory.check(memory.stored(state.file.model), state.memory_limit, state.file.name)


def _record_nodes(state: LoadState) -> None:
    state.paths = module_paths(state.file.model)
    nodes = enumerate(state.file.model.graph.node)
    state.positions = {name: position for position, node in nodes for name in node.output}


def _separate_weights(state: LoadState) -> None:
    state.model, state.weights = separate_weights(state.file)


# What few models have is imported where a model has it.


def _code_texts(state: LoadState) -> None:
    if "object" in state.graph.dtypes.values():  # text
        from ..decomposition.ml.texts import code_texts

        code_texts(state.graph)


def _undo_sorting(state: LoadState) -> None:
    if _has(state, ("TopK",)):
        from ..batching.sorting import undo_sorting

        undo_sorting(state.graph)


def _pair_samples(state: LoadState) -> None:
    if len(state.graph.inputs) > 1 and len(state.graph.outputs):
        from ..batching.pairs import pair_samples

        if outputs := pair_samples(state.graph):
            state.found[PAIRS] = "\n".join(outputs)


def _unfold(state: LoadState) -> None:
    if _has(state, RECURRENT):
        from ..recurrent.unfold import unfold

        unfold(state.graph)


def _mask_steps(state: LoadState) -> None:
    if _has(state, ("GatherND",)):
        from ..recurrent.steps import mask_steps

        mask_steps(state.graph)


def _number_places(state: LoadState) -> None:
    if _has(state, GATHERS | SCATTERS | {"TopK"}):
        from ..canonical.places import number_places

        number_places(state.graph)


def _neuralize(state: LoadState) -> None:
    classical = any(layer.op.startswith("ai.onnx.ml::") for layer in state.graph.layers)
    if classical or (_has(state, SQUARES | {"Mul"}) and _has(state, SOFTMAXES | {"ArgMin"})):
        from ..decomposition.ml.neuralize import neuralize

        neuralize(state.graph)


def _has(state: LoadState, operators: Collection[str]) -> bool:
    return any(layer.op in operators for layer in state.graph.layers)


def _join_sums(state: LoadState) -> None:
    if applies_again(state.graph.layers, state.graph.constants):
        from ..recurrent.cells import join_sums

        join_sums(state.graph)


def _batch_in_front(state: LoadState) -> None:
    state.turned = batch_in_front(state.model, state.weights)


def _before_suppression(state: LoadState) -> None:
    state.found |= outputs_before_suppression(state.model, state.weights)


def _fix_sizes(state: LoadState) -> None:
    state.scalars = bind_scalars(state.model, state.weights, state.numbers)
    compared = {name: float(state.weights[name]) for name, number in state.scalars.items() if number is None}
    if any(compared.values()):
        state.found[COMPARED] = json.dumps(compared)
    stated = partial(state.read_size, state.metadata)
    state.sizes = fix_sizes(
        state.model, state.weights, state.size, stated, state.assumed, state.above, state.only_batch, state.height
    )


def _check_inferred(state: LoadState) -> None:
    estimate = memory.estimate(memory.inferred(state.model), state.weights, state.batch)
    memory.check(estimate, state.memory_limit, state.file.name)


def _convert(state: LoadState) -> None:
    state.model = simplify(state.model, state.file.name)
    if any(node.op_type in CONTROL_FLOW for node in state.model.graph.node):
        _write_loops(state)


def _write_loops(state: LoadState) -> None:
    """Write loops step by step, one in another after each other: their lengths may follow from earlier ones."""
    from ..frontend.loops import write_out

    while (written := write_out(state.model)) is not None:
        state.model = simplify(written, state.file.name)


def _check_model(state: LoadState) -> None:
    memory.check(memory.estimate(state.model, state.weights, state.batch), state.memory_limit, state.file.name)


def _fold_tables(state: LoadState) -> None:
    if memory.has_tables(state.model.graph):
        state.model = optimise(state.model, state.file.name, folded=state.memory_limit)


def _parse(state: LoadState) -> None:
    assert state.sizes is not None
    state.parsed = parse(state.model, state.weights, state.paths, state.positions, state.sizes)


def _fold(state: LoadState) -> None:
    fold(state.graph, state.memory_limit)


def _complete_shapes(state: LoadState) -> None:
    complete_shapes(state.graph, state.memory_limit)


def _join_columns(state: LoadState) -> None:
    if has.is_of_columns(state):
        if all(state.graph.shapes[name][1] == 1 for name in state.graph.inputs):
            state.columns = tuple(state.graph.inputs)
        from ..decomposition.ml.columns import join_columns

        join_columns(state.graph)


def _check_floats(state: LoadState) -> None:
    memory.check(memory.Estimate(0, bytes_as_floats(state.graph), 0), state.memory_limit, state.file.name)


def _free_batch(state: LoadState) -> None:
    state.parsed = free_or_fix(state.graph)


_FOLD = Pass(
    "fold constants",
    "Compute what depends on constants alone; drop layers that hand their operand on.",
    _fold,
    requires=(has.PARSED,),
    ensures=(has.CONSTANTS_FOLDED,),
    breaks=(has.UNUSED_REMOVED,),
)
_COMPLETE_SHAPES = Pass(
    "complete shapes",
    "Infer the shapes that are open, and fold what becomes constant by them.",
    _complete_shapes,
    requires=(has.CONSTANTS_FOLDED,),
    ensures=(has.SHAPES_INFERRED,),
    breaks=(has.UNUSED_REMOVED,),
)
_REMOVE_UNUSED = Pass(
    "remove unused",
    "Drop the layers and constants that no output needs.",
    _on_graph(MutableGraph.prune),
    requires=(has.PARSED,),
    ensures=(has.UNUSED_REMOVED,),
)

PASSES = (
    # On the file, and on the model as ONNX has it.
    Pass(
        "check weights",
        "Refuse weights that do not fit into memory, by their dims alone.",
        _check_weights,
        ensures=(has.WEIGHTS_FIT,),
    ),
    Pass(
        "record nodes",
        "Note the module path and the position of every node, which conversion loses.",
        _record_nodes,
        ensures=(has.NODES_RECORDED,),
    ),
    Pass(
        "separate weights",
        "Copy the model without its large weights.",
        _separate_weights,
        requires=(has.WEIGHTS_FIT,),
        ensures=(has.WEIGHTS_APART,),
    ),
    Pass(
        "turn inputs",
        "Read inputs that have the batch on another axis, such as states of recurrent layers, with it on axis 0.",
        _batch_in_front,
        requires=(has.WEIGHTS_APART,),
        ensures=(has.BATCH_OF_INPUTS_FIRST,),
    ),
    Pass(
        "take boxes before suppression",
        "Make what a NonMaxSuppression chooses from the outputs, in the place of what it chose.",
        _before_suppression,
        requires=(has.WEIGHTS_APART,),
        ensures=(has.NOTHING_SUPPRESSED,),
    ),
    Pass(
        "fix sizes",
        "Give every axis of the inputs a length, the batch a prime.",
        _fix_sizes,
        requires=(has.WEIGHTS_APART, has.BATCH_OF_INPUTS_FIRST),
        ensures=(has.SIZES_FIXED,),
    ),
    Pass(
        "check model as exported",
        "Refuse a model that does not fit into memory, before it is converted.",
        _check_inferred,
        requires=(has.SIZES_FIXED,),
        ensures=(has.MODEL_FITS,),
    ),
    Pass(
        "convert operators",
        "Inline functions, convert to a current opset and fold shape arithmetic.",
        _convert,
        requires=(has.MODEL_FITS,),
        ensures=(has.CONVERTED,),
        breaks=(has.MODEL_FITS, has.WEIGHTS_APART),
    ),
    Pass(
        "check model as converted",
        "Refuse a model that does not fit into memory, by the shapes that conversion states.",
        _check_model,
        requires=(has.CONVERTED,),
        ensures=(has.MODEL_FITS,),
    ),
    Pass(
        "fold tables",
        "Fold the larger constants that are left.",
        _fold_tables,
        requires=(has.CONVERTED, has.MODEL_FITS),
        ensures=(has.TABLES_FOLDED,),
        breaks=(has.MODEL_FITS, has.WEIGHTS_APART),
    ),
    Pass(
        "parse",
        "Read the nodes into layers, in the order of the file, with their true weights.",
        _parse,
        requires=(has.CONVERTED, has.NODES_RECORDED),
        ensures=(has.PARSED,),
    ),
    # On layers: constants, shapes, standard operators.
    Pass(
        "drop text outputs",
        "Leave out outputs of text.",
        _on_graph(drop_text_outputs),
        requires=(has.PARSED,),
        ensures=(has.NUMERIC_OUTPUTS, has.UNUSED_REMOVED),
    ),
    _FOLD,
    _COMPLETE_SHAPES,
    Pass(
        "code texts",
        "Let columns of text be numbers: codes of the words that the model knows.",
        _code_texts,
        requires=(has.SHAPES_INFERRED,),
        ensures=(has.TEXTS_CODED,),
    ),
    Pass(
        "check floats",
        "Refuse integers that do not fit into memory as floats.",
        _check_floats,
        requires=(has.PARSED,),
        ensures=(has.FLOATS_FIT,),
    ),
    Pass(
        "decompose",
        "Write fused operators, and those on integers, as the standard ones that they stand for.",
        _on_graph(decompose),
        requires=(has.FLOATS_FIT, has.SHAPES_INFERRED, has.NUMERIC_OUTPUTS),
        ensures=(has.DECOMPOSED,),
        breaks=(has.CONSTANTS_FOLDED, has.SHAPES_INFERRED, has.UNUSED_REMOVED),
    ),
    _FOLD,
    _REMOVE_UNUSED,
    _COMPLETE_SHAPES,
    Pass(
        "rewrite BatchNormalization of tokens",
        "Write a BatchNormalization of flattened tokens as arithmetic on the tokens.",
        _on_graph(rewrite_token_batch_norm),
        requires=(has.CONSTANTS_FOLDED, has.SHAPES_INFERRED),
        ensures=(has.TOKENS_NORMALISED,),
    ),
    Pass(
        "lower",
        "Write operators that others express as these.",
        _on_graph(lower),
        requires=(has.CONSTANTS_FOLDED, has.SHAPES_INFERRED, has.DECOMPOSED),
        ensures=(has.LOWERED,),
        breaks=(has.CONSTANTS_FOLDED, has.UNUSED_REMOVED),
    ),
    _REMOVE_UNUSED,
    Pass(
        "check layers",
        "Refuse windows that do not fit, and indices out of range.",
        _on_graph(check_layers),
        requires=(has.LOWERED,),
        ensures=(has.LAYERS_FIT,),
    ),
    # The batch.
    Pass(
        "undo sorting",
        "Leave samples where they are that the model sorts by their lengths, and puts back.",
        _undo_sorting,
        requires=(has.LOWERED, has.UNUSED_REMOVED),
        ensures=(has.SAMPLES_IN_ORDER,),
    ),
    Pass(
        "pair samples",
        "Write the product of all samples of two towers as that of each sample's own two.",
        _pair_samples,
        requires=(has.LOWERED, has.UNUSED_REMOVED),
        ensures=(has.SAMPLES_PAIRED,),
    ),
    Pass(
        "free batch",
        "Move the batch to axis 0 of every activation, for any batch size where the model allows it.",
        _free_batch,
        requires=(has.LOWERED, has.UNUSED_REMOVED),
        ensures=(has.BATCH_FIRST, has.SHAPES_KNOWN),
        breaks=(has.CONSTANTS_FOLDED, has.LOWERED, has.UNUSED_REMOVED),
    ),
    # One way to write each layer.
    Pass(
        "spell out attributes",
        "Write down the attributes that are left to their defaults.",
        _on_graph(spell_out_attributes),
        requires=(has.SHAPES_KNOWN,),
        ensures=(has.ATTRIBUTES_SPELLED_OUT,),
    ),
    Pass(
        "cancel moves",
        "Drop reshapes and transposes that undo each other.",
        _on_graph(cancel_moves),
        requires=(has.ATTRIBUTES_SPELLED_OUT,),
        ensures=(has.MOVES_CANCELLED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "write in layout",
        "Write products with a matrix and convolutions of width 1 in the layout around them.",
        _on_graph(write_in_layout),
        requires=(has.ATTRIBUTES_SPELLED_OUT,),
        ensures=(has.LAYOUTS_KEPT,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "fuse layer normalisation",
        "Write the formula of a layer normalisation as one layer.",
        _on_graph(fuse_layer_norm),
        requires=(has.SHAPES_KNOWN,),
        ensures=(has.LAYER_NORM_FUSED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    _REMOVE_UNUSED,
    Pass(
        "write as Gemm",
        "Write products with a constant matrix as Gemms without factors.",
        _on_graph(write_as_gemm),
        requires=(has.ATTRIBUTES_SPELLED_OUT,),
        ensures=(has.PRODUCTS_AS_GEMM,),
    ),
    Pass(
        "merge pads",
        "Merge zero padding into the convolution that reads it.",
        _on_graph(merge_pads),
        requires=(has.ATTRIBUTES_SPELLED_OUT,),
        ensures=(has.PADS_MERGED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "merge affine",
        "Merge normalisation and arithmetic per channel into the linear layer before it, in float64.",
        _on_graph(merge_affine),
        requires=(has.ATTRIBUTES_SPELLED_OUT, has.PRODUCTS_AS_GEMM),
        ensures=(has.ONE_AFFINE,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "fuse softmax",
        "Write the formulas of Softmax and LogSoftmax as one layer.",
        _on_graph(fuse_softmax),
        requires=(has.SHAPES_KNOWN,),
        ensures=(has.SOFTMAX_FUSED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "write binary columns",
        "Write the columns [1 - p, p] of two classes as the Sigmoid of a logit for each.",
        _on_graph(write_binary_columns),
        requires=(has.PRODUCTS_AS_GEMM, has.ONE_AFFINE, has.SHAPES_KNOWN),
        ensures=(has.LOGIT_PER_COLUMN,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "fuse activations",
        "Write formulas of HardSwish, Mish and Gelu as one layer.",
        _on_graph(fuse_activations),
        requires=(has.ATTRIBUTES_SPELLED_OUT,),
        ensures=(has.ACTIVATIONS_FUSED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    _REMOVE_UNUSED,
    Pass(
        "unfold recurrent layers",
        "Write LSTM, GRU and RNN as layers over all steps at once.",
        _unfold,
        requires=(has.SHAPES_KNOWN, has.UNUSED_REMOVED),
        ensures=(has.UNFOLDED,),
        breaks=(has.UNUSED_REMOVED, has.MOVES_CANCELLED),
    ),
    Pass(
        "join sums",
        "Write the cells of recurrent networks that are written step by step with one layer for each sum of products.",
        _join_sums,
        requires=(has.SHAPES_KNOWN, has.BATCH_FIRST, has.PRODUCTS_AS_GEMM, has.ONE_AFFINE),
        ensures=(has.SUMS_JOINED,),
    ),
    Pass(
        "mask steps",
        "Write one step of each sample, at an index of its own, as a sum over steps of which a mask keeps one.",
        _mask_steps,
        requires=(has.SHAPES_KNOWN, has.BATCH_FIRST),
        ensures=(has.STEPS_MASKED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "number conditions",
        "Add the condition of each Where as a number.",
        _on_graph(number_conditions),
        requires=(has.SHAPES_KNOWN,),
        ensures=(has.CONDITIONS_NUMBERED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "number places",
        "Add where the elements come from, or go to, that are gathered or scattered at computed indices.",
        _number_places,
        requires=(has.SHAPES_KNOWN, has.BATCH_FIRST, has.STEPS_MASKED),
        ensures=(has.PLACES_NUMBERED,),
        breaks=(has.UNUSED_REMOVED,),
    ),
    Pass(
        "join columns",
        "Write one input of all columns of a pipeline that has an input for each.",
        _join_columns,
        requires=(has.SHAPES_KNOWN, has.BATCH_FIRST),
        ensures=(has.COLUMNS_JOINED,),
    ),
    Pass(
        "neuralize",
        "Add the layers that explain a support vector machine beside it.",
        _neuralize,
        requires=(has.SHAPES_KNOWN, has.BATCH_FIRST),
        ensures=(has.MACHINES_EXPLAINED,),
    ),
    Pass(
        "check constants",
        "Refuse weights that are not finite numbers.",
        _on_graph(check_constants),
        requires=(has.PARSED,),
        ensures=(has.CONSTANTS_FINITE,),
    ),
)
