"""The front of a model that counts the words of a text: it runs untouched, what lies behind is explained.

A text goes through StringNormalizer and Tokenizer into TfIdfVectorizer, whose vector of counts becomes the model's
input, each value named by its n-gram.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from ..errors import InputError, UnsupportedError
from ..inputs.counted import CountedText, find
from ..runtime import onnxruntime
from .graph import Array
from .reading.printable import printable
from .reading.read import Read

VECTORIZER = "TfIdfVectorizer"
NAMES = "feature_names"
_LOCALES = ("", "C.UTF-8", "C.utf8")  # the file's own; where a system lacks English, those of the same case mapping
_FIX = "explain the part behind its text: onnx.utils.extract_model(FILE, NEW, [TENSOR], [OUTPUT])"


@dataclass(frozen=True, eq=False)
class TextFront:
    """What makes counts of n-grams of a text.

    Attributes:
        model: The front as an ONNX file: from the text to the counts, and the tokens.
        input: The name of the text.
        rank: The number of its axes.
        tokens: The name of the tokens.
        counts: The name of the counts.
        features: The feature of each n-gram.
        sizes: The lengths of n-grams that are counted.
        skips: How many tokens may lie between two of an n-gram's.
        padding: What fills up texts, and is no token.
    """

    model: bytes
    input: str
    rank: int
    tokens: str
    counts: str
    features: dict[tuple[str, ...], int]
    sizes: tuple[int, ...]
    skips: int
    padding: str
    _session: list[Any] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": []}  # a session cannot be kept

    def read(self, text: str, origin: str) -> tuple[Array, CountedText]:
        """Return the counts [1, V] of a text, and where its n-grams stand.

        Args:
            text: The text.
            origin: What it is called in messages.

        Raises:
            UsageError: onnxruntime is not installed.
            UnsupportedError: onnxruntime cannot run the front here.
            InputError: The text has no token.
        """
        session = self._made()
        feeds = {self.input: np.full((1,) * self.rank, text, object)}
        try:
            counts, tokens = session.run([self.counts, self.tokens], feeds)
        except Exception as error:  # onnxruntime raises its own kinds; it has no shape for a text without tokens
            raise InputError(
                f"{origin}: the model's reader of texts finds no words in it, or fails ({_short(error)})",
                "give a text with at least one word",
            ) from None
        words = [str(word) for word in np.ravel(tokens)]
        while words and words[-1] == self.padding:
            words.pop()
        if not words:
            raise InputError(f"{origin}: the model finds no words in the text", "give a text with at least one word")
        return np.asarray(counts).reshape(1, -1), find(words, self.features, self.sizes, self.skips)

    def describe(self) -> str:
        """Return what is counted, in words."""
        lengths = " to ".join(map(str, dict.fromkeys((self.sizes[0], self.sizes[-1]))))
        return f"{self.input}: {len(self.features)} n-grams of {lengths} tokens are counted; {self.counts} is explained"

    def _made(self) -> Any:
        if self._session:
            return self._session[0]
        ort = onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # what fails is said here
        options.intra_op_num_threads = 1
        for locale in _LOCALES:
            model = onnx.ModelProto.FromString(self.model)
            if locale and not _set_locale(model, locale):
                break
            try:
                made = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises its own kinds
                why = _short(error)
                if "locale" not in str(error):
                    break
            else:
                self._session.append(made)
                return made
        raise UnsupportedError(
            f"onnxruntime cannot run what reads the text here: {why}",
            "install the locale that StringNormalizer names (apt-get install locales), or count the words yourself: "
            "give the counts as an .npy file",
        )


def without_text(file: Read) -> tuple[Read, TextFront | None]:
    """Cut a model behind the counts of its text.

    Args:
        file: The model, which is not changed.

    Returns:
        The model from the counts on, and what counts; the model itself and None where it counts no text.

    Raises:
        UnsupportedError: Several readers count, or other inputs or texts are read beside it.
    """
    graph = file.model.graph
    readers = [node for node in graph.node if node.op_type == VECTORIZER]
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    texts = [value for value in inputs if value.type.tensor_type.elem_type == onnx.TensorProto.STRING]
    if not readers or not texts:
        return file, None
    said = f'the {VECTORIZER} node "{printable(readers[0].name or readers[0].output[0])}" counts the words of a text'
    if len(readers) > 1:
        raise UnsupportedError(f"{said}, and {len(readers) - 1} more do: one is supported", _FIX)
    if len(inputs) > 1:
        others = ", ".join(printable(value.name) for value in inputs if value.name != texts[0].name)
        raise UnsupportedError(f"{said}, and the model has other inputs: {others}", _FIX)
    reader, text = readers[0], inputs[0]
    dims = text.type.tensor_type.shape.dim
    if not 1 <= len(dims) <= 2 or any(dim.dim_value > 1 for dim in dims[1:]):
        taken = [dim.dim_value or "N" for dim in dims]
        raise UnsupportedError(f'{said}, and the input "{printable(text.name)}" of {taken} is no column of texts', _FIX)
    counts = _as_floats(file.model, reader)
    front, behind = _split(file.model, counts)
    made = {name for node in front for name in node.output} | {text.name}
    read = {name for node in behind for name in node.input} | {value.name for value in graph.output}
    if beside := sorted((made & read) - {counts}):
        raise UnsupportedError(f"{said}, and {printable(beside[0])} is read beside its counts", _FIX)
    features, names = _grams(reader, said)
    rest = onnx.ModelProto()
    rest.CopyFrom(file.model)
    del rest.graph.node[:], rest.graph.input[:]
    rest.graph.node.extend(behind)
    vector = onnx.helper.make_tensor_value_info(counts, onnx.TensorProto.FLOAT, [None, len(names)])
    rest.graph.input.extend([vector, *(value for value in graph.input if value.name in weights)])
    kept = [value for value in rest.graph.value_info if value.name not in made]
    del rest.graph.value_info[:]
    rest.graph.value_info.extend(kept)
    stated = {entry.key for entry in rest.metadata_props}
    if NAMES not in stated:
        onnx.helper.set_model_props(
            rest, {**{e.key: e.value for e in rest.metadata_props}, NAMES: json.dumps(names, ensure_ascii=False)}
        )
    return file._replace(model=rest), _front(file.model, front, reader, counts, text, features)


def _front(
    model: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    reader: onnx.NodeProto,
    counts: str,
    text: onnx.ValueInfoProto,
    features: dict[tuple[str, ...], int],
) -> TextFront:
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    types = {counts: onnx.TensorProto.FLOAT, reader.input[0]: onnx.TensorProto.STRING}
    outputs = [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
    graph = onnx.helper.make_graph(nodes, "text", [text], outputs, weights)
    made = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in reader.attribute}
    padding = next(
        (
            a.s.decode()
            for node in nodes
            if node.op_type == "Tokenizer"
            for a in node.attribute
            if a.name == "pad_value"
        ),
        "",
    )
    return TextFront(
        made.SerializeToString(),
        text.name,
        len(text.type.tensor_type.shape.dim),
        reader.input[0],
        counts,
        features,
        tuple(range(attributes["min_gram_length"], attributes["max_gram_length"] + 1)),
        attributes["max_skip_count"],
        padding,
    )


def _as_floats(model: onnx.ModelProto, reader: onnx.NodeProto) -> str:
    """The counts, or what binary ones are made of them: numbers again, behind a Cast to bool."""
    name = str(reader.output[0])
    found = name
    while True:
        readers = [node for node in model.graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type != "Cast" or name in {o.name for o in model.graph.output}:
            return found
        name = str(readers[0].output[0])
        if onnx.helper.get_attribute_value(readers[0].attribute[0]) == onnx.TensorProto.FLOAT:
            found = name


def _split(model: onnx.ModelProto, counts: str) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that the counts need, and all others."""
    producers = {name: node for node in model.graph.node for name in node.output}
    needed: dict[int, onnx.NodeProto] = {}
    stack = [producers[counts]]
    while stack:
        node = stack.pop()
        if id(node) not in needed:
            needed[id(node)] = node
            stack += [producers[name] for name in node.input if name in producers]
    front = [node for node in model.graph.node if id(node) in needed]
    return front, [node for node in model.graph.node if id(node) not in needed]


