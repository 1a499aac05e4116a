"""Preprocessing of columns (ai.onnx.ml) as standard layers, and an input for each column as one input of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from ...graph import Array, Layer
from ...names import unique_name
from ...operators import COPIES, RESHAPES
from ...rewriting.mutable_graph import MutableGraph
from ..replacement import Decomposition, Replacement
from .texts import ENCODER, EXHAUSTIVE, LABELS

_LARGEST = 1 << 24  # whole numbers that float32 holds


def _imputer(build: Replacement) -> None:
    """Imputer: a constant in the place of missing values."""
    values, missing = _imputed(build)
    x = build.input(0)
    width = build.shape(x)[-1]
    if len(values) not in (1, width):
        raise build.refuse(f"{len(values)} values for {width} columns")
    if np.isnan(missing):
        gone = build.compute("IsNaN", x)
    else:
        gone = build.compute("Equal", x, build.store(values.dtype.type(missing), "missing"))
    build.compute("Where", gone, build.store(values, "values"), x, main=True)
    build.finish()


def _imputed(build: Replacement) -> tuple[Array, float]:
    floats, integers = (np.asarray(build.attribute(f"imputed_value_{k}", ())).reshape(-1) for k in ("floats", "int64s"))
    if len(floats):
        return floats.astype(np.float32), float(build.attribute("replaced_value_float", 0.0))
    return integers.astype(np.int64), float(build.attribute("replaced_value_int64", 0))


def _one_hot(build: Replacement) -> None:
    """OneHotEncoder: 1 − |x − c|, no less than 0, for each category c: 1 where a whole number is the category.

    So each column has relevance: that of its categories together. An unknown category has zeros, where the file's
    runtime may refuse it.
    """
    categories = np.asarray(build.attribute("cats_int64s", ()), np.float64)
    x = build.input(0)
    dtype = build.graph.dtypes.get(x, "float32")
    if not len(categories) or np.abs(categories).max() >= _LARGEST or len(set(categories)) < len(categories):
        raise build.refuse("categories that are no whole numbers")
    last = build.integers([-1], f"{build.layer.name}/last")
    floats = build.floats(x)
    if np.dtype(dtype).kind == "f":  # as the file's runtime does
        floats = build.compute("Floor", floats)
    wide = build.compute("Unsqueeze", floats, last)
    apart = build.compute("Sub", wide, build.store(categories.astype(np.float32), "categories"))
    near = build.compute("Sub", build.store(1.0, "one"), build.compute("Abs", apart))
    build.compute("Relu", near, main=True)
    build.finish()


def _labels(build: Replacement) -> None:
    """LabelEncoder: Σ v (1 − |x − k|)₊ over the keys k with values v, and the default where x is none of them.

    Keys are whole numbers, so that one term alone is not 0. The value is passed to x whole: it stands for the column.
    """
    keys = _stated(build, "keys", "int64s", "floats")
    values = _stated(build, "values", "floats", "int64s")
    if keys is None or values is None or len(keys) != len(values):
        raise build.refuse("text, or no keys with a value each")
    if not len(keys) or (keys != np.rint(keys)).any() or np.abs(keys).max() >= _LARGEST:
        raise build.refuse("keys that are no whole numbers")
    keys, first = np.unique(keys, return_index=True)
    values = values[first]
    whole = _writes_integers(build.layer)
    default = 0.0
    if not build.attribute(EXHAUSTIVE, 0):
        default = float(build.attribute("default_int64", -1) if whole else build.attribute("default_float", -0.0))
    x = build.input(0)
    floats = build.floats(x)
    wide = build.compute("Unsqueeze", floats, build.integers([-1], f"{build.layer.name}/last"))
    apart = build.compute("Sub", wide, build.store(keys.astype(np.float32), "keys"))
    near = build.compute("Relu", build.compute("Sub", build.store(1.0, "one"), build.compute("Abs", apart)))
    if floats == x and not build.attribute(EXHAUSTIVE, 0):
        near = build.compute("Floor", near)  # what lies between two keys is none of them
    weighted = build.compute("Mul", near, build.store((values - default).astype(np.float32), "values"), main=True)
    axis = build.integers([-1], f"{build.layer.name}/keys_axis")
    made = build.compute("ReduceSum", weighted, axis, keepdims=0, noop_with_empty_axes=0)
    if default:
        made = build.compute("Add", made, build.store(default, "default"))
    if whole and not _encoded_as_floats(build.graph):
        name = f"{build.layer.name}/whole"
        build.add("Cast", made, out=name, name=name, to=TensorProto.INT64, saturate=1)
    build.finish()


def _stated(build: Replacement, what: str, *kinds: str) -> Array | None:
    """Keys or values of a LabelEncoder, in float64; None where they are text."""
    for kind in kinds:
        if f"{what}_{kind}" in build.layer.attributes:
            return np.asarray(build.attribute(f"{what}_{kind}", ()), np.float64).reshape(-1)
    tensor = build.layer.attributes.get(f"{what}_tensor")
    return None if tensor is None or np.asarray(tensor).dtype.kind not in "if" else np.asarray(tensor, np.float64)


def _encoded_as_floats(graph: MutableGraph) -> bool:
    """Let the whole numbers that LabelEncoders write be floats; return whether the model makes them floats itself."""
    encoded = {layer.outputs[0] for layer in graph.layers if layer.op == LABELS and _writes_integers(layer)}
    found = set(encoded)
    for layer in graph.layers:
        live = found.intersection(layer.inputs)
        if (
            not live
            or (layer.op == "Cast" and layer.attributes["to"] == TensorProto.FLOAT)
            or layer.op in (LABELS, ENCODER)
        ):
            continue
        together = layer.op == "Concat" and found.issuperset(layer.inputs)
        moves = layer.op in RESHAPES | {"Identity"} or (layer.op == "Gather" and layer.inputs[1] in graph.constants)
        if not (together or moves) or found.intersection(graph.outputs):
            return False
        found.update(layer.outputs)
    graph.dtypes |= dict.fromkeys(found, "float32")
    return True


def _writes_integers(layer: Layer) -> bool:
    return "values_int64s" in layer.attributes


def _vectorizer(build: Replacement) -> None:
    """FeatureVectorizer: inputs side by side, as floats."""
    build.compute("Concat", *map(build.floats, build.layer.inputs), main=True, axis=1)
    build.finish()


COLUMNS: Mapping[str, Decomposition] = {
    "ai.onnx.ml::Imputer": _imputer,
    "ai.onnx.ml::OneHotEncoder": _one_hot,
    "ai.onnx.ml::LabelEncoder": _labels,
    "ai.onnx.ml::FeatureVectorizer": _vectorizer,
}


def are_columns(graph: MutableGraph) -> bool:
    """Return whether a graph has several inputs, each one column of numbers; beside text, each one column or more."""
    return len(graph.inputs) > 1 and all(
        np.dtype(graph.dtypes[name]).kind in "fi"
        and (
            graph.shapes[name] == (graph.batch, 1)
            or (bool(graph.categories) and len(graph.shapes[name]) == 2 and graph.shapes[name][0] == graph.batch)
        )
        for name in graph.inputs
    )


def join_columns(graph: MutableGraph) -> None:
    """Write one input of all columns, of which each of the former inputs is one.

    Whole numbers stay floats up to where the model makes them floats itself: else they would have no relevance.

    Args:
        graph: Has one column or several for each input (`are_columns`), the batch on axis 0.
    """
    columns, taken = graph.inputs, {*graph.shapes, *graph.constants, *(layer.name for layer in graph.layers)}
    joined = unique_name("columns", taken.__contains__)
    starts = np.cumsum([0, *(graph.shapes[name][1] for name in columns)]).tolist()
    graph.shapes[joined] = (graph.batch, starts[-1])
    graph.dtypes[joined] = "float32"
    layers: list[Layer] = []
    found = {
        start + place: words
        for name, start in zip(columns, starts, strict=False)
        for place, words in graph.categories.get(name, {}).items()
    }
    graph.categories = {joined: found} if found else {}
    moves = _moved_integers(graph)
    for name, start, end in zip(columns, starts, starts[1:], strict=False):
        index = graph.add_constant(np.arange(start, end), f"{name}/column")
        whole = np.dtype(graph.dtypes[name]).kind == "i"
        moved = moves.get(name) if whole else set()
        if moved is None:
            floats = f"{name}/float"
            layers.append(Layer("Gather", f"{name}/column", "", (joined, index), (floats,), {"axis": 1}))
            graph.shapes[floats], graph.dtypes[floats] = graph.shapes[name], "float32"
            to = TensorProto.INT64 if graph.dtypes[name] == "int64" else TensorProto.INT32
            layers.append(Layer("Cast", f"{name}/whole", "", (floats,), (name,), {"to": to, "saturate": 1}))
            continue
        layers.append(Layer("Gather", f"{name}/column", "", (joined, index), (name,), {"axis": 1}))
        for tensor in (name, *moved):
            graph.dtypes[tensor] = "float32"
    graph.inputs = [joined]
    graph.layers = [*layers, *(_of_floats(graph, layer) for layer in graph.layers)]


def _moved_integers(graph: MutableGraph) -> dict[str, set[str]]:
    """The inputs of whole numbers that are floats in the end, each with the tensors that it is moved to before.

    Those side by side in one tensor are all such inputs, or none is.
    """
    names = {name for name in graph.inputs if np.dtype(graph.dtypes[name]).kind == "i"}
    while True:
        together = set(names)  # tensors of these inputs alone
        for layer in graph.layers:
            beside = layer.op == "Concat" and together.issuperset(layer.inputs)
            if beside or (_moves(graph, layer) and layer.inputs[0] in together):
                together.update(layer.outputs)
        found = {name: _moved_from(graph, name, together) for name in names}
        kept = {name: moved for name, moved in found.items() if moved is not None}
        if len(kept) == len(names):
            return kept
        names = set(kept)


def _moves(graph: MutableGraph, layer: Layer) -> bool:
    """Return whether a layer moves or copies whole numbers and leaves them whole."""
    if layer.op == "Cast" and layer.attributes["to"] == TensorProto.FLOAT:
        return False
    return layer.op in RESHAPES | COPIES or (layer.op == "Gather" and layer.inputs[1] in graph.constants)


def _moved_from(graph: MutableGraph, name: str, together: set[str]) -> set[str] | None:
    """The tensors that whole numbers are moved to before the model makes floats of them; None where it does not."""
    found = {name}
    for layer in graph.layers:
        if not found.intersection(layer.inputs):
            continue
        to_floats = layer.op == "Cast" and layer.attributes["to"] == TensorProto.FLOAT
        if to_floats:
            continue
        beside = layer.op == "Concat" and together.issuperset(layer.inputs)
        if not beside and not (_moves(graph, layer) and layer.inputs[0] in found):
            return None
        found.update(layer.outputs)
    return found.intersection(graph.shapes) - set(graph.outputs) if not found.intersection(graph.outputs) else None


def _of_floats(graph: MutableGraph, layer: Layer) -> Layer:
    """The layer; a Cast between whole numbers that are floats now makes floats."""
    if layer.op == "Cast" and graph.dtypes.get(layer.outputs[0]) == "float32":
        return replace(layer, attributes={**layer.attributes, "to": TensorProto.FLOAT})
    return layer
