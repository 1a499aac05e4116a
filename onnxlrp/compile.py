"""The backward walk: Graph + Composite → Program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .composites import Composite, Matched
from .errors import UnsupportedError, UsageError, did_you_mean
from .graph import facts
from .graph.graph import Graph, Layer
from .layers import Node, build, unknown, unsupported
from .program.linear import Conv, Matmul
from .program.op import Op
from .program.passes import dead_code
from .program.program import Array, Program, Seed
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
    walk = _Walk(graph, composite, source, Trace(rewrites, ledger))
    trace = walk.trace
    walk.check(logits)
    walk.leading.update(name for layer in walk.backward(logits) for name in layer.outputs)
    recorded = {path: walk.result_of(path, logits) for path in record}
    masks = {walk.result_of(path, logits): channels for path, channels in (conditions or {}).items()}
    with trace.at("seed"):
        seed = _seed(walk.value(logits), Seed(logits, mode, targets), composite.seed)
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
    outputs.update(walk.columns)
    outputs = {name: _of_each_sample(value, seed) for name, value in outputs.items()}
    notes = {"ledger": tuple(walk.plan), "source": source, "scores": scores, "unsupported": tuple(walk.decided)}
    return dead_code(trace.program(outputs, targets, notes))


def forward(graph: Graph, output: str = "", activations: Sequence[str] = ()) -> Program:
    """The program that propagates nothing: its outputs are "logits", "scores" and "activation/NAME" for each of
    `activations`, paths of modules or names of tensors, whatever operators the graph has."""
    scores = output or graph.outputs[0].name
    logits = facts.head(graph, scores)
    walk = _Walk(graph, Composite(()), graph.inputs[0].name, Trace())
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


def _of_each_sample(value: Value, seed: Value) -> Value:
    """A result with the seed's batch and targets: relevance that is zero whatever the input is has none of its own."""
    if not value.constant:
        return value
    trace = value.trace
    amount = trace.total(seed)
    zero = trace.append_map("greater", (amount, amount))
    return trace.spread(trace.reshape(zero, (1,) * len(value.shape)), value.shape)


def _seed(logits: Value, seed: Seed, kind: str) -> Value:
    if seed.mode == "relevance":
        return logits.trace.seed(seed, logits.shape)
    chosen = logits.trace.seed(seed, logits.shape)
    if kind == "one":
        return chosen
    return chosen * (positive(logits) if kind == "positive logit" else logits)


