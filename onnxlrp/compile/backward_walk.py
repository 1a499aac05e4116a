"""Backward walk over a graph: builds the op of each layer, chooses its rule and applies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..composites import Composite, Matched
from ..errors import UnsupportedError, UsageError
from ..graph import facts
from ..graph.graph import Graph, Layer
from ..graph.operators import PREVIOUS
from ..graph.outputs.units import Unit
from ..graph.recognition.infinities import may_be_infinite
from ..graph.recurrence import operators_of_states, state_of, states
from ..graph.roundings import through_roundings
from ..layers import Node, build, place_of, unknown, unsupported
from ..program.linear import Slice, Sum
from ..program.op import Op
from ..program.program import Carried
from ..program.trace import Trace
from ..program.value import Value
from ..rules import Rule
from ..rules.lrp import Pass
from .ledger_plan import LedgerPlan, name_of

_NAMED = 12  # layers that one message lists


class BackwardWalk:
    """The state of one backward walk.

    Args:
        graph: The model.
        composite: The composite that chooses rules.
        source: Name of the explained input.
        trace: The trace that instructions are recorded in.
        targets: Names of the tensors where the walk begins.
    """

    def __init__(self, graph: Graph, composite: Composite, source: str, trace: Trace, *targets: str) -> None:
        # A gradient is zero where a rounding clips, be it by a Hardtanh that a quantiser took into it.
        seen = through_roundings(graph, *targets, affine=not composite.is_gradient)
        self.forward, self.graph, self.rounded = graph, seen.graph, seen.rounded
        self.composite, self.source, self.trace, self.targets = composite, source, trace, targets
        trace.infinite = may_be_infinite(self.graph)
        self.values: dict[str, Value] = {}
        self.tensors: dict[int, str] = {}
        self.nonnegative = facts.nonnegative(self.graph)
        self.first = facts.first_layers(self.graph, source)
        self.ledger = LedgerPlan()
        self.on_path = {source}  # the tensors on a path from the explained input
        self.build_errors: dict[str, UnsupportedError] = {}
        self.fallbacks: list[tuple[str, str, str]] = []  # layer, operator, rule chosen by --on-unsupported
        self.states = states(self.graph)
        self._hidden = operators_of_states(self.graph)

    def value(self, tensor: str) -> Value:
        """Return the traced value of a tensor of the forward pass."""
        if tensor not in self.values:
            value = self.trace.activation(tensor, self.graph.shapes[tensor], tensor in self.nonnegative)
            self.values[tensor] = value
            self.tensors[value.index] = tensor
        return self.values[tensor]

    def backward(self, *targets: str) -> list[Layer]:
        """Return the layers between the explained input and the tensors `targets`, last first."""
        relevant = {name for target in targets for name in facts.relevant(self.graph, (self.source,), target)}
        relevant -= self._hidden
        return [layer for layer in reversed(self.graph.layers) if layer.name in relevant]

    def carried(self, tensor: str) -> Value:
        """Return the relevance that each step receives of the next one, for a tensor of the states of all steps."""
        state = self.states[tensor]
        with self.trace.at(state.loop):
            return self.trace.carried(Carried(state.loop, tensor, not state.reverse), self.graph.shapes[tensor])

    def check(self, *targets: str) -> None:
        """Check that every layer on the way to `targets` has a rule; the UnsupportedError names all that have none."""
        trial = BackwardWalk(self.forward, self.composite, self.source, Trace(), *self.targets)
        missing: dict[str, UnsupportedError] = {}
        for layer in self.backward(*targets):
            try:
                trial.rule_for_layer(layer)
            except UnsupportedError as error:
                missing[layer.name] = error
        if missing:
            first, *others = reversed(missing)
            left = [f"{layer.op} {layer.label!r}" for layer in self.graph.layers if layer.name in others]
            more = f"; nor for {', '.join(left[:_NAMED])}" if left else ""
            more += f" and {len(left) - _NAMED} more layers: inspect lists them" if len(left) > _NAMED else ""
            raise UnsupportedError(missing[first].message + more, missing[first].fix)

    def op(self, layer: Layer) -> Op:
        """Return a layer as rules see it; an unregistered operator, or form of one, has the kind "unknown"."""
        for tensor in (*layer.inputs, *layer.outputs, facts.looked_up(self.graph, layer)):
            if tensor and tensor not in self.graph.constants:
                self.value(tensor)
        node = Node(self.graph, layer, self.trace, self.values)
        with self.trace.at(layer.label):
            try:
                return replace(build(node), node=layer.name)
            except UnsupportedError as error:
                self.build_errors[layer.name] = error
                return unknown(node)

    def rule_for_layer(self, layer: Layer) -> tuple[Op, Rule]:
        """Return a layer's op and rule.

        Raises:
            UnsupportedError: It has no rule; the message names node and path, the fix an option that gives it one.
        """
        op = self.op(layer)
        match = self.match_of(layer, op.kind)
        try:
            rule = self.composite.rule_for(match)
        except UnsupportedError:
            if op.kind != "unknown":
                raise
            raise self.build_errors.get(layer.name) or unsupported(layer) from None
        if self.composite.falls_back(match):
            if isinstance(rule, Pass) and not (len(op.operands) == 1 and op.operands[0].shape == op.result.shape):
                raise UnsupportedError(
                    f"no rule for operator {layer.op} ({place_of(layer)}), and pass, by "
                    f"--on-unsupported, requires one operand of the result's shape",
                    "explain an output before it (--output NAME)" * (op.kind == "unknown")
                    or f"--rule '{layer.name}=gradient', or --on-unsupported gradient",
                )
            self.fallbacks.append((layer.label, layer.op, name_of(rule)))
        return op, rule

    def whole(self, tensor: str) -> str:
        """Return the result of the layer that a tensor is a rounded part of; the tensor itself where it is of none."""
        part = tensor
        while self.graph.producer(part) is None and self.forward.producer(part) is not None:
            readers = self.forward.consumers(part)
            if len(readers) != 1:
                return tensor
            part = readers[0].outputs[0]
        return part

    def mask(self, unit: Unit, channels: Sequence[int]) -> Value:
        """Return 1 at these channels of a tensor and 0 elsewhere."""
        wrong = [c for c in channels if not 0 <= c < unit.channels]
        if wrong or not channels:
            fix = f"name 0 to {unit.channels - 1}"
            raise UsageError(f'"{unit.label}": channel {wrong[0] if wrong else "?"} of {unit.channels}', fix)
        hot = np.zeros(unit.channels)
        hot[list(channels)] = 1
        return self.trace.constant(hot.reshape([-1 if i == unit.axis else 1 for i in range(len(unit.shape))]))

    def match_of(self, layer: Layer, kind: str) -> Matched:
        """Return a layer as the matches of composites see it."""
        return Matched(layer.op, layer.path, layer.name, kind, layer.name in self.first)

    def step(self, layer: Layer, arriving: Value) -> list[tuple[str, Value]]:
        """Apply a layer's rule.

        Args:
            layer: The layer.
            arriving: The relevance of its result.

        Returns:
            (tensor, relevance) for each operand.
        """
        if layer.op == PREVIOUS:
            return self._one_step_back(layer, arriving)
        trace = self.trace
        op, rule = self.rule_for_layer(layer)
        before = len(trace.absorbed)
        trace.rounded = layer.name in self.rounded
        with trace.at(f"{layer.label}/{name_of(rule)}"):
            shares = list(zip(op.operands, rule(op, arriving), strict=True))
            for x, share in shares:
                if x.index not in self.tensors:  # an operand that is a constant, such as the signal of a gate
                    trace.record_absorbed("bias", lambda share=share: share)  # type: ignore[misc]
            shares = [(x, share) for x, share in shares if x.index in self.tensors]
            if trace.ledger:
                arriving = trace.broadcast_to(arriving, self.graph.shapes[layer.outputs[0]])
                received = [(share, x, self.tensors[x.index] in self.on_path) for x, share in shares]
                self.ledger.add(layer, rule, arriving, received, trace.absorbed[before:])
        return [(self.tensors[x.index], share) for x, share in shares]

    def _one_step_back(self, layer: Layer, arriving: Value) -> list[tuple[str, Value]]:
        """Hand the relevance of previous states to the step before; that at the first step goes to the initial state.

        Args:
            layer: A layer PREVIOUS.
            arriving: The relevance of its result.
        """
        trace, state = self.trace, state_of(layer)
        _, rule = self.rule_for_layer(layer)
        steps, width = shape = self.graph.shapes[layer.outputs[0]]
        arriving = trace.broadcast_to(arriving, shape)
        initial, first = (layer.inputs[i] if len(layer.inputs) > i else "" for i in (1, 2))
        given = initial and initial not in self.graph.constants
        with trace.at(f"{layer.label}/{name_of(rule)}"):
            if first:
                at_first = arriving * self.value(first)
                trace.carry(self.carried(state.tensor), arriving - at_first)
                row = trace.linear(Sum(shape, (1, width), (0,)), at_first)
            else:
                trace.carry(self.carried(state.tensor), arriving)
                start = steps - 1 if state.reverse else 0
                row = trace.linear(Slice(shape, (1, width), (start, 0), (1, 1)), arriving)
            if trace.ledger:
                lost = [] if given else [("bias", trace.total(row))]
                kept = trace.total(arriving) - trace.total(row)
                received = [(kept, kept, True)]
                if given:
                    received.append((row, row, initial in self.on_path))
                self.ledger.add(layer, rule, arriving, received, lost)
        return [(initial, row)] if given else []
