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
    floats = x if dtype == "float32" else _as_floats(build, x)
    if np.dtype(dtype).kind == "f":  # as the file's runtime does
        floats = build.compute("Floor", floats)
    wide = build.compute("Unsqueeze", floats, last)
    apart = build.compute("Sub", wide, build.store(categories.astype(np.float32), "categories"))
    near = build.compute("Sub", build.store(1.0, "one"), build.compute("Abs", apart))
    build.compute("Relu", near, main=True)
    build.finish()


def _as_floats(build: Replacement, x: str) -> str:
    out = f"{build.out}/{x}/floats"
    return build.add("Cast", x, out=out, name=out, to=TensorProto.FLOAT, saturate=1)


def _vectorizer(build: Replacement) -> None:
    """FeatureVectorizer: inputs side by side, as floats."""
    parts = []
    for name in build.layer.inputs:
        floats = build.graph.dtypes.get(name, "float32") == "float32"
        parts.append(name if floats else _as_floats(build, name))
    build.compute("Concat", *parts, main=True, axis=1)
    build.finish()


COLUMNS: Mapping[str, Decomposition] = {
    "ai.onnx.ml::Imputer": _imputer,
    "ai.onnx.ml::OneHotEncoder": _one_hot,
    "ai.onnx.ml::FeatureVectorizer": _vectorizer,
}


def are_columns(graph: MutableGraph) -> bool:
    """Return whether a graph has several inputs, each one column of numbers."""
    return len(graph.inputs) > 1 and all(
        graph.shapes[name] == (graph.batch, 1) and np.dtype(graph.dtypes[name]).kind in "fi" for name in graph.inputs
    )


def join_columns(graph: MutableGraph) -> None:
    """Write one input of all columns, of which each of the former inputs is one.

    Whole numbers stay floats up to where the model makes them floats itself: else they would have no relevance.

    Args:
        graph: Has one column for each input (`are_columns`), the batch on axis 0.
    """
    columns, taken = graph.inputs, {*graph.shapes, *graph.constants, *(layer.name for layer in graph.layers)}
    joined = unique_name("columns", taken.__contains__)
    graph.shapes[joined] = (graph.batch, len(columns))
    graph.dtypes[joined] = "float32"
    layers: list[Layer] = []
    for place, name in enumerate(columns):
        index = graph.add_constant(np.array([place], np.int64), f"{name}/column")
        whole = np.dtype(graph.dtypes[name]).kind == "i"
        moved = _moved_integers(graph, name) if whole else set()
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


def _moved_integers(graph: MutableGraph, name: str) -> set[str] | None:
    """The tensors that whole numbers are moved to before the model makes floats of them; None where it does not."""
    found = {name}
    for layer in graph.layers:
        if not found.intersection(layer.inputs):
            continue
        to_floats = layer.op == "Cast" and layer.attributes["to"] == TensorProto.FLOAT
        if to_floats:
            continue
        moves = layer.op in RESHAPES | COPIES or (layer.op == "Gather" and layer.inputs[1] in graph.constants)
        if not moves or layer.inputs[0] not in found:
            return None
        found.update(layer.outputs)
    return found.intersection(graph.shapes) - set(graph.outputs) if not found.intersection(graph.outputs) else None


def _of_floats(graph: MutableGraph, layer: Layer) -> Layer:
    """The layer; a Cast between whole numbers that are floats now makes floats."""
    if layer.op == "Cast" and graph.dtypes.get(layer.outputs[0]) == "float32":
        return replace(layer, attributes={**layer.attributes, "to": TensorProto.FLOAT})
    return layer
