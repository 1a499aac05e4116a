"""The relevance of position embeddings: what the addition of positions absorbs, place by place (PA-LRP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...composites import Composite
from ...errors import UnsupportedError, UsageError
from ...explanation.maps import spread
from ...graph.axes.places import Places, places
from ...graph.axes.tracing import trace_axes
from ...graph.graph import Array, Graph
from ...graph.outputs.units import Unit, of_tensor
from ...inputs import InputKind
from ...methods.default import ATTENTION


class _Addition(NamedTuple):
    """An addition of positions.

    Attributes:
        unit: Its result.
        constant: What is added, with an axis for the batch in front.
        epsilon: The stabiliser of its rule.
        laid: Where its tokens lie.
    """

    unit: Unit
    constant: Array
    epsilon: float
    laid: Places


class Positions(NamedTuple):
    """The additions of positions of a model, under a composite.

    Attributes:
        additions: All of them.
        kind: The kind of the input.
    """

    additions: tuple[_Addition, ...]
    kind: InputKind

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units whose relevance and activation are needed."""
        return tuple(one.unit for one in self.additions)

    def relevance(self, outputs: Mapping[str, Array], logit: Array) -> tuple[Array, dict[str, Any]]:
        """Compute R_p = p ⊙ R / stabilize(x + p), in the shape of the input, and notes.

        Each place of the tokens spreads evenly over the part of the input that it stands for, so that ΣR is the
        relevance of the positions of all places.

        Args:
            outputs: "record/UNIT" [N, …] or [T, N, …] and "activation/UNIT" [N, …] of every unit.
            logit: What relevance started with, [N] or [T, N].

        Returns:
            The relevance of the positions of places, and as shares of the logit that of all positions, and that of
            tokens of no place, as a class token: their embedding and their position.
        """
        total = np.zeros(logit.shape)
        others = np.zeros(logit.shape)
        heat: Array = np.zeros(())
        for one in self.additions:
            arrived = outputs[f"record/{one.unit.label}"].astype(np.float64)
            shape = logit.shape
            z = outputs[f"activation/{one.unit.label}"].astype(np.float64)
            own = one.constant * arrived / (z + np.where(z < 0, -one.epsilon, one.epsilon))
            own = own.reshape(-1, *one.unit.shape)
            whole = one.laid.maps(own).sum(axis=1)
            heat = heat + whole
            total += own.reshape(*shape, -1).sum(axis=-1)
            all_tokens = arrived.reshape(*shape, -1).sum(axis=-1)
            placed = one.laid.maps(arrived.reshape(-1, *one.unit.shape))
            if one.laid.others:
                others += all_tokens - placed.reshape(*shape, -1).sum(axis=-1)
        share = np.divide(1.0, logit, out=np.zeros(logit.shape), where=logit != 0)
        notes: dict[str, Any] = {"share of positions": total * share}
        if any(one.laid.others for one in self.additions):
            notes["share of the class token"] = others * share
        made = spread(heat, self.kind)
        return made.reshape(*logit.shape, *self.kind.shape), notes


def positions_of(graph: Graph, kind: InputKind, composite: Composite) -> Positions:
    """Find the additions of positions of a model.

    Args:
        graph: The graph, its explained input first.
        kind: The kind of this input.
        composite: The rules.

    Raises:
        UnsupportedError: No constant that differs from place to place is added to tokens of the input's places.
        UsageError: The composite gives gradients, or the rule of an addition gives positions no relevance.
    """
    traced = trace_axes(graph, graph.inputs[0])
    found = []
    from ...compile import rules_of  # positions are seldom asked for

    for layer, matched, rule in rules_of(graph, composite):
        if matched.kind != "position" or layer.op != "Add":
            continue
        result = layer.outputs[0]
        laid = places(traced.get(result, ()), kind.spatial_axes or tuple(range(len(kind.shape))))
        if laid is None:
            continue
        if composite.seed == "one":
            raise UsageError(
                f"{composite.name} gives gradients, and positions no share of the logit", f"take -m {ATTENTION}"
            )
        name = str(getattr(rule, "name", ""))
        if name not in ("epsilon", "zero"):
            raise UsageError(
                f"under {composite.name} the rule {name or 'of no name'} of {layer.label} gives positions no relevance",
                f"take -m {ATTENTION}, or --rule 'position=epsilon'",
            )
        added = sum(graph.constants[n].astype(np.float64) for n in layer.inputs if n in graph.constants)
        found.append(_Addition(of_tensor(graph, result), np.asarray(added), getattr(rule, "epsilon", 1e-9), laid))
    if not found:
        raise UnsupportedError(
            "the model adds no position embeddings to tokens: no constant that differs from place to place",
            "leave out --positions",
        )
    return Positions(tuple(found), kind)
