"""Compilation of a graph and a composite into a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..composites import Composite
from ..errors import UnsupportedError, UsageError
from ..graph import facts, heads
from ..graph.graph import Graph
from ..program.passes import dead_code
from ..program.program import Program, Seed
from ..program.rewrites import REWRITES
from ..program.trace import Trace
from ..program.value import Value, positive
from .backward_walk import BackwardWalk


def compile(
    graph: Graph,
    composite: Composite,
    *,
    output: str = "",
    explained: str = "",
    mode: str = "index",
    targets: int | None = None,
    record: Sequence[str] = (),
    activations: Sequence[str] = (),
    conditions: Mapping[str, Sequence[int]] | None = None,
    ledger: bool = False,
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
        record: Paths of modules whose result's relevance becomes an output.
        activations: Paths of modules whose result becomes an output.
        conditions: Channels by path of a module; of its result's relevance only these channels pass (concept
            relevance).
        ledger: Add the outputs that notes["ledger"] lists (`LedgerEntry`).
        rewrites: The rewrites that are on, of `REWRITES`.

    Returns:
        A program with the outputs "relevance", [N, *input] or [T, N, *input]; "logits" and "scores", tensors of the
        forward pass; "record/PATH", [N, *result] or [T, N, *result]; "activation/PATH", [N, *result]; and with
        `ledger` "ledger/NODE/COLUMN", [N] or [T, N].

    Raises:
        UnsupportedError: A layer on the way has no rule, or the output does not depend on the input.
        UsageError: A path names no module, a channel does not exist, or the composite belongs to another model.

    References:
        Achtibat et al., From attribution maps to human-understandable explanations through concept relevance
        propagation, Nature Machine Intelligence 2023 (`conditions`).
    """
    source = explained or graph.inputs[0].name
    scores = output or graph.outputs[0].name
    logits = heads.head(graph, scores)
    _check_model(graph, composite)
    walk = BackwardWalk(graph, composite, source, Trace(rewrites, ledger), logits)
    trace = walk.trace
    walk.check(logits)
    walk.on_path.update(name for layer in walk.backward(logits) for name in layer.outputs)
    recorded = {path: walk.result_of(path, logits) for path in record}
    masks = {walk.result_of(path, logits): channels for path, channels in (conditions or {}).items()}
    with trace.at("seed"):
        seed = _seed(trace, walk.value(logits), Seed(logits, mode, targets), composite.seed)
        relevance = {logits: seed}
    outputs: dict[str, Value] = {}
    for layer in walk.backward(logits):
        arriving = relevance.pop(layer.outputs[0], None)
        if arriving is not None and layer.outputs[0] in masks:
            arriving = arriving * walk.mask(layer.outputs[0], masks[layer.outputs[0]])
        for path, tensor in recorded.items():
            if tensor == layer.outputs[0] and arriving is not None:
                outputs[f"record/{path}"] = trace.broadcast_to(arriving, graph.shapes[tensor])
        if arriving is None:
            continue
        for tensor, share in walk.step(layer, arriving):
            with trace.at(f"{layer.label}/sum"):
                relevance[tensor] = relevance[tensor] + share if tensor in relevance else share
    if source not in relevance:
        if facts.depends(graph, source, scores):
            raise UnsupportedError(
                f"no relevance reaches input {source!r} from output {scores!r}: every path leads through integers, "
                "comparisons or indices",
                "use a method that needs only the forward pass: -m occlusion",
            )
        raise UnsupportedError(f"output {scores!r} does not depend on input {source!r}", "name another output or input")
    outputs["relevance"] = trace.broadcast_to(relevance[source], graph.shapes[source])
    outputs["logits"], outputs["scores"] = walk.value(logits), walk.value(scores)
    outputs |= {f"activation/{path}": walk.value(walk.result_of(path, logits)) for path in activations}
    outputs.update(walk.ledger.columns)
    outputs = {name: _of_each_sample(trace, value, seed) for name, value in outputs.items()}
    notes = {
        "ledger": tuple(walk.ledger.plan),
        "source": source,
        "scores": scores,
        "unsupported": tuple(walk.fallbacks),
    }
    return dead_code(trace.program(outputs, targets, notes))


def forward(graph: Graph, output: str = "", activations: Sequence[str] = ()) -> Program:
    """Compile the program of the forward pass alone, for a graph of any operators.

    Args:
        graph: The model.
        output: Name of the output with the scores; the first one by default.
        activations: Paths of modules, or names of tensors, whose values become outputs.

    Returns:
        A program with the outputs "logits", "scores" and "activation/NAME", in that order.

    Raises:
        UsageError: A path names no module.
    """
    scores = output or graph.outputs[0].name
    logits = heads.head(graph, scores)
    walk = BackwardWalk(graph, Composite(()), graph.inputs[0].name, Trace(), logits)
    outputs = {"logits": walk.value(logits), "scores": walk.value(scores)}
    for name in activations:
        outputs[f"activation/{name}"] = walk.value(name if name in graph.shapes else walk.result_of(name, logits))
    return walk.trace.program(outputs, None, {"ledger": (), "scores": scores})


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


def _seed(trace: Trace, logits: Value, seed: Seed, kind: str) -> Value:
    """Return the relevance of the logits: 1, the logit or its positive part at the targets, by the composite's seed."""
    if seed.mode == "relevance":
        return trace.seed(seed, logits.shape)
    chosen = trace.seed(seed, logits.shape)
    if kind == "one":
        return chosen
    return chosen * (positive(logits) if kind == "positive logit" else logits)
