"""Graph + Composite → Program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..composites import Composite
from ..errors import UnsupportedError, UsageError
from ..graph import facts
from ..graph.graph import Graph
from ..program.passes import dead_code
from ..program.program import Program, Seed
from ..program.rewrites import REWRITES
from ..program.trace import Trace
from ..program.value import Value, positive
from .backward_walk import Walk


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
    """The program that computes the relevance of input `explained` for a target of `output`.

    Its outputs: "relevance", in the input's shape; "logits" and "scores", tensors of the forward pass; "record/PATH"
    for each of `record`, the relevance of that module's result; "activation/PATH" for each of `activations`, the result
    itself; with `ledger`, what notes["ledger"] lists. `conditions` let relevance through these channels of a module's
    result alone (Achtibat et al. 2023).
    """
    source = explained or graph.inputs[0].name
    scores = output or graph.outputs[0].name
    logits = facts.head(graph, scores)
    _check_model(graph, composite)
    walk = Walk(graph, composite, source, Trace(rewrites, ledger))
    trace = walk.trace
    walk.check(logits)
    walk.leading.update(name for layer in walk.backward(logits) for name in layer.outputs)
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
                outputs[f"record/{path}"] = trace.spread(arriving, graph.shapes[tensor])
        if arriving is None:
            continue
        for tensor, share in walk.step(layer, arriving):
            with trace.at(f"{layer.label}/sum"):
                relevance[tensor] = relevance[tensor] + share if tensor in relevance else share
    if source not in relevance:
        raise UnsupportedError(f"output {scores!r} does not depend on input {source!r}", "name another output or input")
    outputs["relevance"] = trace.spread(relevance[source], graph.shapes[source])
    outputs["logits"], outputs["scores"] = walk.value(logits), walk.value(scores)
    outputs |= {f"activation/{path}": walk.value(walk.result_of(path, logits)) for path in activations}
    outputs.update(walk.books.columns)
    outputs = {name: _of_each_sample(trace, value, seed) for name, value in outputs.items()}
    notes = {"ledger": tuple(walk.books.plan), "source": source, "scores": scores, "unsupported": tuple(walk.decided)}
    return dead_code(trace.program(outputs, targets, notes))


def forward(graph: Graph, output: str = "", activations: Sequence[str] = ()) -> Program:
    """The program that propagates nothing: its outputs are "logits", "scores" and "activation/NAME" for each of
    `activations`, paths of modules or names of tensors, whatever operators the graph has."""
    scores = output or graph.outputs[0].name
    logits = facts.head(graph, scores)
    walk = Walk(graph, Composite(()), graph.inputs[0].name, Trace())
    outputs = {"logits": walk.value(logits), "scores": walk.value(scores)}
    for name in activations:
        outputs[f"activation/{name}"] = walk.value(name if name in graph.shapes else walk.result_of(name, logits))
    return walk.trace.program(outputs, None, {"ledger": (), "scores": scores})


def _check_model(graph: Graph, composite: Composite) -> None:
    if composite.model and composite.model != graph.sha256:
        raise UsageError(
            f'what "{composite.name}" is given was estimated from another model: sha256 {composite.model[:12]}…, '
            f"this one is {graph.sha256[:12]}…",
            f"estimate it again: onnxlrp patterns {graph.source or 'MODEL.onnx'} IMAGES... -o MODEL.patterns.npz",
        )


def _of_each_sample(trace: Trace, value: Value, seed: Value) -> Value:
    """A result with the seed's batch and targets: relevance that is zero whatever the input is has none of its own."""
    if not value.constant:
        return value
    amount = trace.total(seed)
    zero = trace.append_map("greater", (amount, amount))
    return trace.spread(trace.reshape(zero, (1,) * len(value.shape)), value.shape)


def _seed(trace: Trace, logits: Value, seed: Seed, kind: str) -> Value:
    if seed.mode == "relevance":
        return trace.seed(seed, logits.shape)
    chosen = trace.seed(seed, logits.shape)
    if kind == "one":
        return chosen
    return chosen * (positive(logits) if kind == "positive logit" else logits)
