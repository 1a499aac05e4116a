"""Texts among samples, as the ids that a model takes."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InputError, UnsupportedError
from ...graph import facts, operators
from ...graph.graph import Graph, TextReader
from ...inputs import InputKind
from ...inputs.text import Text, Vocabulary
from ...preprocessing.samples import Opened, Samples
from .companions import role


def encoded(
    items: Sequence[Opened], graph: Graph, kind: InputKind, vocabulary: Vocabulary | None, assumed: Container[str]
) -> list[Opened]:
    """Return samples with their texts as token ids [1, L], filled up to the length of the model where it has one.

    Args:
        items: The samples.
        graph: The graph, its first input explained.
        kind: The kind of this input.
        vocabulary: The words of token ids; None where nothing says them.
        assumed: Names of the inputs that nobody gives.

    Raises:
        UnsupportedError: The input is no row of token ids, or nothing says its words.
        InputError: A text that does not fit.
    """
    texts = [item for item in items if isinstance(item.content, Text)]
    if not texts:
        return [*items]
    if graph.text is not None:
        return [_counted(item, graph.text) if isinstance(item.content, Text) else item for item in items]
    found = {id(item): _ids(item, graph, kind, vocabulary) for item in texts}
    if "mask" in {role(graph, tensor) for tensor in graph.inputs if tensor.name in assumed}:
        length = max(map(len, found.values()))  # where the lengths are open, a mask hides what is filled up
        if vocabulary is not None and vocabulary.padding is not None:
            found = {key: vocabulary.fit(ids, length, "the text") for key, ids in found.items()}
    return [
        item._replace(content=np.asarray([found[id(item)]], np.int64)) if id(item) in found else item for item in items
    ]


def _counted(item: Opened, front: TextReader) -> Opened:
    counts, text = front.read(item.content, item.origin)
    return item._replace(content=counts, text=text, name=item.name or "text")


def check_ids(graph: Graph, samples: Samples, given: Mapping[str, Any]) -> None:
    """Raise InputError for token ids that the table of their embeddings has no row for.

    Args:
        graph: The graph, its first input explained.
        samples: Its samples.
        given: Arrays of other inputs by name, which may be ids too.
    """
    explained = graph.inputs[0].name
    arrays = {**given, explained: samples.values}
    for layer in graph.layers if samples.kind.name == "tokens" and samples.values.size else ():
        source = facts.looked_up(graph, layer)
        if source not in arrays:
            continue
        x = np.asarray(arrays[source])
        name, rows = layer.inputs[1], graph.constant_shape(layer.inputs[0])[0]
        while (before := graph.producer(name)) is not None and before.op in operators.RESHAPES | operators.COPIES:
            name = before.inputs[0]
        if name != source:  # an offset, or bounds, decide the row
            continue
        wrong = x[(x >= rows) | (x < -rows)]
        if wrong.size:
            whose = "" if source == explained else f' of input "{source}"'
            raise InputError(
                f"token id {wrong[0]:g}{whose}: the table {layer.label!r} has {rows} rows",
                f"give ids from 0 to {rows - 1}, of the tokenizer that the model was trained with",
            )


def _ids(item: Opened, graph: Graph, kind: InputKind, vocabulary: Vocabulary | None) -> list[int]:
    if kind.name != "tokens" or len(kind.shape) != 1:
        raise UnsupportedError(
            f"{item.origin} is a text, and the input is {kind.describe()} [{kind.source}]",
            "give arrays, or name the input of token ids: --input NAME",
        )
    if vocabulary is None:
        raise UnsupportedError(
            f"{item.origin} is a text, and nothing says the words of the model's token ids",
            "give them: --tokenizer FILE, a tokenizer.json or a word on each line; or give ids as an .npy file",
        )
    ids = vocabulary.encode(item.content)
    if not ids:
        raise InputError(f"{item.origin}: the text is empty", "give a text with at least one word")
    if 0 not in graph.open_axes.get(graph.inputs[0].name, {}):
        ids = vocabulary.fit(ids, kind.shape[0], item.origin)
    return ids
