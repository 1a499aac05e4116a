"""Fusion beyond `passes.fuse`: chains with their only reader, and products with the chain that reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from ....program.passes import Chain, members
from ....program.program import Array, Program
from .elementwise import compact_constant


@dataclass(frozen=True)
class Fused(Chain):
    """A product whose kernel takes an epilogue, the first of `steps`, and the only chain that reads it, the others."""

    @property
    def product(self) -> int:
        """The instruction of the product: a convolution, its adjoint, or the adjoint of a max-pooling."""
        return self.steps[0]

    @property
    def chain(self) -> Chain:
        """The elementwise chain."""
        return Chain(self.steps[1:], self.results)


def join_chains(program: Program, order: Sequence[int | Chain]) -> tuple[int | Chain, ...]:
    """Merge every chain that only one later chain of the same shape reads into that one."""
    instructions, kept = program.instructions, set(program.outputs.values())
    items = list(order)
    home = {n: k for k, item in enumerate(items) for n in members(item)}
    readers: dict[int, set[int]] = {}
    for n in home:
        for i in instructions[n].inputs:
            readers.setdefault(i, set()).add(n)
    gone: set[int] = set()
    for k in range(len(items) - 1, -1, -1):
        item = items[k]
        if not isinstance(item, Chain) or kept & set(item.results):
            continue
        found = {home[n] for result in item.results for n in readers.get(result, ())} - {k}
        other = items[min(found)] if len(found) == 1 else None
        if isinstance(other, Chain) and _space(program, item) == _space(program, other):
            items[min(found)] = Chain(tuple(sorted((*item.steps, *other.steps))), other.results)
            home |= dict.fromkeys(item.steps, min(found))
            gone.add(k)
    return tuple(item for k, item in enumerate(items) if k not in gone)


def join_siblings(program: Program, order: Sequence[int | Chain]) -> tuple[int | Chain, ...]:
    """Merge consecutive chains of one shape that read a common operand and not each other."""
    made: list[int | Chain] = []
    for item in order:
        before = made[-1] if made else None
        if _plain(item) and _plain(before) and _space(program, item) == _space(program, before):
            first, second = (_read(program, one) for one in (before, item))
            if first & second and not second & set(before.steps):
                made[-1] = Chain(tuple(sorted((*before.steps, *item.steps))), (*before.results, *item.results))
                continue
        made.append(item)
    return tuple(made)


def _plain(item: int | Chain | None) -> TypeGuard[Chain]:
    """Return whether an item is a chain without a product."""
    return isinstance(item, Chain) and not isinstance(item, Fused)


def _read(program: Program, chain: Chain) -> set[int]:
    """Return the operands of a chain that are neither constants nor its own results."""
    steps = program.instructions
    return {i for n in chain.steps for i in steps[n].inputs if i not in chain.steps and not steps[i].constant}


def _space(program: Program, chain: Chain) -> tuple[object, ...]:
    step = program.instructions[chain.steps[0]]
    return step.shape, step.targets


def fuse_products(
    program: Program,
    order: Sequence[int | Chain],
    takes_epilogue: Callable[[int], bool],
    constants: Mapping[int, Array],
) -> tuple[int | Chain, ...]:
    """Merge every chain with the last product that only it reads.

    Args:
        program: The program.
        order: Its items.
        takes_epilogue: Whether the kernel of an instruction takes an epilogue.
        constants: Constants by instruction, as `fold_constants` returns them.
    """
    instructions = program.instructions
    readers: dict[int, set[int]] = {}
    for k, item in enumerate(order):
        for n in members(item):
            for i in instructions[n].inputs:
                readers.setdefault(i, set()).add(k)
    kept = set(program.outputs.values())
    fused: dict[int, Fused] = {}
    taken: set[int] = set()
    for k, item in enumerate(order):
        if not isinstance(item, Chain):
            continue
        for n in reversed([one for one in order[:k] if isinstance(one, int)]):
            step = instructions[n]
            alone = readers.get(n) == {k} and n not in kept
            if alone and (step.shape, step.targets) == _space(program, item) and takes_epilogue(n):
                found = Fused((n, *item.steps), item.results)
                if operands(program, found, constants) is not None:
                    fused[k] = found
                    taken.add(n)
                    break
    return tuple(fused.get(k, item) for k, item in enumerate(order) if item not in taken)


@dataclass(frozen=True)
class Cycle:
    """An operand that repeats along the result.

    Args:
        size: Elements after which it repeats, of one sample.
        batched: Whether it has a batch axis, and repeats after the batch.
    """

    size: int
    batched: bool


Operand = float | str | Cycle  # a number, "full" (of the result's shape), "channel" (one number for each), or repeated


def operands(program: Program, item: Fused, constants: Mapping[int, Array]) -> dict[int, Operand] | None:
    """Return how an item's chain reads its operands, without the product; None if the epilogue cannot read one."""
    instructions = program.instructions
    whole = instructions[item.product]
    found: dict[int, Operand] = {}
    for i in dict.fromkeys(i for m in item.chain.steps for i in instructions[m].inputs if i not in item.steps):
        step = instructions[i]
        array = compact_constant(step, constants.get(i))
        shape = step.shape if array is None else array.shape
        shape = (1,) * (len(whole.shape) - len(shape)) + shape
        if array is not None and array.size == 1:
            found[i] = float(array.reshape(()))
        elif array is not None and shape == (*whole.shape[:1], *(1 for _ in whole.shape[1:])):
            found[i] = "channel"
        elif array is not None and shape == (1, *whole.shape[1:]):
            found[i] = Cycle(math.prod(shape), False)
        elif shape != whole.shape:
            return None
        elif array is None and step.targets == whole.targets:
            found[i] = "full"
        else:
            found[i] = Cycle(math.prod(shape), array is None)
    return found
