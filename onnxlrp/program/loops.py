"""Loops: what is traced for all steps at once, with states that go round, becomes a loop over single steps.

Only what lies on the circle from a state back to itself runs step by step: what a step needs of the forward pass is
computed before the loop, and what depends on states alone behind it, each for all steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Any

from ..errors import UnsupportedError
from .linear import LinearMap, Matmul, Permute, Reshape, Shape, Slice, Sum
from .program import Carried, Constant, Instruction, Loop, LoopInput, Program
from .value import drop_broadcast


def close(program: Program, carries: Mapping[int, int]) -> Program:
    """Return a program with loops in the place of the states that were carried while it was traced.

    Args:
        program: The traced program.
        carries: Of each state, what a step gives for it: instructions of the program.

    Raises:
        UnsupportedError: What goes round mixes steps.
    """
    steps = list(program.instructions)
    alive = _needed(steps, carries, program.outputs.values())
    loops: dict[str, list[int]] = {}
    states: dict[int, int] = {}  # a state -> the instruction that has it
    for n in sorted(alive):
        what = steps[n].what
        if isinstance(what, Carried) and _is_zero(steps[carries[n]]):
            states[n] = carries[n]
        elif isinstance(what, Carried):
            loops.setdefault(what.loop, []).append(n)
    for members in loops.values():
        made = _loop(steps, members, carries)
        steps.append(made)
        states |= _taken_apart(steps, members, len(steps) - 1)
    steps = [replace(step, inputs=tuple(states.get(i, i) for i in step.inputs)) for step in steps]
    ends = {name: states.get(n, n) for name, n in program.outputs.items()}
    return _sorted(program, steps, ends)


def _is_zero(step: Instruction) -> bool:
    return isinstance(step.what, Constant) and not drop_broadcast(step.what.array).any()


def _needed(steps: Sequence[Instruction], carries: Mapping[int, int], ends: Iterable[int]) -> set[int]:
    """Return the instructions that the ends need, those that states receive included."""
    found, stack = set(ends), list(ends)
    while stack:
        n = stack.pop()
        fresh = {*steps[n].inputs, *([carries[n]] if n in carries else [])} - found
        found |= fresh
        stack.extend(fresh)
    return found


def _loop(steps: list[Instruction], members: Sequence[int], carries: Mapping[int, int]) -> Instruction:
    """Return the loop of some states; operands that it needs in another shape are appended to `steps`."""
    dependent = set(members)
    for n, step in enumerate(steps):
        if dependent.intersection(step.inputs):
            dependent.add(n)
    circle = _needed(steps, {}, [carries[n] for n in members]) & dependent
    body = _Body(steps, members, circle)
    results = tuple(body.at(carries[n]) for n in members)
    first = steps[members[0]]
    assert isinstance(first.what, Carried)
    widths = tuple(steps[n].shape[-1] for n in members)
    loop = Loop(tuple(body.made), results, widths, first.shape[0], first.what.backward)
    shape = (*first.shape[:-1], sum(widths))
    return Instruction("loop", loop.name, tuple(body.operands), loop, shape, False, first.targets, origin=first.origin)


class _Body:
    """The instructions of one step, made of those for all steps.

    Args:
        steps: All instructions; those that reshape operands are appended.
        members: The states.
        circle: The instructions that go round.
    """

    def __init__(self, steps: list[Instruction], members: Sequence[int], circle: set[int]) -> None:
        self.steps, self.members, self.circle = steps, members, circle
        self.length = steps[members[0]].shape[0]
        self.made: list[Instruction] = []
        self.operands: list[int] = []
        self.places: dict[tuple[int, str], int] = {}
        for n in sorted(circle):  # in order: a chain may be longer than Python's stack
            self.at(n)

    def at(self, n: int) -> int:
        """Return the instruction of the body that is instruction n at one step."""
        if n in self.circle:
            return self._placed((n, "step"), lambda: self._of_one_step(n))
        return self._read(n, len(self.steps[self.members[0]].shape))

    def _placed(self, key: tuple[int, str], make: Callable[[], Instruction]) -> int:
        if key not in self.places:
            made = make()
            self.made.append(made)
            self.places[key] = len(self.made) - 1
        return self.places[key]

    def _of_one_step(self, n: int) -> Instruction:
        step = self.steps[n]
        if isinstance(step.what, Carried):
            read = LoopInput("state", self.members.index(n))
            return Instruction("read", "state", (), read, step.shape[1:], False, step.targets, origin=step.origin)
        if not step.shape or step.shape[0] != self.length:
            raise _mixes(step)
        if step.kind == "map":
            inputs = tuple(self._operand(i, step) for i in step.inputs)
            return replace(step, inputs=inputs, shape=step.shape[1:])
        linear = self._linear(step)
        first, *others = step.inputs
        if self.circle.intersection(others) or any(not self.steps[i].constant for i in others):
            raise _mixes(step)
        inputs = (self._operand(first, step), *(self._constant(i) for i in others))
        outer = linear.target if step.kind == "linear" else linear.source
        return replace(step, inputs=inputs, what=linear, shape=outer)

    def _operand(self, n: int, reader: Instruction) -> int:
        shape = self.steps[n].shape
        if n in self.circle:
            if len(shape) != len(reader.shape) and reader.kind == "map":
                raise _mixes(reader)
            return self.at(n)
        return self._read(n, len(reader.shape) if reader.kind == "map" else len(shape))

    def _read(self, n: int, rank: int) -> int:
        """Return a value from outside of the circle as one step reads it, by `rank` axes of all steps."""
        step = self.steps[n]
        if step.constant and (len(step.shape) < rank or not step.shape):
            return self._constant(n)
        if len(step.shape) != rank:
            raise _mixes(step)
        if step.shape[0] == self.length:
            return self._placed((n, "step"), lambda: self._input("step", n, step.shape[1:]))
        flat = self._flat(n)
        return self._constant(flat) if step.constant else self._placed(
            (flat, "whole"), lambda: self._input("whole", flat, step.shape[1:])
        )  # fmt: skip

    def _flat(self, n: int) -> int:
        """Append the Reshape of a value that is the same at all steps to the shape of one step."""
        step = self.steps[n]
        linear = Reshape(step.shape, step.shape[1:])
        self.steps.append(replace(step, kind="linear", op=linear.name, inputs=(n,), what=linear, shape=linear.target,
                                  parameter=0.0, biased=False))  # fmt: skip
        return len(self.steps) - 1

    def _input(self, sort: str, n: int, shape: Shape) -> Instruction:
        step = self.steps[n]
        if n not in self.operands:
            self.operands.append(n)
        read = LoopInput(sort, self.operands.index(n))
        # A constant with a row for each step differs from step to step.
        constant = step.constant and sort == "whole"
        return Instruction("read", sort, (), read, shape, constant, step.targets, origin=step.origin)

    def _constant(self, n: int) -> int:
        """Return a constant, or an expression of constants, in the body."""
        step = self.steps[n]
        inputs = tuple(self._constant(i) for i in step.inputs)
        return self._placed((n, "constant"), lambda: replace(step, inputs=inputs))

    def _linear(self, step: Instruction) -> LinearMap:
        """Return the map of a step of a map of all steps that treats each alike."""
        linear, length = step.what, self.length
        assert isinstance(linear, LinearMap)
        shapes: dict[str, Any] = {"source": linear.source[1:], "target": linear.target[1:]}
        if linear.source[:1] == linear.target[:1] == (length,):
            if isinstance(linear, Matmul) and len(linear.source) > 1:
                weight = self.steps[step.inputs[1]]
                if len(weight.shape) == 2:
                    return replace(linear, **shapes)
            if isinstance(linear, Reshape):
                return replace(linear, **shapes)
            if isinstance(linear, Sum) and 0 not in linear.axes:
                return replace(linear, **shapes, axes=tuple(axis - 1 for axis in linear.axes))
            if isinstance(linear, Permute) and linear.order[0] == 0:
                return replace(linear, **shapes, order=tuple(axis - 1 for axis in linear.order[1:]))
            if isinstance(linear, Slice) and (linear.starts[0], linear.steps[0]) == (0, 1):
                return replace(linear, **shapes, starts=linear.starts[1:], steps=linear.steps[1:])
        raise _mixes(step)


def _mixes(step: Instruction) -> UnsupportedError:
    return UnsupportedError(
        f"{step.origin or step.op}: this rule mixes the steps of a recurrent layer",
        "take a rule that treats each step alone, such as epsilon, gamma, zplus or gradient",
    )


def _taken_apart(steps: list[Instruction], members: Sequence[int], loop: int) -> dict[int, int]:
    """Append what takes each state out of the result of a loop; return these instructions by state."""
    whole, start, found = steps[loop], 0, {}
    for n in members:
        shape = steps[n].shape
        if len(members) == 1:
            return {n: loop}
        starts = (*(0 for _ in shape[1:]), start)
        linear = Slice(whole.shape, shape, starts, (1,) * len(shape))
        found[n] = len(steps)
        steps.append(replace(whole, kind="linear", op=linear.name, inputs=(loop,), what=linear, shape=shape))
        start += shape[-1]
    return found


def _sorted(program: Program, steps: Sequence[Instruction], outputs: Mapping[str, int]) -> Program:
    """Return a program of the instructions that its outputs need, each behind what it reads, else in their order."""
    alive = _needed(steps, {}, outputs.values())
    waits = {n: set(steps[n].inputs) for n in alive}
    readers: dict[int, list[int]] = {}
    for n, inputs in waits.items():
        for i in inputs:
            readers.setdefault(i, []).append(n)
    ready = [n for n, inputs in waits.items() if not inputs]
    heapify(ready)
    number: dict[int, int] = {}
    while ready:
        n = heappop(ready)
        number[n] = len(number)
        for reader in readers.get(n, ()):
            waits[reader].discard(n)
            if not waits[reader]:
                heappush(ready, reader)
    order = sorted(number, key=number.__getitem__)
    made = tuple(replace(steps[n], inputs=tuple(number[i] for i in steps[n].inputs)) for n in order)
    return replace(program, instructions=made, outputs={name: number[n] for name, n in outputs.items()})
