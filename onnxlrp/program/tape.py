"""Tape: records the instructions of a program and the facts about their values.

Results that the forward pass computes are read from it, and equal instructions are recorded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from .forward_facts import ForwardFacts
from .interpret import run_linear, run_map
from .linear import LinearMap, Permute, Pool, Reshape, Shape, Slice, Sum
from .loops import close
from .maps import MAPS, Sign
from .program import Activation, Array, Carried, Constant, Instruction, Program, Seed
from .value import Value, drop_broadcast, is_finite

BOUNDED = frozenset(
    {"greater", "exp", "tanh", "sigmoid", "erf"}
)  # maps that are finite wherever their operands are not
_MASK = 1 << 24  # elements of a value whose zeros are looked for
EAGER = 4096  # constants up to this many elements are folded while tracing, which gives their sign


class Tape(ForwardFacts):
    """The instructions recorded so far, their values, and the relevance that layers absorbed.

    Args:
        rewriting: The rewrites that are on, of `rewrites.REWRITES`.
        ledger: Record what layers absorb (`record_absorbed`).
    """

    def __init__(self, rewriting: Iterable[str] = (), ledger: bool = False) -> None:
        super().__init__()
        self.rewrites = frozenset(rewriting)
        self.ledger = ledger
        self.origin = ""
        self.absorbed: list[tuple[str, Value]] = []
        self.steps: list[Instruction] = []
        self.values: list[Value] = []
        self.rounded = False  # the forward pass rounds the result of the present layer on the way
        self.infinite: frozenset[str] = frozenset()  # tensors of the graph that may hold infinities
        self._unbounded: set[int] = set()  # the values that may, by their index
        self._arrays: dict[int, Array] = {}
        self._seen: dict[tuple[Any, ...], Value] = {}
        self._constants: dict[str, Value] = {}
        self._carries: dict[int, int] = {}  # a state of a loop -> what a step gives for it

    # -- leaves

    def activation(self, tensor: str, shape: Shape, nonnegative: bool = False) -> Value:
        """Return a tensor of the forward pass, by its name and per-sample shape."""
        sign = Sign.NONNEGATIVE if nonnegative else Sign.ANY
        value = self._emit(Instruction("read", "activation", (), Activation(tensor), shape, False, False), sign)
        if tensor in self.infinite:
            self._unbounded.add(value.index)
        return value

    def weight(self, tensor: str, array: Array) -> Value:
        """Return a weight of the model, which engines share with the forward pass by its name."""
        if tensor not in self._constants:
            self._constants[tensor] = self._constant(Constant(array, tensor))
            if tensor in self.infinite:
                self._unbounded.add(self._constants[tensor].index)
        return self._constants[tensor]

    def constant(self, value: Array | float) -> Value:
        """Return a constant; equal small ones are recorded once."""
        array = np.asarray(value, dtype=np.float64) if np.ndim(value) == 0 else np.asarray(value)
        if array.size > 64 and drop_broadcast(array).size > 1:
            return self._constant(Constant(array))
        key = f"\0{array.shape}{array.dtype}{drop_broadcast(array).tolist()}"
        if key not in self._constants:
            self._constants[key] = self._constant(Constant(array))
        return self._constants[key]

    def _constant(self, source: Constant) -> Value:
        instruction = Instruction("read", "constant", (), source, source.array.shape, True, False, origin=source.tensor)
        small = drop_broadcast(source.array)
        return self._append(instruction, _sign_of(small) if small.size <= EAGER else Sign.ANY, frozenset())

    def seed(self, seed: Seed, shape: Shape) -> Value:
        """Return the relevance of the logits, of this per-sample shape."""
        sign = Sign.ANY if seed.mode == "relevance" else Sign.NONNEGATIVE
        return self._emit(Instruction("read", "seed", (), seed, shape, False, seed.targets is not None), sign)

    def carried(self, carried: Carried, shape: Shape) -> Value:
        """Return the state of a loop that each step receives, [steps, width]; `carry` says what steps give."""
        targets = any(step.op == "seed" and step.targets for step in self.steps)
        return self._emit(
            Instruction("read", "carried", (), carried, shape, False, targets, origin=self.origin), Sign.ANY
        )

    def carry(self, state: Value, given: Value) -> None:
        """Say what each step gives the next one: `state` at a step is `given` at the step before, zero at the first.

        Args:
            state: A state of a loop (`carried`).
            given: Of the same shape; the value may depend on states of the loop, each step on its own ones.
        """
        self._carries[state.index] = self.broadcast_to(given, state.shape).index

    def zeros(self, shape: Shape = ()) -> Value:
        """Return a constant of zeros of this shape."""
        return self.constant(np.broadcast_to(np.zeros(()), shape))

    # -- instructions

    def map(self, op: str, *operands: Value | float, parameter: float = 0.0) -> Value:
        """Return an elementwise map of the operands; numbers become constants."""
        values = tuple(v if isinstance(v, Value) else self.constant(v) for v in operands)
        return self.append_map(op, values, parameter)

    def append_map(self, op: str, values: tuple[Value, ...], parameter: float = 0.0) -> Value:
        """Return an elementwise map without rewriting it, read from the forward pass where it computes it."""
        row = MAPS[op]
        computed = self.find_map(op, values, parameter)
        if computed is not None and "reuse" in self.rewrites:
            return computed
        shape = np.broadcast_shapes(*(v.shape for v in values))
        instruction = Instruction(
            "map", op, tuple(v.index for v in values), None, shape, all(v.constant for v in values),
            any(v.targets for v in values), parameter, origin=self.origin,
        )  # fmt: skip
        return self._emit(instruction, row.sign(*(v.sign for v in values)), _gates(row.keeps, values))

    def linear(self, linear: LinearMap, x: Value, weight: Value | None = None, bias: Value | None = None) -> Value:
        """Return a linear map applied to x, read from the forward pass where it computes it.

        Args:
            linear: The map.
            x: Its operand, of shape `linear.source`.
            weight: Its weight, if it has one; for Select the selector, for Take the places.
            bias: Its bias, or None.
        """
        if x.is_zero and bias is None and "zero" in self.rewrites:
            return self.zeros(linear.target)
        operands = tuple(v for v in (x, weight, bias) if v is not None)
        computed = self.reused(linear, x, weight, bias)
        if computed is not None:
            return computed
        signs = [v.sign for v in (x, weight) if v is not None] if not _has_selector(linear) else [x.sign]
        sign = signs[0] if len(signs) == 1 else signs[0].times(signs[1])
        return self._apply("linear", linear, operands, bias, sign, self.forward_gates(linear, x, weight))

    def reused(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None) -> Value | None:
        """Return the forward pass's tensor that equals linear(x), or None; None without the rewrite "reuse"."""
        return self.find_linear(linear, x, weight, bias) if "reuse" in self.rewrites else None

    def adjoint(self, linear: LinearMap, s: Value, weight: Value | None = None) -> Value:
        """Return the transpose of a linear map applied to s, of shape `linear.target`."""
        if s.is_zero and "zero" in self.rewrites:
            return self.zeros(linear.source)
        if isinstance(linear, Sum) and s.shape == linear.target:
            return self.reshape(s, linear.kept)  # copies stay implicit until `broadcast_to`
        if isinstance(linear, Pool) and linear.window.is_global:
            return s * (1.0 / float(np.prod(linear.window.kernel)))
        sign = s.sign if weight is None or _has_selector(linear) else s.sign.times(weight.sign)
        operands = (s,) if weight is None else (s, weight)
        return self._apply("adjoint", linear, operands, None, sign, self.adjoint_gates(linear, s, weight))

    def with_gates(self, value: Value, gates: frozenset[int]) -> Value:
        """Return the value with more gates: it is zero wherever one of these tensors is."""
        if gates <= value.gates:
            return value
        value = self.values[value.index] = replace(value, gates=value.gates | gates)
        return value

    def reshape(self, value: Value, shape: Shape) -> Value:
        """Return the same elements in another shape."""
        return value if value.shape == shape else self.linear(Reshape(value.shape, shape), value)

    def broadcast_to(self, value: Value, shape: Shape) -> Value:
        """Return the value with implicit broadcast copies made explicit: size-1 axes repeated to this shape."""
        if value.shape == shape:
            return value
        axes = tuple(n for n, (a, b) in enumerate(zip(value.shape, shape, strict=True)) if a != b)
        linear = Sum(shape, value.shape, axes)
        return self._apply("adjoint", linear, (value,), None, value.sign, frozenset())

    def _apply(
        self,
        kind: str,
        linear: LinearMap,
        operands: tuple[Value, ...],
        bias: Value | None,
        sign: Sign,
        gates: frozenset[int],
    ) -> Value:
        inner, outer = (linear.source, linear.target) if kind == "linear" else (linear.target, linear.source)
        x = operands[0]
        if x.shape != inner and not x.constant:
            operands = (self.broadcast_to(x, inner), *operands[1:])
        if bias is not None:
            sign &= bias.sign
        instruction = Instruction(
            kind, linear.name, tuple(v.index for v in operands), linear, outer, all(v.constant for v in operands),
            any(v.targets for v in operands), biased=bias is not None, origin=self.origin,
        )  # fmt: skip
        return self._emit(instruction, sign, gates)

    # -- constants and bookkeeping

    def array(self, value: Value) -> Array:
        """Return the array of a constant value, folded at the first call."""
        if value.index not in self._arrays:
            step = self.steps[value.index]
            assert step.constant
            if isinstance(step.what, Constant):
                return step.what.array
            operands = [self.array(self.values[i]) for i in step.inputs]
            run = run_map if step.kind == "map" else run_linear
            with np.errstate(all="ignore"):  # as engines compute; the model refuses relevance that is not finite
                self._arrays[value.index] = np.broadcast_to(run(step, operands), step.shape)
        return self._arrays[value.index]

    def leaf(self, value: Value) -> Array | None:
        """Return the array of a constant that is not an expression, or None."""
        what = self.steps[value.index].what
        return what.array if isinstance(what, Constant) else None

    def uniform(self, value: Value) -> float | None:
        """Return the number that every element of a constant leaf equals, or None."""
        array = self.leaf(value)
        if array is None or drop_broadcast(array).size != 1:
            return None
        return float(drop_broadcast(array).reshape(()))

    def columns(self, value: Value) -> tuple[int, int] | None:
        """Return the range of the last axis outside of which a value is known to be zero, or None for all of it.

        It is known of what a slice gives back to the whole, moved and reshaped; None where the range has gaps, or is no
        less than half of the axis.
        """
        moves: list[Instruction] = []
        step = self.steps[value.index]
        while isinstance(step.what, Reshape | Permute):
            moves.append(step)
            step = self.steps[step.inputs[0]]
        whole = step.what
        if step.kind != "adjoint" or not isinstance(whole, Slice) or np.prod(whole.source) > _MASK:
            return None
        inside = np.zeros(whole.source, bool)
        inside[whole.slices()] = True
        for move in reversed(moves):
            if isinstance(move.what, Permute):
                order = move.what.order
                inside = inside.transpose(order if move.kind == "linear" else np.argsort(order))
            inside = inside.reshape(move.shape)
        used = np.flatnonzero(inside.reshape(-1, inside.shape[-1]).any(axis=0))
        start, stop = int(used[0]), int(used[-1]) + 1
        narrow = stop - start == len(used) and 2 * len(used) < inside.shape[-1]
        return (start, stop) if narrow else None

    def may_be_infinite(self, value: Value) -> bool:
        """Return whether a value may hold infinite or undefined elements, by the facts about the graph."""
        return value.index in self._unbounded

    def without_infinities(self, value: Value) -> Value:
        """Return the value with 0 in place of elements that are infinite, undefined or as large."""
        kept = self.with_gates(self.map("where", is_finite(value), value, 0.0), value.gates)
        self._unbounded.discard(kept.index)
        return kept

    def record_absorbed(self, entry: str, relevance: Callable[[], Value]) -> None:
        """Record relevance that a layer absorbs and does not pass on, if a ledger is kept.

        Args:
            entry: The ledger's column: "bias", "epsilon", "gate", "coefficients" or "entropy".
            relevance: Returns the absorbed relevance; not called without a ledger.
        """
        if self.ledger:
            self.absorbed.append((entry, self.total(relevance())))

    def record_rounding(self, s: Value, z: Value, exact: Callable[[], Value]) -> None:
        """Record s·(z − exact), if a ledger is kept: what the forward pass adds to a result by rounding is a bias.

        Args:
            s: Relevance by denominator.
            z: The denominator, made of results of the forward pass.
            exact: Returns the sum that it stands for; what it records is computed anew, not read.
        """
        if self.ledger and self.rounded:
            before = self.rewrites
            self.rewrites = before - {"reuse"}
            try:
                self.absorbed.append(("bias", self.total(s * (z - exact()))))
            finally:
                self.rewrites = before

    def total(self, value: Value) -> Value:
        """Return the sum over each sample, of shape ()."""
        if value.is_zero or not value.shape:
            return self.zeros() if value.is_zero else value
        return self.sum_over(value, range(len(value.shape)), ())

    def sum_over(self, value: Value, axes: Iterable[int], shape: Shape) -> Value:
        """Return the sum over axes of each sample, of this shape: theirs are 1 in it, or left out."""
        return self.linear(Sum(value.shape, shape, tuple(axes)), value)

    def same_elements(self, value: Value) -> Value:
        """Return a value that has the same elements in another order or shape, before they were moved."""
        while isinstance((step := self.steps[value.index]).what, Reshape | Permute):
            value = self.values[step.inputs[0]]
        return value

    @contextmanager
    def at(self, origin: str) -> Iterator[None]:
        """Give the instructions recorded in this block the origin `origin`, such as "layer1.0.conv2/gamma"."""
        before, self.origin = self.origin, origin
        try:
            yield
        finally:
            self.origin = before

    def program(self, outputs: dict[str, Value], targets: int | None, notes: dict[str, Any] | None = None) -> Program:
        """Return the recorded instructions as a program with these outputs."""
        program = Program(tuple(self.steps), {name: v.index for name, v in outputs.items()}, targets, notes or {})
        return close(program, self._carries) if self._carries else program

    def _emit(self, instruction: Instruction, sign: Sign, gates: frozenset[int] = frozenset()) -> Value:
        key = (instruction.kind, instruction.op, instruction.inputs, instruction.what, instruction.parameter,
               instruction.biased)  # fmt: skip
        if key in self._seen and "cse" in self.rewrites:
            return self._seen[key]
        value = self._append(instruction, sign, gates)
        if instruction.constant and "fold" in self.rewrites and np.prod(instruction.shape) <= EAGER:
            value = self.values[value.index] = replace(value, sign=sign | _sign_of(self.array(value)))
        self._seen[key] = value
        return value

    def _append(self, instruction: Instruction, sign: Sign, gates: frozenset[int]) -> Value:
        if instruction.op == "activation":
            gates = frozenset({len(self.steps)})  # a tensor gates itself
        value = Value(self, len(self.steps), instruction.shape, sign, gates, instruction.constant, instruction.targets)
        if instruction.op not in BOUNDED and not self._unbounded.isdisjoint(instruction.inputs):
            self._unbounded.add(value.index)
        self.steps.append(instruction)
        self.values.append(value)
        return value


def _has_selector(linear: LinearMap) -> bool:
    return linear.name in ("Select", "Take")


def _sign_of(array: Array) -> Sign:
    sign = Sign.ANY
    if not array.size or float(array.min()) >= 0:
        sign |= Sign.NONNEGATIVE
    if not array.size or float(array.max()) <= 0:
        sign |= Sign.NONPOSITIVE
    return sign


def _gates(keeps: str, values: tuple[Value, ...]) -> frozenset[int]:
    live = [v.gates for v in values if not v.is_zero]
    if keeps == "none" or not live:
        return frozenset()
    if keeps == "first":
        return values[0].gates
    return frozenset.union(*live) if keeps == "any" else frozenset.intersection(*live)
