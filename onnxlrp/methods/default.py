"""The method that explains where none is named: one for each kind of input, with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..graph.facts import depends, first_layers, has_trees, is_recurrent, relevant
from ..graph.graph import Graph, Layer
from ..graph.recognition.attention import has_attention
from ..inputs import InputKind

PICTURES, SIGNALS, FEATURES, ATTENTION, RECURRENT = "epsilon_plus_flat", "gamma", "epsilon", "attention", "recurrent"
DEFAULTS = {"image": PICTURES, "volume": PICTURES, "signal": SIGNALS, "tokens": FEATURES, "vector": FEATURES}
FORWARD = "occlusion"  # of forward passes alone
HIDING = "kernel_shap"  # of votes and thresholds, which hiding a single feature rarely changes
TREES = "tree_shap"  # of sums of trees, which have no gradient
COMPOSITES = (*dict.fromkeys(DEFAULTS.values()), ATTENTION, RECURRENT)
CANDIDATES = (*COMPOSITES, TREES)

PICTURE = "an image"  # the reason that needs no word


class Default(NamedTuple):
    """The default method of a model.

    Attributes:
        name: The method.
        reason: Why it is this one, such as "an image".
        options: Its options, where they are not its own defaults.
    """

    name: str
    reason: str
    options: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


def default_method(kind: InputKind, graph: Graph) -> Default:
    """Choose the method for a model whose user names none: the only place that does.

    The rule flat, which `epsilon_plus_flat` has in the first layer, gives the same relevance to every value that a unit
    reads. That is right among neighbours of one kind: pixels, or the values of one lead in time. Where the first layer
    mixes leads, features of a table, embeddings or a whole flattened picture, all of them would get the same value, so
    no default takes it there. What stands there instead was measured on planted features (`benchmarks/defaults.py`).
    Where a softmax makes weights that multiply activations, the method is `attention`, whatever the kind; of a network
    with LSTM, GRU or RNN, or cells of such that are written step by step, it is `recurrent`.

    `gamma_flat_in_channels` lets each lead keep its own share and is flat in time alone. It is no default: it blurs a
    lead by the width of the first filters, which helps where these are no wider than what is looked for and loses its
    place where they are.

    Args:
        kind: The kind of the explained input.
        graph: The graph, its first input explained.
    """
    if graph.opaque is not None:
        return Default(FORWARD, "a model whose layers cannot be read")
    if _ends_in_trees(graph):
        return Default(TREES, "an ensemble of trees")
    table = kind.name == "vector"
    if has_trees(graph):  # which have no rules
        return Default(HIDING if table else FORWARD, "trees whose sums other functions are computed of")
    if _selects_neighbours(graph):
        return Default(HIDING, "nearest neighbours, whose selection has no rule: parts of the input are hidden")
    if _has_steps_alone(graph):
        return Default(HIDING if table else FORWARD, "a model of steps alone, such as thresholds: nothing has a slope")
    if has_attention(graph):
        return Default(ATTENTION, "a model with attention")
    if is_recurrent(graph):
        return Default(RECURRENT, "a recurrent network")
    name = DEFAULTS[kind.name]
    if kind.name in ("image", "volume") and _reads_all_at_once(graph):
        return Default(FEATURES, f"{_a(kind.name)} that the first layer reads as one row of values")
    if kind.name != "signal":
        return Default(name, _a(kind.name))
    if _reads_all_at_once(graph):
        return Default(FEATURES, "a signal that the first layer reads as one row of values")
    if kind.channels == 1:
        return Default(PICTURES, "a signal of one channel")
    return Default(name, f"a signal of {kind.channels} channels")


def _ends_in_trees(graph: Graph) -> bool:
    """Return whether the scores are sums of trees."""
    if not has_trees(graph):
        return False
    from ..graph.trees.routes import explained_by_trees

    return explained_by_trees(graph)


def _has_steps_alone(graph: Graph) -> bool:
    """Return whether every path to an output leads through integers, comparisons or indices."""
    source = graph.inputs[0].name
    ends = [tensor.name for tensor in graph.outputs if depends(graph, source, tensor.name)]
    return bool(ends) and not any(relevant(graph, (source,), end) for end in ends)


def _selects_neighbours(graph: Graph) -> bool:
    """Return whether scores depend on the input through the selection of a TopK alone, as those of neighbours do."""
    if not any(layer.op == "TopK" for layer in graph.layers):
        return False
    pending, seen = [tensor.name for tensor in graph.outputs], set[str]()
    behind = False
    while pending:
        name = pending.pop()
        layer = None if name in seen else graph.producer(name)
        seen.add(name)
        if layer is not None and layer.op == "TopK":
            behind = True
        elif layer is not None:
            pending += layer.inputs
    return behind and graph.inputs[0].name not in seen


def _a(kind: str) -> str:
    return kind if kind == "tokens" else f"an {kind}" if kind == "image" else f"a {kind}"


def _reads_all_at_once(graph: Graph) -> bool:
    """Return whether each unit of a first layer reads every value of the explained input."""
    source, first = graph.inputs[0], first_layers(graph, graph.inputs[0].name)
    size = math.prod(source.shape)
    return size > 1 and any(_fan_in(graph, layer) >= size for layer in graph.layers if layer.name in first)


def _fan_in(graph: Graph, layer: Layer) -> int:
    """Return how many values a unit of a layer reads; 0 where its weights do not tell."""
    if layer.op == "Conv":
        return math.prod(graph.constant_shape(layer.inputs[1])[1:])
    if layer.op not in ("Gemm", "MatMul"):
        return 0
    known = [position for position, name in enumerate(layer.inputs[:2]) if name in graph.constants]
    if known != [1]:
        return 0
    shape = graph.constant_shape(layer.inputs[1])
    return int(shape[-1] if layer.op == "Gemm" and layer.attributes.get("transB", 0) else shape[-2:][0])
