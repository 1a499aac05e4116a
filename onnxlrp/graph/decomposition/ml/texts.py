"""Columns of text as numbers: each word that the model knows has a code, from 1 on; 0 is every other word.

What reads text (OneHotEncoder, LabelEncoder, CategoryMapper) reads these codes then. Words become codes where samples
are read, by `MutableGraph.categories`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ....errors import UnsupportedError
from ...graph import Array, Layer
from ...operators import CATEGORIES, RESHAPES
from ...reading.printable import printable
from ...rewriting.mutable_graph import MutableGraph

TEXT = "object"  # the type of tensors of text
ENCODER, LABELS = "ai.onnx.ml::OneHotEncoder", "ai.onnx.ml::LabelEncoder"
EXHAUSTIVE = "onnxlrp.exhaustive"  # an attribute: the keys are all that the operand can be
_EXTRACTOR = "ai.onnx.ml::ArrayFeatureExtractor"
_FIX = "explain the part behind its text: onnx.utils.extract_model(FILE, NEW, [TENSOR], [OUTPUT])"

_Columns = Mapping[str, Array]  # tensor of text → the column of each of its elements [1, …]


def is_text(graph: MutableGraph) -> bool:
    """Return whether an input is text."""
    return any(graph.dtypes.get(name) == TEXT for name in graph.inputs)


def code_texts(graph: MutableGraph) -> None:
    """Let inputs of text be codes of words, and what reads them read codes.

    Args:
        graph: Has the shapes of all inputs, the batch on axis 0. Gets `categories`.

    Raises:
        UnsupportedError: An input of text is no row of words, or something else reads it.
    """
    if not is_text(graph):
        return
    texts = [name for name in graph.inputs if graph.dtypes.get(name) == TEXT]
    columns: dict[str, Array] = {}
    owner: list[tuple[str, int]] = []  # the input of each column, and where it stands in it
    for name in texts:
        shape = graph.shapes.get(name, ())
        if len(shape) != 2 or shape[0] != graph.batch:
            raise UnsupportedError(f'the input "{printable(name)}" takes text that is no row of words', _FIX)
        columns[name] = np.arange(len(owner), len(owner) + shape[1]).reshape(1, -1)
        owner += [(name, place) for place in range(shape[1])]
    known: list[dict[str, None]] = [{} for _ in owner]
    readers: list[Layer] = []
    for layer in graph.layers:
        live = [name for name in layer.inputs if name in columns]
        if not live:
            continue
        found = None
        if layer.op in CATEGORIES:
            readers.append(layer)
            for column in np.unique(columns[live[0]]).tolist():
                known[column] |= dict.fromkeys(_words(layer))
            if _writes_text(layer):
                found = columns[live[0]]
        else:
            found = _moved(graph, layer, columns)
            if found is None:
                raise UnsupportedError(
                    f'the {layer.op} node "{printable(layer.name)}" reads text, of which only categories are coded',
                    _FIX,
                )
        if found is not None:
            columns[layer.outputs[0]] = found
    codes = {word: code for code, word in enumerate(dict.fromkeys(w for words in known for w in words), 1)}
    changed = {layer.name: _coded(layer, columns[layer.inputs[0]], known, codes) for layer in readers}
    graph.layers = [changed.get(layer.name, layer) for layer in graph.layers]
    graph.dtypes |= dict.fromkeys(columns, "float32")
    for (name, place), words in zip(owner, known, strict=True):
        graph.categories.setdefault(name, {})[place] = {word: codes[word] for word in words}


def _words(layer: Layer) -> Iterator[str]:
    """The words that a layer knows, and those that it writes."""
    for name in ("cats_strings", "keys_strings"):
        yield from layer.attributes.get(name, ())
    if _writes_text(layer):
        yield from layer.attributes["values_strings"]
        yield _default_word(layer)


def _default_word(layer: Layer) -> str:
    return str(layer.attributes.get("default_string", "_Unused"))


def _writes_text(layer: Layer) -> bool:
    return layer.op == LABELS and "values_strings" in layer.attributes


def _coded(layer: Layer, columns: Array, known: list[dict[str, None]], codes: Mapping[str, int]) -> Layer:
    """A layer that reads text, reading codes."""
    given = layer.attributes
    if layer.op == ENCODER:
        kept = {name: value for name, value in given.items() if name not in ("cats_strings", "cats_int64s")}
        return replace(layer, attributes=kept | {"cats_int64s": tuple(codes[word] for word in given["cats_strings"])})
    if layer.op != LABELS:
        pairs: dict[str, Any] = dict(zip(given["cats_strings"], given["cats_int64s"], strict=True))
        default: Any = int(given.get("default_int64", -1))
        kind = "int64s"
    elif _writes_text(layer):
        pairs = dict(zip(given["keys_strings"], (codes[word] for word in given["values_strings"]), strict=True))
        default, kind = codes[_default_word(layer)], "floats"
    else:
        kind = next(kind for kind in ("int64s", "floats") if f"values_{kind}" in given)
        pairs = dict(zip(given["keys_strings"], given[f"values_{kind}"], strict=True))
        default = given.get("default_int64", -1) if kind == "int64s" else given.get("default_float", -0.0)
    possible = dict.fromkeys(word for column in np.unique(columns).tolist() for word in known[column])
    values = tuple(pairs.get(word, default) for word in possible)
    attributes: dict[str, Any] = {"keys_int64s": (0, *(codes[word] for word in possible)), EXHAUSTIVE: 1}
    return replace(layer, op=LABELS, attributes=attributes | {f"values_{kind}": (default, *values)})


def _moved(graph: MutableGraph, layer: Layer, columns: _Columns) -> Array | None:
    """The columns of what a layer moves; None where it does something else."""
    value = columns.get(layer.inputs[0])
    if layer.op == "Concat" and all(name in columns for name in layer.inputs):
        axis = int(layer.attributes["axis"])
        return np.concatenate([columns[name] for name in layer.inputs], axis=axis) if axis else None
    if value is None:
        return None
    if layer.op == "Identity":
        return value
    if layer.op in RESHAPES:
        shape = graph.shapes.get(layer.outputs[0], ())
        return value.reshape(1, *shape[1:]) if shape[:1] == (graph.batch,) else None
    if layer.op in ("Gather", _EXTRACTOR):
        indices = graph.constant(layer.inputs[1])
        axis = value.ndim - 1 if layer.op == _EXTRACTOR else int(layer.attributes.get("axis", 0)) % value.ndim
        if indices is None or axis == 0:
            return None
        return np.take(value, indices.reshape(-1) if layer.op == _EXTRACTOR else indices, axis=axis)
    return None
