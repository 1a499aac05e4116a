"""A model of token ids that takes their embeddings: where methods of gradients and paths can move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...errors import UnsupportedError
from ...graph import facts
from ...graph.graph import Array, Graph, Layer, Tensor
from ...graph.outputs.heads import head_of
from ...graph.outputs.units import of_tensor
from ...inputs import InputKind
from ...methods.baselines import AUTO, absent_token
from ...methods.problem import Absent, solve
from ...methods.registry import Method, moves
from ...preprocessing.samples import Samples
from ..compiled import CompiledModel


class Embedded(NamedTuple):
    """Samples of token ids as their embeddings.

    Attributes:
        model: The same model from the embeddings on; the ids, where masks and positions are made of them, are given.
        values: The embeddings [N, …, width].
        absent: The embeddings [N, …, width] of the token that stands for none.
    """

    model: CompiledModel
    values: Array
    absent: Array

    def on_ids(self, relevance: Array, shape: tuple[int, ...]) -> Array:
        """Return relevance of embeddings [N, …, width] as one number a token: sums over the width, [N, *shape]."""
        return np.asarray(relevance.sum(axis=-1, dtype=np.float64).reshape(len(relevance), *shape))


def solve_tokens(
    model: CompiledModel, method: Method, samples: Samples, ids: Array, **how: Any
) -> tuple[Array, dict[str, Any]]:
    """Explain token ids by a method that is no composite: one number a token.

    A method that hides parts puts another token in the place of one. One of gradients and paths runs between the
    embeddings, and its relevance is summed over their width.

    Args:
        model: The model.
        method: The method.
        samples: The ids.
        ids: The class of each [N], or several of every sample [T, N].
        **how: As of `solve`.

    Raises:
        UsageError: No token is called as the baseline is.
        UnsupportedError: The ids are not looked up in one table of constants.
    """
    asked = getattr(method, "baseline", AUTO)
    name, token = absent_token(asked if isinstance(asked, str) else AUTO, model.vocabulary)
    absent = np.full_like(samples.values, token)
    if not moves(method):
        return solve(model, method, samples, ids, None, absent=Absent(name, absent), **how)
    inner = embedded(model, samples.values, absent)
    there = replace(samples, values=inner.values, kind=inner.model.kind)
    relevance, notes = solve(inner.model, method, there, ids, None, absent=Absent(name, inner.absent), **how)
    found = [inner.on_ids(one, samples.kind.shape) for one in (relevance if ids.ndim == 2 else relevance[np.newaxis])]
    return (np.stack(found) if ids.ndim == 2 else found[0]), notes


def embedded(model: CompiledModel, ids: Array, absent: Array) -> Embedded:
    """Return a model of token ids from its embeddings on, and ids as these.

    Args:
        model: The model.
        ids: Token ids [N, …].
        absent: The ids [N, …] of the token that stands for none.

    Raises:
        UnsupportedError: The ids are not looked up in one table of constants.
    """
    graph = model.graph
    layer = _table(graph)
    unit = of_tensor(graph, layer.outputs[0])
    found = model.outputs(np.concatenate([ids, absent]), activations=[unit], at=np.tile(np.arange(len(ids)), 2))
    values = found[f"activation/{unit.label}"]
    cut = _behind(graph, layer)
    wide = len(cut.inputs[0].shape) - 1
    kind = InputKind("tokens", cut.inputs[0].shape, wide, tuple(range(wide)), f"graph: {layer.label} looks them up")
    made = type(model)(cut, model.engine, model.path, model.flags, model.strict, given=model.feeds(ids), _kind=kind)
    return Embedded(made, *np.split(values, 2))


def _table(graph: Graph) -> Layer:
    """The layer that looks the ids of the explained input up."""
    found = [layer for layer in graph.layers if facts.looked_up(graph, layer) == graph.inputs[0].name]
    if len(found) != 1:
        what = "are looked up in no table of embeddings" if not found else f"are looked up in {len(found)} tables"
        raise UnsupportedError(
            f"the numbers of input {graph.inputs[0].name!r} {what}, so that gradients have no place to be taken at",
            "-m epsilon, -m attention and other composites propagate to ids; -m occlusion hides them",
        )
    return found[0]


def _behind(graph: Graph, table: Layer) -> Graph:
    """The graph whose first input is the result of the table."""
    ends = [name for tensor in graph.outputs for name in (tensor.name, *head_of(graph, tensor.name).needs)]
    layers, names = facts.needed(graph, ends, without=table)
    name = table.outputs[0]
    source = Tensor(name, graph.shapes[name], graph.dtypes.get(name, "float32"))
    inputs = (source, *(tensor for tensor in graph.inputs if tensor.name in names))
    return replace(graph, layers=layers, inputs=inputs, open_axes={})
