"""Where relevance starts: at the logits of a class, at a unit, or at several tensors of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..composites import Composite
from ..graph import facts
from ..graph.graph import Head
from ..graph.names import unique_name
from ..program.program import Seed
from ..program.value import Value, positive, stabilize
from .backward_walk import BackwardWalk
from .start_form import StartForm


@dataclass(eq=False)
class Starts:
    """The relevance that a walk starts with.

    Attributes:
        relevance: By tensor.
        outputs: "value/K" of the K-th start: what its relevance is the gradient of, one number a sample.
        seed: Any of the seeds, which have the batch and target axes of the program.
        names: For each start the names of the seeds that hold its values and its weight, "" without one.
    """

    relevance: dict[str, Value]
    seed: Value
    outputs: dict[str, Value] = field(default_factory=dict)
    names: tuple[tuple[str, str], ...] = ()


def at_class(walk: BackwardWalk, head: Head, seed: Seed, kind: str) -> Starts:
    """Start at the logits: 1, the logit or its positive part at the targets, by the composite's seed; or at a unit.

    A unit is a sum s = Σ w ⊙ a over the tensor a where its relevance starts: w for gradients, else w ⊙ a; of relevance
    r that a run is given, r w ⊙ a / s.

    Args:
        walk: The walk.
        head: The head of the explained output.
        seed: How targets are chosen.
        kind: `Composite.seed`.
    """
    trace, logits = walk.trace, walk.value(head.logits)
    chosen = trace.seed(seed, logits.shape)
    if not head.unit:
        given = seed.mode == "relevance" or kind == "one"
        return Starts({head.logits: chosen if given else chosen * _part(logits, kind)}, chosen)
    if seed.mode == "relevance" and kind != "one":
        weights = _weights(walk, head, chosen / stabilize(logits))
    else:
        weights = _weights(walk, head, chosen)
    return Starts({head.unit: weights if kind == "one" else weights * _part(walk.value(head.unit), kind)}, chosen)


def at_tensors(walk: BackwardWalk, forms: Sequence[StartForm], composite: Composite) -> Starts:
    """Start at several tensors: the relevance of each is the sum of what its starts give it.

    Args:
        walk: The walk.
        forms: The starts, one or more.
        composite: Says by its seed what the relevance of an activation is.
    """
    trace, taken = walk.trace, walk.graph.shapes.__contains__
    relevance: dict[str, Value] = {}
    values: dict[str, Value] = {}
    names: list[tuple[str, str]] = []
    first: Value | None = None
    for number, form in enumerate(forms):
        name = unique_name(f"start/{number}", taken)
        weight_name = unique_name(f"start/{number}/weight", taken) if form.weighted else ""
        names.append((name, weight_name))
        a = walk.value(form.tensor)
        given = trace.seed(Seed(form.tensor, "relevance", None, name), form.shape)
        weight: Value | float = 1.0
        if form.weighted:
            weight = trace.seed(Seed(form.tensor, "relevance", None, weight_name), (1,) * len(form.shape))
        first = given if first is None else first
        if form.mode == "difference":
            distance = a - given
            start = distance * weight if form.weighted else distance
            values[f"value/{number}"] = trace.total(start * distance) * 0.5
        else:
            plain = form.mode == "seed" or composite.seed == "one"
            start = given if plain else given * _part(a, composite.seed)
            values[f"value/{number}"] = trace.total(given * a)
        relevance[form.tensor] = relevance[form.tensor] + start if form.tensor in relevance else start
    assert first is not None
    return Starts(relevance, first, values, tuple(names))


def _part(activation: Value, kind: str) -> Value:
    return positive(activation) if kind == "positive logit" else activation


def _weights(walk: BackwardWalk, head: Head, relevance: Value) -> Value:
    """The gradient of the score by the tensor of a unit, times its relevance: through the sum behind the tensor."""
    behind = facts.relevant(walk.graph, (head.unit,), head.logits, states=False)
    found = {head.logits: relevance}
    for layer in reversed([layer for layer in walk.graph.layers if layer.name in behind]):
        op, arriving = walk.op(layer), found.pop(layer.outputs[0])
        for operand, share in zip(op.operands, op.vjp(arriving), strict=True):
            tensor = walk.tensors[operand.index]
            before = walk.graph.producer(tensor)
            if tensor == head.unit or (before is not None and before.name in behind):  # else a mask, or a count
                found[tensor] = found[tensor] + share if tensor in found else share
    return found[head.unit]
