"""Passes over a finished program: dead code elimination and fusion; each preserves the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

from .program import Instruction, Program


def dead_code(program: Program) -> Program:
    """Return the program without the instructions that no output needs."""
    needed = set(program.outputs.values())
    for n in range(len(program.instructions) - 1, -1, -1):
        if n in needed:
            needed.update(program.instructions[n].inputs)
    kept = sorted(needed)
    number = {old: new for new, old in enumerate(kept)}
    instructions = tuple(
        replace(step, inputs=tuple(number[i] for i in step.inputs)) for step in (program.instructions[n] for n in kept)
    )
    return replace(program, instructions=instructions, outputs={k: number[v] for k, v in program.outputs.items()})


@dataclass(frozen=True)
class Chain:
    """Elementwise instructions that one kernel can run.

    Args:
        steps: Indices of the instructions, in order.
        results: Those whose results are read outside the chain, or are outputs.
    """

    steps: tuple[int, ...]
    results: tuple[int, ...]


def fuse(program: Program) -> tuple[int | Chain, ...]:
    """Return the program's instructions in execution order, connected elementwise ones of one shape as chains.

    A chain is convex: no instruction outside it depends on one of its steps and feeds another. Constants are left out,
    for they are folded.
    """
    steps = program.instructions
    stage: list[int] = []
    for step in steps:
        own = 0
        for i in step.inputs:
            joined = step.kind == steps[i].kind == "map" and _space(step) == _space(steps[i])
            own = max(own, stage[i] + (not joined and not steps[i].constant))
        stage.append(own)
    groups = _connected(program, stage)
    needed = _needed_outside(program, groups)
    inside = {n for members in groups.values() for n in members}
    items: list[int | Chain] = [Chain(tuple(m), tuple(n for n in m if n in needed)) for m in groups.values()]
    items += [n for n, step in enumerate(steps) if n not in inside and not step.constant]
    return _scheduled(program, items)


def members(item: int | Chain) -> tuple[int, ...]:
    """Return the instructions of an item of `fuse`."""
    return item.steps if isinstance(item, Chain) else (item,)


def _scheduled(program: Program, items: list[int | Chain]) -> tuple[int | Chain, ...]:
    """Order items topologically, otherwise as the program has them, so that results are live for a short time."""
    home = {n: k for k, item in enumerate(items) for n in members(item)}
    waits: list[set[int]] = []
    readers: list[list[int]] = [[] for _ in items]
    for k, item in enumerate(items):
        operands = {home[i] for n in members(item) for i in program.instructions[n].inputs if i in home} - {k}
        waits.append(operands)
        for other in operands:
            readers[other].append(k)
    ready = [(max(members(item)), k) for k, item in enumerate(items) if not waits[k]]
    heapify(ready)
    order = []
    while ready:
        _, k = heappop(ready)
        order.append(items[k])
        for reader in readers[k]:
            waits[reader].discard(k)
            if not waits[reader]:
                heappush(ready, (max(members(items[reader])), reader))
    return tuple(order)


def _space(step: Instruction) -> tuple[object, ...]:
    return step.shape, step.targets, step.constant


def _connected(program: Program, stage: list[int]) -> dict[int, list[int]]:
    """Group elementwise instructions of one stage and shape that read one another, by union-find."""
    root: dict[int, int] = {}

    def find(n: int) -> int:
        while root[n] != n:
            n = root[n]
        return n

    steps = program.instructions
    for n, step in enumerate(steps):
        if step.kind != "map" or step.constant:
            continue
        root[n] = n
        for i in step.inputs:
            if i in root and stage[i] == stage[n] and _space(steps[i]) == _space(step):
                root[find(n)] = find(i)
    groups: dict[int, list[int]] = {}
    for n in root:
        groups.setdefault(find(n), []).append(n)
    return groups


def _needed_outside(program: Program, groups: dict[int, list[int]]) -> set[int]:
    home = {n: key for key, members in groups.items() for n in members}
    needed = set(program.outputs.values())
    for n, step in enumerate(program.instructions):
        needed.update(i for i in step.inputs if home.get(i) != home.get(n, -1))
    return needed
