"""Compilation of a graph and a composite into a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..composites import Composite
from ..errors import UnsupportedError, UsageError
from ..graph import facts
from ..graph.graph import Graph, Head
from ..graph.outputs import heads
from ..graph.outputs.units import Unit, unit
from ..graph.outputs.units import layer as layer_of
from ..program.passes import dead_code
from ..program.program import Program, Seed
from ..program.rewrites import REWRITES
from ..program.trace import Trace
from ..program.value import Value
from .backward_walk import BackwardWalk
from .recording import Recorder, outputs_of, unreached
from .start_form import StartForm
from .starts import at_class, at_tensors


def compile(
    graph: Graph,
    composite: Composite,
    *,
    output: str = "",
    explained: str = "",
    mode: str = "index",
    targets: int | None = None,
    record: Sequence[str | Unit] = (),
    activations: Sequence[str | Unit] = (),
    conditions: Mapping[str, Sequence[int]] | None = None,
    ledger: bool = False,
    starts: Sequence[StartForm] = (),
    reduce: Sequence[str] = (),
    rewrites: Iterable[str] = REWRITES,
) -> Program:
    """Compile the program that computes the relevance of an input for a target of an output.

    Args:
        graph: The model.
        composite: The rule of each layer, and the seed.
        output: Name of the output with the scores; the first one by default.
        explained: Name of the input that is explained; the first one by default.
        mode: How targets are chosen: "index", "top" or "relevance" (see `Seed`).
        targets: T, the length of the target axis; None without one.
        record: Units (`graph.outputs.units`) whose relevance becomes an output.
        activations: Units whose activation becomes an output.
        conditions: Channels by the name of a layer; of its result's relevance only these channels pass (concept
            relevance).
        ledger: Add the outputs that notes["ledger"] lists (`LedgerEntry`).
        starts: Where relevance starts in place of the scores; notes["starts"] has the names of their seeds. Nothing
            behind them is computed.
        reduce: What of each unit of `record` and `activations` becomes an output: one number of each of its channels
            (`recording.REDUCTIONS`), in "record/UNIT/sum" and its like [N, channels]; () for all values.
        rewrites: The rewrites that are on, of `REWRITES`.

    Returns:
        A program with the outputs "relevance", [N, *input] or [T, N, *input]; "logits", "scores" and, where the head
        has one, "ranking", tensors of the forward pass, or with `starts` "value/K" [N], of which the K-th relevance is
        the gradient; "record/UNIT", [N, *unit] or [T, N, *unit]; "activation/UNIT", [N, *unit]; and with `ledger`
        "ledger/NODE/COLUMN", [N] or [T, N].

    Raises:
        UnsupportedError: A layer on the way has no rule, or the output does not depend on the input.
        UsageError: There is no such unit, it lies on no path, or the composite belongs to another model.

    References:
        Achtibat et al., From attribution maps to human-understandable explanations through concept relevance
        propagation, Nature Machine Intelligence 2023 (`conditions`).
    """
    source = explained or graph.inputs[0].name
    scores = output or graph.outputs[0].name
    head = heads.head_of(graph, scores)
    _check_model(graph, composite)
    ends = [form.tensor for form in starts] or [head.start]
    # A ledger takes the sum of a whole, which is then at hand: no part of it is computed by itself.
    on = frozenset(rewrites) - {"slice"} if ledger else rewrites
    walk = BackwardWalk(graph, composite, source, Trace(on, ledger), *ends)
    trace = walk.trace
    walk.check(*ends)
    walk.on_path.update(name for layer in walk.backward(*ends) for name in layer.outputs)
    recorder = Recorder.of(walk, record, reduce)
    masks = {walk.whole(found.tensor): (found, channels) for found, channels in _conditions(graph, conditions)}
    with trace.at("seed"):
        if starts:
            begun = at_tensors(walk, starts, composite)
        else:
            begun = at_class(walk, head, Seed(head.ranking or head.logits, mode, targets), composite.seed)
    reached = _propagate(walk, ends, begun.relevance, masks, recorder)
    if reached is None:
        raise _unreached(graph, source, ends if starts else [scores])
    outputs = {**recorder.found, "relevance": trace.broadcast_to(reached, graph.shapes[source])}
    outputs |= begun.outputs if starts else _scored(walk, head, scores)
    outputs |= _activations(walk, activations, reduce)
    outputs.update(walk.ledger.columns)
    outputs = {name: _of_each_sample(trace, value, begun.seed) for name, value in outputs.items()}
    notes = {
        "ledger": tuple(walk.ledger.plan),
        "source": source,
        "scores": scores,
        "starts": begun.names,
        "unsupported": tuple(walk.fallbacks),
    }
    return dead_code(trace.program(outputs, targets, notes))


def forward(
    graph: Graph, output: str = "", activations: Sequence[str | Unit] = (), reduce: Sequence[str] = ()
) -> Program:
    """Compile the program of the forward pass alone, for a graph of any operators.

    Args:
        graph: The model.
        output: Name of the output with the scores; the first one by default.
        activations: Units (`graph.outputs.units`) whose values become outputs.
        reduce: What of each, as of `compile`.

    Returns:
        A program with the outputs "logits", "scores", "ranking" where the head has one, and "activation/UNIT", in that
        order.

    Raises:
        UsageError: There is no such unit.
    """
    scores = output or graph.outputs[0].name
    head = heads.head_of(graph, scores)
    walk = BackwardWalk(graph, Composite(()), graph.inputs[0].name, Trace(), head.logits)
    outputs = _scored(walk, head, scores)
    outputs |= _activations(walk, activations, reduce)
    return walk.trace.program(outputs, None, {"ledger": (), "scores": scores})


def _propagate(
    walk: BackwardWalk,
    ends: Sequence[str],
    relevance: dict[str, Value],
    masks: Mapping[str, tuple[Unit, Sequence[int]]],
    recorder: Recorder,
) -> Value | None:
    """Take relevance from the tensors `ends` to the explained input; None where none arrives there."""
    trace, met = walk.trace, set()

    def arrived(tensor: str) -> Value | None:
        value = relevance.pop(tensor, None)
        if tensor in walk.states:
            carried = walk.carried(tensor)
            with trace.at(f"{tensor}/sum"):
                value = carried if value is None else value + carried
        if value is not None and tensor in masks:
            met.add(tensor)
            value = value * walk.mask(*masks[tensor])
        if value is not None:
            recorder.passes(tensor, value)
        return value

    for layer in walk.backward(*ends):
        arriving = arrived(layer.outputs[0])
        if arriving is None:
            continue
        for tensor, share in walk.step(layer, arriving):
            with trace.at(f"{layer.label}/sum"):
                relevance[tensor] = relevance[tensor] + share if tensor in relevance else share
    reached = arrived(walk.source)
    for tensor in list(relevance):  # further inputs
        arrived(tensor)
    recorder.check()
    for tensor in masks.keys() - met:
        raise unreached(masks[tensor][0])
    return reached


def _conditions(graph: Graph, conditions: Mapping[str, Sequence[int]] | None) -> Iterator[tuple[Unit, Sequence[int]]]:
    for word, channels in (conditions or {}).items():
        yield layer_of(graph, word), channels


def _scored(walk: BackwardWalk, head: Head, scores: str) -> dict[str, Value]:
    found = {"logits": walk.value(head.logits), "scores": walk.value(scores)}
    return found | ({"ranking": walk.value(head.ranking)} if head.ranking else {})


def _activations(walk: BackwardWalk, words: Sequence[str | Unit], reduce: Sequence[str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for asked in (unit(walk.forward, word) for word in words):
        found |= outputs_of(walk.trace, f"activation/{asked.label}", asked, walk.value(asked.tensor), reduce)
    return found


def _unreached(graph: Graph, source: str, ends: Sequence[str]) -> UnsupportedError:
    """The error where no relevance reaches the explained input."""
    scores = ", ".join(ends)
    if any(facts.depends(graph, source, end) for end in ends):
        return UnsupportedError(
            f"no relevance reaches input {source!r} from output {scores!r}: every path leads through integers, "
            "comparisons or indices",
            "use a method that needs only the forward pass: -m occlusion",
        )
    return UnsupportedError(f"output {scores!r} does not depend on input {source!r}", "name another output or input")


def _check_model(graph: Graph, composite: Composite) -> None:
    if composite.model and composite.model != graph.sha256:
        raise UsageError(
            f'the patterns of method "{composite.name}" were estimated from another model: sha256 '
            f"{composite.model[:12]}…, this one is {graph.sha256[:12]}…",
            f"estimate them again: onnxlrp patterns {graph.source or 'MODEL.onnx'} IMAGES... -o MODEL.patterns.npz",
        )


def _of_each_sample(trace: Trace, value: Value, seed: Value) -> Value:
    """Give a constant result the batch and target axes of the seed: relevance that is zero for every input has none."""
    if not value.constant:
        return value
    amount = trace.total(seed)
    zero = trace.append_map("greater", (amount, amount))
    return trace.broadcast_to(trace.reshape(zero, (1,) * len(value.shape)), value.shape)
