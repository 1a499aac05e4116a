"""Schedules: the launches of a program for a batch size and the memory they take, planned without a device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....errors import UnsupportedError
from ....program.linear import Conv, Select
from ....program.passes import Chain, fuse, members
from ....program.program import Activation, Array, Instruction, Program, Seed
from ..kernels.launch import InstructionRef, Launch, Scratch
from ..kernels.tiles import Precision
from .arena import Lifetime, layout
from .constants import fold_constants
from .elementwise import chain_launch
from .epilogue import make_epilogue
from .fusion import Fused, fuse_products, join_chains, join_siblings
from .instructions import alias, plan
from .linear import LinearPlanner
from .tensor_cores import TensorCorePlanner, has_epilogue
from .windows import has_route_kernel, plan_route


@dataclass(frozen=True, eq=False)
class Schedule:
    """A program's launches for one batch size, and the positions of their results in the arena.

    Args:
        batch: Samples at once.
        launches: (item of the scheduler's order, launch), in order.
        lifetimes: Arrays of the arena, by instruction or by (item, number) of a workspace.
        offsets: Their offsets, in bytes.
        arena_bytes: Size of the arena.
        input_bytes: Size of the arrays that the forward pass and the caller write.
    """

    batch: int
    launches: tuple[tuple[int, Launch], ...]
    lifetimes: tuple[Lifetime, ...]
    offsets: Mapping[object, int]
    arena_bytes: int
    input_bytes: int

    @property
    def bytes(self) -> int:
        """Device memory in bytes, without constants."""
        return self.arena_bytes + self.input_bytes


class Scheduler:
    """Orders and fuses the instructions of a program, folds its constants, and schedules it for any batch size.

    Args:
        program: The program.
        precision: "exact" or "fast": convolutions run on tensor cores where they can; None: as plain gathers.
    """

    def __init__(self, program: Program, precision: Precision | None = "exact") -> None:
        loop = next((step for step in program.instructions if step.kind == "loop"), None)
        if loop is not None:
            raise UnsupportedError(
                f"the engines cuda and emulator run no loops, as the recurrent layer {loop.origin!r} has",
                "--engine ort, or --engine reference",
            )
        self.program = program
        self.tensor_cores = None if precision is None else TensorCorePlanner(precision)
        self.order: tuple[int | Chain, ...] = fuse(program)
        self.constants: dict[int, Array] = fold_constants(program)
        if self.tensor_cores is not None:
            fused = fuse_products(program, join_chains(program, self.order), self._takes_epilogue, self.constants)
            self.order = join_siblings(program, fused)

    def schedule(self, batch: int) -> Schedule:
        """Return the launches for a batch of this size and the memory they take; nothing is allocated."""
        launches = tuple((k, one) for k, item in enumerate(self.order) for one in self._launches(item, batch))
        lifetimes = self._lifetimes(batch, launches)
        offsets, size = layout(lifetimes)
        return Schedule(batch, launches, lifetimes, offsets, size, sum(4 * n for n in self.input_sizes(batch).values()))

    def shape(self, n: int, batch: int) -> tuple[int, ...]:
        """Return the shape of an instruction's array, with target and batch axes."""
        step = self.program.instructions[n]
        lead = () if step.constant else ((self.program.targets or 1, batch) if step.targets else (batch,))
        return (*lead, *step.shape)

    def input_sizes(self, batch: int) -> dict[str, int]:
        """Return the elements of arrays that no kernel writes: activations by tensor, and seeds by name."""
        sizes: dict[str, int] = {}
        for n, step in enumerate(self.program.instructions):
            count = math.prod(self.shape(n, batch))
            if isinstance(step.what, Activation):
                sizes[step.what.tensor] = count
            elif isinstance(step.what, Seed):
                targets = step.what.targets or 1
                own = step.what.name
                named = {"relevance": (own, count), "index": (own, batch * targets)}
                name, elements = named.get(step.what.mode, (step.what.tensor, count // targets))
                sizes[name] = elements
        return sizes

    def aliases(self) -> dict[int, int]:
        """Return the instruction whose array each reshape shares, for those that copy nothing."""
        root: dict[int, int] = {}
        for item in self.order:
            other = alias(self.program, item) if isinstance(item, int) else None
            if isinstance(item, int) and other is not None:
                root[item] = root.get(other, other)
        return root

    def _launches(self, item: int | Chain, batch: int) -> tuple[Launch, ...]:
        if isinstance(item, Fused):
            return self._fused(item, batch)
        if isinstance(item, Chain):
            return (chain_launch(self.program, item.steps, item.results, batch, self.constants),)
        if alias(self.program, item) is not None:
            return ()
        return plan(self.program, item, batch, self.constants, self.tensor_cores)

    def _takes_epilogue(self, n: int) -> bool:
        """Return whether the kernel of an instruction takes an epilogue; a bias must be a vector that it adds."""
        step, instructions = self.program.instructions[n], self.program.instructions
        if isinstance(step.what, Select):
            return step.kind == "adjoint" and has_route_kernel(step.what)
        if not isinstance(step.what, Conv):
            return False
        bias = instructions[step.inputs[-1]]
        plain = not step.biased or (bias.constant and bias.shape == step.what.target[:1])
        return plain and has_epilogue(step.what)

    def _fused(self, item: Fused, batch: int) -> tuple[Launch, ...]:
        """Plan a product with its chain in one kernel, or in two where this batch is too large for that kernel."""
        what = self.program.instructions[item.product].what
        planner = LinearPlanner(self.program, item.product, batch, self.constants)
        epilogue = make_epilogue(self.program, item, batch, self.constants)
        assert self.tensor_cores is not None
        if isinstance(what, Select):
            done = plan_route(planner, what, epilogue)
        else:
            assert isinstance(what, Conv)
            done = self.tensor_cores.conv(planner, what, epilogue)
        if done:
            return tuple(planner.launches)
        return (*self._launches(item.product, batch), *self._launches(item.chain, batch))

    def _lifetimes(self, batch: int, launches: tuple[tuple[int, Launch], ...]) -> tuple[Lifetime, ...]:
        """Return when each result and workspace is needed, in items of the order."""
        root, end = self.aliases(), len(self.order)
        born: dict[int, int] = {}
        dies: dict[int, int] = {}
        for k, item in enumerate(self.order):
            for n in members(item):
                born[n] = k
                dies.setdefault(root.get(n, n), k)
                for i in self.program.instructions[n].inputs:
                    dies[root.get(i, i)] = k
        for n in self.program.outputs.values():
            dies[root.get(n, n)] = end
        instructions = self.program.instructions
        written = {a.index for _, one in launches for a in one.arguments if isinstance(a, InstructionRef)}
        own = [n for n in sorted(written) if n not in root and not _is_given(instructions[n])]
        lifetimes = [Lifetime(n, 4 * math.prod(self.shape(n, batch)), born[n], dies[n]) for n in own]
        scratch = {(k, a.number): a for k, one in launches for a in one.arguments if isinstance(a, Scratch)}
        lifetimes += [Lifetime(key, a.count * np.dtype(a.dtype).itemsize, key[0], key[0]) for key, a in scratch.items()]
        return tuple(lifetimes)


def _is_given(step: Instruction) -> bool:
    """Return whether an instruction's array is a constant, an activation or the caller's relevance."""
    return (
        step.constant
        or isinstance(step.what, Activation)
        or (isinstance(step.what, Seed) and step.what.mode == "relevance")
    )
