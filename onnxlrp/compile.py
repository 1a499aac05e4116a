"""The backward walk: Graph + Composite → Program."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .composites import Composite, Matched
from .errors import UnsupportedError, UsageError, did_you_mean
from .graph import facts
from .graph.graph import Graph, Layer
from .layers import Node, build, registry
from .program.passes import dead_code
from .program.program import Program, Seed
from .program.rewrites import REWRITES
from .program.trace import Trace
from .program.value import Value, positive, total
from .rules import Rule
from .rules.lrp import Pass


@dataclass(frozen=True)
class Entry:
    """A line of the ledger's plan: which program outputs hold what of one layer."""

    node: str
    layer: str
    op: str
    rule: str
    conserves: bool
    columns: tuple[str, ...]


def compile(
    graph: Graph,
    composite: Composite,
    *,
    output: str = "",
    explained: str = "",
    mode: str = "index",
    targets: int | None = None,
    record: Sequence[str] = (),
    ledger: bool = False,
    rewrites: Iterable[str] = REWRITES,
) -> Program:
    """The program that computes the relevance of input `explained` for a target of `output`.

    Its outputs: "relevance", in the input's shape; "logits" and "scores", tensors of the forward pass; "record/PATH"
    for each of `record`, the relevance of that module's result; with `ledger`, what notes["ledger"] lists.
    """
    source = explained or graph.inputs[0].name
    scores = output or graph.outputs[0].name
    logits = facts.head(graph, scores)
    walk = _Walk(graph, composite, source, Trace(rewrites, ledger))
    trace = walk.trace
    walk.check(logits)
    recorded = {path: walk.result_of(path, logits) for path in record}
    with trace.at("seed"):
        relevance = {logits: _seed(walk.value(logits), Seed(logits, mode, targets), composite.seed)}
    outputs: dict[str, Value] = {}
    for layer in walk.backward(logits):
        arriving = relevance.pop(layer.outputs[0], None)
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
    outputs.update(walk.columns)
    plan = tuple(walk.plan)
    return dead_code(trace.program(outputs, targets, {"ledger": plan, "source": source, "scores": scores}))


def _seed(logits: Value, seed: Seed, kind: str) -> Value:
    if seed.mode == "relevance":
        return logits.trace.seed(seed, logits.shape)
    chosen = logits.trace.seed(seed, logits.shape)
    if kind == "one":
        return chosen
    return chosen * (positive(logits) if kind == "positive logit" else logits)