def _grams(reader: onnx.NodeProto, said: str) -> tuple[dict[tuple[str, ...], int], list[str]]:
    """The feature of each n-gram of a reader, and the names of its features."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in reader.attribute}
    pool = [word.decode(errors="replace") for word in attributes.get("pool_strings", ())]
    indexes = list(attributes.get("ngram_indexes", ()))
    if not pool or not indexes:
        raise UnsupportedError(f"{said}, and its pool has no words", _FIX)
    features = dict(zip(_pooled(pool, list(attributes["ngram_counts"])), indexes, strict=False))
    if len(features) != len(indexes) or min(indexes) < 0:
        raise UnsupportedError(f"{said}, and its pool and its features do not fit", _FIX)
    between = "" if all(len(word) == 1 for word in pool) else " "  # characters are counted, or words
    named = {feature: between.join(gram) for gram, feature in features.items()}
    return features, [named.get(n, f"feature {n}") for n in range(max(indexes) + 1)]


def _pooled(pool: list[str], starts: list[int]) -> Iterator[tuple[str, ...]]:
    """The n-grams of a pool, which has those of one word first, and each length from its start on."""
    for size, (start, end) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        for at in range(start, end - size + 1, size):
            yield tuple(pool[at : at + size])


def _set_locale(model: onnx.ModelProto, locale: str) -> bool:
    """Let the nodes that change case do it in a locale; return whether there are any, and their own is English."""
    nodes = [node for node in model.graph.node if node.op_type == "StringNormalizer"]
    stated = [a.s.decode(errors="replace") for node in nodes for a in node.attribute if a.name == "locale"]
    if not all(name.startswith("en_") for name in stated):
        return False
    for node in nodes:
        kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("locale", locale)])
    return bool(nodes)


def _short(error: Exception) -> str:
    return " ".join(printable(str(error)).split())[-160:]
