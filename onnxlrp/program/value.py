"""Tracing: arithmetic on a Value appends instructions to a Trace, which knows facts and takes the cheap form.

Facts of a value: its sign; `gates`, the forward tensors where whose zeros it is zero too; whether it is constant.
The rewrites use nothing else. Each is named in REWRITES and can be switched off, which must not change a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .interpret import run_linear, run_map
from .linear import Conv, LinearMap, Matmul, Pool, Reshape, Shape, Sum
from .maps import MAPS, Sign
from .program import Activation, Array, Constant, Instruction, Program, Seed

REWRITES = frozenset({"reuse", "gated", "zero", "fold", "cse", "summand", "factor"})
EAGER = 4096  # constants up to this many elements are folded while tracing, so that their sign is known


@dataclass(frozen=True, eq=False)
class Value:
    """A traced per-sample array."""

    trace: Trace
    index: int
    shape: Shape
    sign: Sign
    gates: frozenset[int]
    constant: bool
    targets: bool

    def __add__(self, other: Value | float) -> Value:
        return self.trace.map("add", self, other)

    def __radd__(self, other: float) -> Value:
        return self.trace.map("add", other, self)

    def __sub__(self, other: Value | float) -> Value:
        return self.trace.map("sub", self, other)

    def __rsub__(self, other: float) -> Value:
        return self.trace.map("sub", other, self)

    def __mul__(self, other: Value | float) -> Value:
        return self.trace.map("mul", self, other)

    def __rmul__(self, other: float) -> Value:
        return self.trace.map("mul", self, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self.trace.map("div", self, other)

    def __neg__(self) -> Value:
        return self.trace.map("neg", self)

    def __gt__(self, other: Value | float) -> Value:
        return self.trace.map("greater", self, other)

    def __lt__(self, other: Value | float) -> Value:
        return self.trace.map("greater", other, self)

    @property
    def is_zero(self) -> bool:
        """Known to be zero everywhere."""
        return self.sign == Sign.ZERO

    @property
    def nonnegative(self) -> bool:
        """Known to have no negative element."""
        return Sign.NONNEGATIVE in self.sign

    @property
    def nonpositive(self) -> bool:
        """Known to have no positive element."""
        return Sign.NONPOSITIVE in self.sign


class Trace:
    """The instructions of a program in the making."""

    def __init__(self, rewrites: Iterable[str] = REWRITES, ledger: bool = False) -> None:
        self.rewrites = frozenset(rewrites)
        self.ledger = ledger
        self.origin = ""
        self.booked: list[tuple[str, str, Value]] = []
        self._instructions: list[Instruction] = []
        self._values: list[Value] = []
        self._arrays: dict[int, Array] = {}
        self._known: dict[tuple[Any, ...], Value] = {}  # what the forward pass has computed already
        self._seen: dict[tuple[Any, ...], Value] = {}
        self._constants: dict[str, Value] = {}
        self._rectified: dict[int, Value] = {}  # z -> a where a = max(z, 0)
        self._clipped: dict[int, Value] = {}  # z -> a where a > 0 exactly where z > 0
        self._summands: dict[int, tuple[Value, Value]] = {}  # a -> (relu(a + b), b)
        self._copies: dict[int, list[tuple[_Route, int]]] = {}  # y -> [(L, x)] where y = L x and L routes

    # -- leaves

    def activation(self, tensor: str, shape: Shape, nonnegative: bool = False) -> Value:
        """Read a tensor of the forward pass."""
        sign = Sign.NONNEGATIVE if nonnegative else Sign.ANY
        return self._emit(Instruction("read", "activation", (), Activation(tensor), shape, False, False), sign)

    def weight(self, tensor: str, array: Array) -> Value:
        """Read a weight of the model, shared by name with the forward pass."""
        if tensor not in self._constants:
            self._constants[tensor] = self._constant(Constant(array, tensor))
        return self._constants[tensor]

    def constant(self, value: Array | float) -> Value:
        """An array of our own; equal small ones are one."""
        array = np.asarray(value, dtype=np.float64) if np.ndim(value) == 0 else np.asarray(value)
        if array.size > 64 and distinct(array).size > 1:
            return self._constant(Constant(array))
        key = f"\0{array.shape}{array.dtype}{distinct(array).tolist()}"
        if key not in self._constants:
            self._constants[key] = self._constant(Constant(array))
        return self._constants[key]

    def _constant(self, source: Constant) -> Value:
        instruction = Instruction("read", "constant", (), source, source.array.shape, True, False, origin=source.tensor)
        small = distinct(source.array)
        return self._append(instruction, _sign_of(small) if small.size <= EAGER else Sign.ANY, frozenset())

    def seed(self, seed: Seed, shape: Shape) -> Value:
        """The relevance that enters."""
        sign = Sign.ANY if seed.mode == "relevance" else Sign.NONNEGATIVE
        return self._emit(Instruction("read", "seed", (), seed, shape, False, seed.targets is not None), sign)

    def zeros(self, shape: Shape = ()) -> Value:
        """Nothing."""
        return self.constant(np.broadcast_to(np.zeros(()), shape))

    # -- what the forward pass is known to have computed

    def know(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None, result: Value) -> None:
        """`result` is linear(x) of the model itself: whoever asks for it again reads it."""
        operands = tuple(v.index for v in (x, weight, bias) if v is not None)
        self._known["linear", linear, operands, bias is not None] = result
        if linear.routes:
            self._copies.setdefault(result.index, []).append((_route(linear, weight), x.index))

    def know_map(self, op: str, operands: tuple[Value, ...], result: Value) -> None:
        """`result` is this elementwise map of the operands, computed by the model."""
        self._known["map", op, tuple(v.index for v in operands), 0.0] = result

    def know_rectified(self, z: Value, a: Value, exact: bool) -> None:
        """a > 0 exactly where z > 0 (Relu, Clip from 0), and if `exact` a = z there (Relu)."""
        self._clipped[z.index] = a
        if exact:
            self._rectified[z.index] = a

    def known(self, linear: LinearMap, x: Value, weight: Value | None, bias: Value | None) -> Value | None:
        """What the forward pass has for linear(x), or None."""
        operands = tuple(v.index for v in (x, weight, bias) if v is not None)
        found = self._known.get(("linear", linear, operands, bias is not None))
        return found if "reuse" in self.rewrites else None

    def know_summand(self, a: Value, z: Value, b: Value) -> None:
        """z = a + b: where only z > 0 counts, a may be had as relu(z) - b, so that its kernel stays fused."""
        if z.index in self._rectified:
            self._summands[a.index] = self._rectified[z.index], b

    # -- instructions

    def map(self, op: str, *operands: Value | float, parameter: float = 0.0) -> Value:
        """An elementwise map, in its cheapest equal form."""
        values = tuple(v if isinstance(v, Value) else self.constant(v) for v in operands)
        if op == "div" and "gated" in self.rewrites:
            values = (values[0], self._under_gate(values[1], values[0].gates))
        if op == "mul" and "summand" in self.rewrites:
            values = self._without_summands(values)
        if op == "add" and "factor" in self.rewrites and (product := self._common_factor(*values)) is not None:
            return product
        if op == "greater" and "gated" in self.rewrites:
            values = self._compared(values)
        simpler = self._simplify(op, values) if "zero" in self.rewrites else None
        if simpler is not None:
            return simpler
        if op == "stabilize":
            return self._stabilize(values[0], parameter)
        return self._map(op, values, parameter)

    def _map(self, op: str, values: tuple[Value, ...], parameter: float = 0.0) -> Value:
        row = MAPS[op]
        known = self._known.get(("map", op, tuple(v.index for v in values), parameter))
        if known is not None and "reuse" in self.rewrites:
            return known
        shape = np.broadcast_shapes(*(v.shape for v in values))
        instruction = Instruction(
            "map", op, tuple(v.index for v in values), None, shape, all(v.constant for v in values),
            any(v.targets for v in values), parameter, origin=self.origin,
        )  # fmt: skip
        return self._emit(instruction, row.sign(*(v.sign for v in values)), _gates(row.keeps, values))

    def linear(self, linear: LinearMap, x: Value, weight: Value | None = None, bias: Value | None = None) -> Value:
        """linear(x) with an optional weight (for Select: the selector) and bias."""
        if x.is_zero and bias is None and "zero" in self.rewrites:
            return self.zeros(linear.target)
        operands = tuple(v for v in (x, weight, bias) if v is not None)
        known = self.known(linear, x, weight, bias)
        if known is not None:
            return known
        signs = [v.sign for v in (x, weight) if v is not None] if not _has_selector(linear) else [x.sign]
        sign = signs[0] if len(signs) == 1 else signs[0].times(signs[1])
        gates: frozenset[int] = frozenset()
        if linear.routes:
            route = _route(linear, weight)
            gates = frozenset(
                y for y, pairs in self._copies.items() if any(known == route and i in x.gates for known, i in pairs)
            )
        return self._apply("linear", linear, operands, bias, sign, gates)

    def adjoint(self, linear: LinearMap, s: Value, weight: Value | None = None) -> Value:
        """The transpose of a linear map, applied to s."""
        if s.is_zero and "zero" in self.rewrites:
            return self.zeros(linear.source)
        if isinstance(linear, Sum) and s.shape == linear.target:
            return self.reshape(s, linear.kept)  # copies are broadcast: whoever needs them all asks `spread`
        if isinstance(linear, Pool) and linear.window.covers:
            return s * (1.0 / float(np.prod(linear.window.kernel)))
        sign = s.sign if weight is None or _has_selector(linear) else s.sign.times(weight.sign)
        gates: frozenset[int] = frozenset()
        if linear.routes:
            route = _route(linear, weight)
            gates = frozenset(x for y in s.gates for known, x in self._copies.get(y, ()) if known == route)
        operands = (s,) if weight is None else (s, weight)
        return self._apply("adjoint", linear, operands, None, sign, gates)

    def reshape(self, value: Value, shape: Shape) -> Value:
        """The same elements in another shape."""
        return value if value.shape == shape else self.linear(Reshape(value.shape, shape), value)

    def spread(self, value: Value, shape: Shape) -> Value:
        """The value at its full shape: what broadcasting left implicit, made explicit."""
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
            operands = (self.spread(x, inner), *operands[1:])
        if bias is not None:
            sign &= bias.sign
        instruction = Instruction(
            kind, linear.name, tuple(v.index for v in operands), linear, outer, all(v.constant for v in operands),
            any(v.targets for v in operands), biased=bias is not None, origin=self.origin,
        )  # fmt: skip
        return self._emit(instruction, sign, gates)

    # -- rewrites

    def _simplify(self, op: str, values: tuple[Value, ...]) -> Value | None:
        """zero parts: what adds or multiplies nothing is not computed."""
        a = values[0]
        b = values[1] if len(values) > 1 else a
        shape = np.broadcast_shapes(*(v.shape for v in values))
        if op in ("add", "sub") and b.is_zero and a.shape == shape:
            return a
        if op == "add" and a.is_zero and b.shape == shape:
            return b
        if op == "sub" and a.is_zero and b.shape == shape:
            return -b
        if (op in ("mul", "div") and a.is_zero) or (op == "mul" and b.is_zero):
            return self.zeros(shape)
        if op == "mul":
            for r, ones in ((a, b), (b, a)):
                if self.uniform(ones) == 1 and len(r.shape) == len(shape):
                    return self.spread(r, shape)
            for r, mask in ((a, b), (b, a)):
                known = self._masked(r, mask)
                if known is not None and "gated" in self.rewrites:
                    return known
        if op == "max" and b.is_zero and a.shape == shape:
            return a if a.nonnegative else self.zeros(shape) if a.nonpositive else None
        if op == "min" and b.is_zero and a.shape == shape:
            return self.zeros(shape) if a.nonnegative else a if a.nonpositive else None
        if op == "greater" and ((a.is_zero and b.nonnegative) or (b.is_zero and a.nonpositive) or (a is b)):
            return self.zeros(shape)
        if op == "neg" and a.is_zero:
            return a
        return None

    def _masked(self, r: Value, mask: Value) -> Value | None:
        """r·[a > 0] is r, and r·[z < 0] is nothing, where r is zero wherever a is."""
        step = self._instructions[mask.index]
        if step.op != "greater":
            return None
        left, right = (self._values[i] for i in step.inputs)
        if right.is_zero and left.index in r.gates and left.nonnegative:
            return r
        a = self._clipped.get(right.index)
        if left.is_zero and a is not None and a.index in r.gates:
            return self.zeros(r.shape)
        return None

    def _without_summands(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """a·s = (y - b)·s where y = relu(a + b) and s is zero wherever y is."""
        for own, other in ((0, 1), (1, 0)):
            y, b = self._summands.get(values[own].index, (None, None))
            if y is not None and b is not None and y.index in values[other].gates:
                return (y - b, values[other])
        return values

    def _common_factor(self, left: Value, right: Value) -> Value | None:
        """x·p + x·q = x·(p + q): one pass less, and the sum joins the convolution that computes q."""
        a, b = self._instructions[left.index], self._instructions[right.index]
        if not a.op == b.op == "mul" or left.shape != right.shape:
            return None
        for n, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
            if a.inputs[n] == b.inputs[m] and self._values[a.inputs[n]].shape == left.shape:
                p, q = self._values[a.inputs[1 - n]], self._values[b.inputs[1 - m]]
                return self._values[a.inputs[n]] * (p + q)
        return None

    def _compared(self, values: tuple[Value, ...]) -> tuple[Value, ...]:
        """z > 0 is a > 0 for a = relu(z): the pre-activation is not asked for."""
        left, right = values
        return (self._clipped.get(left.index, left) if right.is_zero else left, right)

    def _under_gate(self, value: Value, gates: frozenset[int]) -> Value:
        """In R / D, with R zero wherever a = relu(z) is, z in the elementwise part of D may be read as a."""
        if value.index in self._rectified:
            a = self._rectified[value.index]
            return a if a.index in gates else value
        step = self._instructions[value.index]
        if step.kind != "map" or value.constant or step.op == "where":
            return value
        old = tuple(self._values[i] for i in step.inputs)
        new = tuple(self._under_gate(v, gates) for v in old)
        if all(a is b for a, b in zip(old, new, strict=True)):
            return value
        return self.map(step.op, *new, parameter=step.parameter)

    def _stabilize(self, z: Value, epsilon: float) -> Value:
        """z + ε where the sign of z is known; then ε joins the bias of the linear map that computes z."""
        if z.nonnegative and "fold" in self.rewrites:
            return self._raised(z, epsilon) or z + epsilon
        if z.nonpositive and "fold" in self.rewrites:
            # At z = 0 every term of a sum of nonpositive terms is 0, so that the sign of ε there is free.
            return z - epsilon
        return self._map("stabilize", (z,), epsilon)

    def _raised(self, z: Value, epsilon: float) -> Value | None:
        step = self._instructions[z.index]
        if step.constant:
            return None
        operands = tuple(self._values[i] for i in step.inputs)
        if step.op == "add" and all(v.nonnegative for v in operands):
            for n, v in enumerate(operands):
                raised = self._raised(v, epsilon)
                if raised is not None:
                    return raised + operands[1 - n]
        if step.op == "max" and operands[1].is_zero and (raised := self._raised(operands[0], epsilon)) is not None:
            return self.map("max", raised, epsilon)
        if step.kind == "linear" and isinstance(step.what, Conv | Matmul):
            linear = step.what
            width = (linear.target[0],) if isinstance(linear, Conv) else linear.target[-1:]
            bias = operands[2] + epsilon if step.biased else self.constant(np.full(width, epsilon))
            return self.linear(linear, operands[0], operands[1], bias)
        return None

    # -- constants and bookkeeping

    def array(self, value: Value) -> Array:
        """The numbers of a constant value, folded when first asked for."""
        if value.index not in self._arrays:
            step = self._instructions[value.index]
            assert step.constant
            if isinstance(step.what, Constant):
                return step.what.array
            operands = [self.array(self._values[i]) for i in step.inputs]
            run = run_map if step.kind == "map" else run_linear
            self._arrays[value.index] = np.broadcast_to(run(step, operands), step.shape)
        return self._arrays[value.index]

    def leaf(self, value: Value) -> Array | None:
        """The array of a constant that is no expression, else None."""
        what = self._instructions[value.index].what
        return what.array if isinstance(what, Constant) else None

    def uniform(self, value: Value) -> float | None:
        """The number that every element of a constant leaf is, else None."""
        array = self.leaf(value)
        if array is None or distinct(array).size != 1:
            return None
        return float(distinct(array).reshape(()))

    def book(self, entry: str, relevance: Callable[[], Value]) -> None:
        """Enter relevance that goes nowhere into the ledger, if one is kept ("bias", "epsilon", "gate")."""
        if self.ledger:
            self.booked.append((self.origin, entry, self.total(relevance())))

    def total(self, value: Value) -> Value:
        """The sum over a sample, shape ()."""
        if value.is_zero or not value.shape:
            return self.zeros() if value.is_zero else value
        return self.linear(Sum(value.shape, (), tuple(range(len(value.shape)))), value)

    @contextmanager
    def at(self, origin: str) -> Iterator[None]:
        """Instructions in this block come from `origin`."""
        before, self.origin = self.origin, origin
        try:
            yield
        finally:
            self.origin = before

    def program(self, outputs: dict[str, Value], targets: int | None, notes: dict[str, Any] | None = None) -> Program:
        """What has been traced, as a program."""
        return Program(tuple(self._instructions), {name: v.index for name, v in outputs.items()}, targets, notes or {})

    def _emit(self, instruction: Instruction, sign: Sign, gates: frozenset[int] = frozenset()) -> Value:
        key = (instruction.kind, instruction.op, instruction.inputs, instruction.what, instruction.parameter,
               instruction.biased)  # fmt: skip
        if key in self._seen and "cse" in self.rewrites:
            return self._seen[key]
        value = self._append(instruction, sign, gates)
        if instruction.constant and "fold" in self.rewrites and np.prod(instruction.shape) <= EAGER:
            value = self._values[value.index] = replace(value, sign=sign | _sign_of(self.array(value)))
        self._seen[key] = value
        return value

    def _append(self, instruction: Instruction, sign: Sign, gates: frozenset[int]) -> Value:
        if instruction.op == "activation":
            gates = frozenset({len(self._instructions)})  # a tensor is zero where it is zero
        value = Value(
            self, len(self._instructions), instruction.shape, sign, gates, instruction.constant, instruction.targets
        )
        self._instructions.append(instruction)
        self._values.append(value)
        return value


_Route = tuple[LinearMap, int | None]  # a map that routes, and its selector


def _route(linear: LinearMap, selector: Value | None) -> _Route:
    return linear, None if selector is None else selector.index


def _has_selector(linear: LinearMap) -> bool:
    return linear.name == "Select"


def distinct(array: Array) -> Array:
    """The array without the copies that broadcasting made: axes of stride 0 are cut to one element."""
    return array[tuple(slice(0, 1) if stride == 0 and n > 1 else slice(None) for stride, n in zip(
        array.strides, array.shape, strict=True))]  # fmt: skip


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


def positive(x: Value) -> Value:
    """max(x, 0)."""
    return x.trace.map("max", x, 0.0)


def negative(x: Value) -> Value:
    """min(x, 0)."""
    return x.trace.map("min", x, 0.0)


def square(x: Value) -> Value:
    """x²."""
    return x.trace.map("square", x)


def one(x: Value) -> Value:
    """Ones in the shape of x."""
    return x.trace.constant(np.broadcast_to(np.ones(()), x.shape))


def stabilize(z: Value, epsilon: float = 1e-6) -> Value:
    """z + ε·sgn(z), sgn(0) = +1."""
    return z.trace.map("stabilize", z, parameter=epsilon)


def total(values: Iterable[Value]) -> Value:
    """The sum of the values that are not known to be zero."""
    terms = list(values)
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