_NAMED = 12  # layers that one message lists


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
        self.leading = {source}  # the tensors on a path from the explained input
        self.refused: dict[str, UnsupportedError] = {}
        self.decided: list[tuple[str, str, str]] = []  # layer, operator and rule where --on-unsupported chose it

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
        """Every layer on the way has a rule; all that have none are named at once."""
        trial = _Walk(self.graph, self.composite, self.source, Trace())
        missing: dict[str, UnsupportedError] = {}
        for layer in self.backward(target):
            try:
                trial.answer(layer)
            except UnsupportedError as error:
                missing[layer.name] = error
        if missing:
            first, *others = reversed(missing)
            left = [f"{layer.op} {layer.label!r}" for layer in self.graph.layers if layer.name in others]
            more = f"; nor for {', '.join(left[:_NAMED])}" if left else ""
            more += f" and {len(left) - _NAMED} more layers: inspect lists them" if len(left) > _NAMED else ""
            raise UnsupportedError(missing[first].message + more, missing[first].fix)

    def op(self, layer: Layer) -> Op:
        """What rules see of a layer; one that nobody has taught us, or in this form, is of kind "unknown"."""
        for tensor in (*layer.inputs, *layer.outputs):
            if tensor and tensor not in self.graph.constants:
                self.value(tensor)
        node = Node(self.graph, layer, self.trace, self.values)
        with self.trace.at(layer.label):
            try:
                return replace(build(node), node=layer.name)
            except UnsupportedError as error:
                self.refused[layer.name] = error
                return unknown(node)

    def answer(self, layer: Layer) -> tuple[Op, Rule]:
        """A layer and the rule that it gets. Raises UnsupportedError, naming node, path and what decides it."""
        op = self.op(layer)
        seen = self.matched(layer, op.kind)
        try:
            rule = self.composite.rule_for(seen)
        except UnsupportedError:
            if op.kind != "unknown":
                raise
            raise self.refused.get(layer.name) or unsupported(layer) from None
        if self.composite.falls_back(seen):
            if isinstance(rule, Pass) and not (len(op.operands) == 1 and op.operands[0].shape == op.result.shape):
                raise UnsupportedError(
                    f"no rule for operator {layer.op} (node {layer.name!r}, path {layer.path or '?'!r}), and pass, by "
                    f"--on-unsupported, wants one operand of the result's shape",
                    "explain an output before it (--output NAME)" * (op.kind == "unknown")
                    or f"--rule '{layer.name}=gradient', or --on-unsupported gradient",
                )
            self.decided.append((layer.label, layer.op, _name(rule)))
        return op, rule

    def result_of(self, path: str, target: str) -> str:
        """The tensor that the module at `path` returns: the output of its last layer."""
        for layer in self.backward(target):
            if layer.path == path or layer.path.startswith(path + ".") or layer.name == path:
                return layer.outputs[0]
        paths = {layer.label for layer in self.backward(target)}
        raise UsageError(f'no layer has the path "{path}"', did_you_mean(path, paths))

    def mask(self, tensor: str, channels: Sequence[int]) -> Value:
        """1 at these channels of a tensor, else 0; channels are the first axis of a map, the last of tokens."""
        shape = self.graph.shapes[tensor]
        axis = 1 if len(shape) == 2 else 0
        wrong = [c for c in channels if not 0 <= c < shape[axis]]
        if wrong or not channels:
            raise UsageError(f"channel {wrong[0] if wrong else '?'} of {shape[axis]}", f"name 0 to {shape[axis] - 1}")
        hot = np.zeros(shape[axis])
        hot[list(channels)] = 1
        return self.trace.constant(hot.reshape([-1 if i == axis else 1 for i in range(len(shape))]))

    def matched(self, layer: Layer, kind: str) -> Matched:
        return Matched(layer.op, layer.path, layer.name, kind, layer.name in self.first)

    def step(self, layer: Layer, arriving: Value) -> list[tuple[str, Value]]:
        """One layer: its rule applied, the shares of the operands that lead to the explained input."""
        trace = self.trace
        op, rule = self.answer(layer)
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
        lost = [
            got for got, x in zip(inputs, operands, strict=True)
            if self.tensors[x.index] not in self.leading and not got.is_zero
        ]  # fmt: skip
        if lost:
            entries["others"] = total(lost)
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


@dataclass(frozen=True, eq=False)
class Weighted:
    """A linear layer with one weight: result = linear(operand) + bias, by the names of tensors."""

    node: str
    label: str
    operand: str
    result: str
    linear: Conv | Matmul
    weight: Array


def weighted(graph: Graph, explained: str = "", output: str = "") -> tuple[list[Weighted], list[Layer]]:
    """For patterns: the Conv, Gemm and MatMul layers on the way, in order, and the linear layers of other forms."""
    walk = _Walk(graph, Composite(()), explained or graph.inputs[0].name, Trace())
    found: list[Weighted] = []
    others: list[Layer] = []
    for layer in reversed(walk.backward(facts.head(graph, output or graph.outputs[0].name))):
        op = walk.op(layer)
        if op.kind not in ("convolution", "dense"):
            continue
        if layer.op in ("Conv", "Gemm", "MatMul") and len(op.parts) == 1:
            (affine, x), linear = op.parts[0], op.parts[0][0].linear
            if isinstance(linear, Conv | Matmul) and affine.weight is not None and x.index in walk.tensors:
                array = walk.trace.array(affine.weight)
                operand = walk.tensors[x.index]
                found.append(Weighted(layer.name, layer.label, operand, layer.outputs[0], linear, array))
                continue
        others.append(layer)
    return found, others


def rules_of(
    graph: Graph, composite: Composite, explained: str = "", output: str = ""
) -> list[tuple[Layer, Matched, Rule | None]]:
    """For `inspect`: each layer on the way, what a match sees of it, and the rule it gets, None without one."""
    walk = _Walk(graph, composite, explained or graph.inputs[0].name, Trace())
    rows: list[tuple[Layer, Matched, Rule | None]] = []
    for layer in reversed(walk.backward(facts.head(graph, output or graph.outputs[0].name))):
        try:
            op, rule = walk.answer(layer)
            rows.append((layer, walk.matched(layer, op.kind), rule))
        except UnsupportedError:
            rows.append((layer, walk.matched(layer, walk.op(layer).kind), None))
    return rows
