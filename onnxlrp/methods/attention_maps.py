"""Methods that follow attention from token to token: by its weights alone, or by weights and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..graph.axes.places import Places, places
from ..graph.graph import Graph
from ..graph.outputs.heads import head_of
from ..graph.outputs.places import LAST_INPUT
from ..graph.outputs.units import Unit, of_tensor
from ..graph.recognition.token_attention import TokenAttention, token_attention
from ..inputs import InputKind
from .enlarging import enlarged
from .problem import Problem
from .registry import Array, Attribution, make_composite, method

_AT_ONCE = 8  # samples, where no batch size is given: a layer has heads · tokens² weights of each


@method("attention_rollout", paper="Abnar & Zuidema 2020", passes="1, with its attention")
@dataclass(frozen=True)
class AttentionRollout:
    """R = Ã_L … Ã_1, Ã = (1 - r) Ā + r I with rows of sum 1, Ā the mean of the attention weights over the heads.

    The map is the row of the token that the head reads, that of the class or of the last position, or the mean of the
    rows of all that it reads. It does not depend on the class.

    Args:
        residual: r, the share of what goes past an attention.

    Raises:
        UsageError: `residual` is not between 0 and 1.

    References:
        Abnar and Zuidema, Quantifying attention flow in transformers, ACL 2020.
    """

    residual: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.residual <= 1:
            raise UsageError(f"residual = {self.residual:g}", "give a share from 0 to 1")

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise UnsupportedError where the model has no attention between the same tokens everywhere."""
        _find(graph, kind)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""

        def mean(weights: Array) -> Array:
            own = weights.mean(axis=1)
            mixed = (1 - self.residual) * own + self.residual * np.eye(own.shape[1], own.shape[2])
            total = mixed.sum(axis=2, keepdims=True)
            return np.asarray(np.divide(mixed, total, out=np.zeros_like(mixed), where=total > 0))

        def step(rollout: Array, weights: Array, slopes: Array) -> Array:
            return np.asarray(mean(weights) @ rollout)

        def pooled(weights: Array, slopes: Array) -> Array:
            return np.asarray(weights.mean(axis=(1, 2)))

        return _follow(problem, False, step, pooled)


@method("chefer", paper="Chefer et al. 2021", passes="1 + 1 gradient, of its attention")
@dataclass(frozen=True)
class Chefer:
    """R ← R + Ā R from R = I on, Ā the mean of max(∂f/∂A ⊙ A, 0) over the heads: attention that the score depends on.

    The map is the row of R - I of the token that the head reads, that of the class or of the last position, or the mean
    of the rows of all that it reads.

    References:
        Chefer, Gur and Wolf, Generic attention-model explainability for interpreting bi-modal and encoder-decoder
        transformers, ICCV 2021.
    """

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise UnsupportedError where the model has no attention between the same tokens everywhere."""
        _find(graph, kind)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""

        def mean(weights: Array, slopes: Array) -> Array:
            return np.asarray(np.maximum(slopes * weights, 0).mean(axis=1))

        def step(relevance: Array, weights: Array, slopes: Array) -> Array:
            return np.asarray(relevance + mean(weights, slopes) @ relevance)

        def pooled(weights: Array, slopes: Array) -> Array:
            return np.asarray(mean(weights, slopes).mean(axis=1))

        return _follow(problem, True, step, pooled)


def _find(graph: Graph, kind: InputKind) -> tuple[TokenAttention, Places]:
    """The attention of a model, and where its tokens lie."""
    found = token_attention(graph, head_of(graph, graph.outputs[0].name).logits)
    laid = places((found.tokens,), kind.spatial_axes or tuple(range(len(kind.shape))))
    if laid is None or math.prod(laid.sizes) + laid.others != len(found.rows):
        raise UsageError(
            f"the tokens of the attention have no places along the axes of this input; its kind: {kind.describe()}",
            "state the kind: --kind image, signal, tokens or vector; or use gradient_x_input",
        )
    return found, laid


def _follow(
    problem: Problem,
    sloped: bool,
    step: Callable[[Array, Array, Array], Array],
    pooled: Callable[[Array, Array], Array],
) -> Attribution:
    """Follow attention through a model.

    Args:
        problem: The samples.
        sloped: Take gradients too.
        step: R [N, T, T] behind an attention, from R before it, weights [N, heads, T, T] and their gradients.
        pooled: The row [N, T] that a last attention reads, from its weights and gradients.
    """
    found, laid = _find(problem.model.graph, problem.kind)
    every = (*found.maps, *([] if found.pooling is None else [found.pooling]))
    asked = [of_tensor(problem.model.graph, one.tensor) for one in every]
    at = np.arange(len(problem.x))
    count = len(found.rows)
    rows, done = np.zeros((len(at), count)), 0
    for part in problem.track(len(at), problem.batch_size or _AT_ONCE):
        outputs = _outputs(problem, at[part], asked, sloped)
        relevance = np.broadcast_to(np.eye(count), (part.stop - part.start, count, count))
        row: Array | None = None
        for one, unit in zip(every, asked, strict=True):
            weights = _heads_first(outputs[f"activation/{unit.label}"], one.flipped)
            slopes = _heads_first(outputs[f"record/{unit.label}"], one.flipped) if sloped else np.zeros(())
            if one is found.pooling:
                row = pooled(weights, slopes)
            else:
                relevance = step(relevance, weights, slopes)
        reached = relevance - np.eye(count) if sloped and row is None else relevance
        share = _rows(problem, found.rows, at[part]) if row is None else row
        rows[part] = np.einsum("nt,nts->ns", share, reached)
        done = part.stop
    maps = laid.maps(rows[:done].reshape(done, -1))[:, 0]
    last = found.pooling is None and LAST_INPUT in problem.model.graph.metadata
    read = "the last token that is no padding" if last else found.read
    notes: dict[str, Any] = {"attention": f"{len(every)} layers, read at {read}"}
    if laid.others:
        notes["tokens"] = f"{' x '.join(map(str, laid.sizes))}, {laid.others} of no place left out"
    return Attribution(enlarged(problem, np.concatenate([maps, np.zeros((len(at) - done, *maps.shape[1:]))])), notes)


def _rows(problem: Problem, rows: Array, at: Array) -> Array:
    """The share of each token in what the head reads, of some samples [n, T]; `rows` is that of samples alike."""
    name = problem.model.graph.metadata.get(LAST_INPUT)
    if name is None:
        return np.broadcast_to(rows, (len(at), len(rows)))
    marked = problem.model.feeds(problem.x[at], at)[name]
    if marked.shape[1] != len(rows):
        raise UsageError(
            f"the last of {marked.shape[1]} tokens is explained, and attention is between {len(rows)}",
            "name a position: -t CLASS@-1",
        )
    return marked.astype(np.float64)


def _outputs(problem: Problem, at: Array, units: Sequence[Unit], sloped: bool) -> dict[str, Array]:
    """Attention weights "activation/UNIT" of some samples, and with `sloped` the gradients of the score by them."""
    x = problem.x[at]
    if sloped:
        return problem.propagate(make_composite("gradient"), x, at, record=units, activations=units)
    return problem.model.outputs(x, activations=units, at=at)


def _heads_first(values: Array, flipped: bool) -> Array:
    """Weights as [N, heads, queries, keys]; a row that is masked altogether attends to nothing."""
    wide = values.astype(np.float64).reshape(len(values), -1, *values.shape[-2:])
    return np.nan_to_num(np.swapaxes(wide, 2, 3) if flipped else wide, posinf=0.0, neginf=0.0)