class _Walk:
    """The state of one backward walk."""

    def __init__(self, graph: Graph, composite: Composite, source: str, trace: Trace) -> None:
        self.graph, self.composite, self.source, self.trace = graph, composite, source, trace
        self.values: dict[str, Value] = {}
        self.tensors: dict[int, str] = {}
        self.nonnegative = facts.nonnegative(graph)
        self.first = facts.first_layers(graph, source)
        self.plan: list[Entry] = []
        self.columns: dict[str, Value] = {}

    def value(self, tensor: str) -> Value:
        if tensor not in self.values:
            value = self.trace.activation(tensor, self.graph.shapes[tensor], tensor in self.nonnegative)
            self.values[tensor] = value
            self.tensors[value.index] = tensor
        return self.values[tensor]

    def backward(self, target: str) -> list[Layer]:
        """The layers between the explained input and the target, last first."""
        relevant = facts.relevant(self.graph, (self.source,), target)
        return [layer for layer in reversed(self.graph.layers) if layer.name in relevant]

    def check(self, target: str) -> None:
        """Every operator on the way has a rule; all that have none are named at once."""
        missing = {layer.op: layer for layer in self.backward(target) if not self._answered(layer)}
        if missing:
            nodes = ", ".join(f"{op} (node {layer.label!r})" for op, layer in sorted(missing.items()))
            raise UnsupportedError(
                f"no rule for {nodes}",
                "inspect lists every layer; decide yourself with "
                f"--rule '{next(iter(missing.values())).name}=pass' where relevance may pass unchanged",
            )

    def _answered(self, layer: Layer) -> bool:
        if layer.op in registry():
            return True
        try:
            return isinstance(self.composite.rule_for(self.matched(layer, "unknown")), Pass)
        except UnsupportedError:
            return False

    def result_of(self, path: str, target: str) -> str:
        """The tensor that the module at `path` returns: the output of its last layer."""
        for layer in self.backward(target):
            if layer.path == path or layer.path.startswith(path + ".") or layer.name == path:
                return layer.outputs[0]
        paths = {layer.label for layer in self.backward(target)}
        raise UsageError(f'no layer has the path "{path}"', did_you_mean(path, paths))

    def matched(self, layer: Layer, kind: str) -> Matched:
        return Matched(layer.op, layer.path, layer.name, kind, layer.name in self.first)

    def step(self, layer: Layer, arriving: Value) -> list[tuple[str, Value]]:
        """One layer: its rule applied, the shares of the operands that lead to the explained input."""
        for tensor in (*layer.inputs, *layer.outputs):
            if tensor and tensor not in self.graph.constants:
                self.value(tensor)
        trace = self.trace
        with trace.at(layer.label):
            op = build(Node(self.graph, layer, trace, self.values))
        rule = self.composite.rule_for(self.matched(layer, op.kind))
        booked = len(trace.booked)
        with trace.at(f"{layer.label}/{_name(rule)}"):
            shares = rule(op, arriving)
            if trace.ledger:
                self._enter(layer, rule, arriving, shares, op.operands, trace.booked[booked:])
        return [(self.tensors[x.index], share) for x, share in zip(op.operands, shares, strict=True)]

    def _enter(
        self,
        layer: Layer,
        rule: Rule,
        arriving: Value,
        shares: tuple[Value, ...],
        operands: tuple[Value, ...],
        booked: list[tuple[str, Value]],
    ) -> None:
        trace = self.trace
        arriving = trace.spread(arriving, self.graph.shapes[layer.outputs[0]])
        entries = {"out": trace.total(arriving), "scale": trace.total(trace.map("max", arriving, -arriving))}
        inputs = [trace.total(trace.spread(share, x.shape)) for share, x in zip(shares, operands, strict=True)]
        entries["in"] = total(inputs)
        for column in ("bias", "epsilon", "gate"):
            amounts = [value for entry, value in booked if entry == column]
            if amounts:
                entries[column] = total(amounts)
        self.plan.append(
            Entry(
                layer.name, layer.label, layer.op, _name(rule), bool(getattr(rule, "conserves", True)), tuple(entries)
            )
        )
        for column, value in entries.items():
            self.columns[f"ledger/{layer.name}/{column}"] = value


def _name(rule: Rule) -> str:
    return str(getattr(rule, "name", type(rule).__name__))


def rules_of(
    graph: Graph, composite: Composite, explained: str = "", output: str = ""
) -> list[tuple[Layer, str, Rule | None]]:
    """For `inspect`: each layer on the way, its kind and the rule it gets; None for an operator nobody taught us."""
    source = explained or graph.inputs[0].name
    walk = _Walk(graph, composite, source, Trace())
    rows: list[tuple[Layer, str, Rule | None]] = []
    for layer in reversed(walk.backward(facts.head(graph, output or graph.outputs[0].name))):
        row = registry().get(layer.op)
        if row is None:
            rows.append((layer, "", None))
            continue
        for tensor in (*layer.inputs, *layer.outputs):
            if tensor and tensor not in graph.constants:
                walk.value(tensor)
        try:
            kind = build(Node(graph, layer, walk.trace, walk.values)).kind
            rows.append((layer, kind, composite.rule_for(walk.matched(layer, kind))))
        except UnsupportedError:
            rows.append((layer, row.kind, None))
    return rows
