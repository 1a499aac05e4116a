"""The backward walk over a graph: what rules see of each layer, the rule that it gets, and that rule applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..composites import Composite, Matched
from ..errors import UnsupportedError, UsageError, did_you_mean
from ..graph import facts
from ..graph.graph import Graph, Layer
from ..layers import Node, build, place_of, unknown, unsupported
from ..program.op import Op
from ..program.trace import Trace
from ..program.value import Value
from ..rules import Rule
from ..rules.lrp import Pass
from .ledger_plan import LedgerPlan, name_of

_NAMED = 12  # layers that one message lists


class Walk:
    """The state of one backward walk."""

    def __init__(self, graph: Graph, composite: Composite, source: str, trace: Trace) -> None:
        self.graph, self.composite, self.source, self.trace = graph, composite, source, trace
        self.values: dict[str, Value] = {}
        self.tensors: dict[int, str] = {}
        self.nonnegative = facts.nonnegative(graph)
        self.first = facts.first_layers(graph, source)
        self.books = LedgerPlan()
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
        trial = Walk(self.graph, self.composite, self.source, Trace())
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
                    f"no rule for operator {layer.op} ({place_of(layer)}), and pass, by "
                    f"--on-unsupported, wants one operand of the result's shape",
                    "explain an output before it (--output NAME)" * (op.kind == "unknown")
                    or f"--rule '{layer.name}=gradient', or --on-unsupported gradient",
                )
            self.decided.append((layer.label, layer.op, name_of(rule)))
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
        with trace.at(f"{layer.label}/{name_of(rule)}"):
            shares = rule(op, arriving)
            if trace.ledger:
                arriving = trace.spread(arriving, self.graph.shapes[layer.outputs[0]])
                got = [
                    (share, x, self.tensors[x.index] in self.leading)
                    for x, share in zip(op.operands, shares, strict=True)
                ]
                self.books.enter(layer, rule, arriving, got, trace.booked[booked:])
        return [(self.tensors[x.index], share) for x, share in zip(op.operands, shares, strict=True)]
