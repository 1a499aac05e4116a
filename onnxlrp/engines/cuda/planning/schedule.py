"""What runs for a batch of a size, and the memory that it takes: plain Python, before there is a device or an array."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....program.linear import Conv, Select
from ....program.passes import Chain, fuse, members
from ....program.program import Activation, Array, Instruction, Program, Seed
from ..kernels.elementwise import chain
from ..kernels.launch import InstructionRef, Launch, Scratch
from ..kernels.tiles import Precision
from .arena import Life, layout
from .constants import folded
from .epilogue import epilogue
from .fusion import Fused, fuse_products, join_chains, join_siblings
from .instructions import alias, plan
from .linear import LinearPlanner
from .tensor_cores import TensorCorePlanner, has_epilogue
from .windows import route, routed


@dataclass(frozen=True, eq=False)
class Schedule:
    """A program's launches for one batch size, by item of the order, and where their results lie in the arena."""

    batch: int
    launches: tuple[tuple[int, Launch], ...]
    lives: tuple[Life, ...]
    offsets: Mapping[object, int]
    size: int
    given: int

    @property
    def bytes(self) -> int:
        """Device memory: the arena, and what the forward pass and the caller give."""
        return self.size + self.given


class Schedules:
    """A program in the order in which its items run, its constants folded, to be drafted for any batch size.

    With a precision convolutions run on tensor cores where they can (tensor.py), with None as plain gathers.
    """

    def __init__(self, program: Program, precision: Precision | None = "exact") -> None:
        self.program = program
        self.tensor = None if precision is None else TensorCorePlanner(precision)
        self.order: tuple[int | Chain, ...] = fuse(program)
        self.constants: dict[int, Array] = folded(program)
        if self.tensor is not None:
            fused = fuse_products(program, join_chains(program, self.order), self._able, self.constants)
            self.order = join_siblings(program, fused)

    def draft(self, batch: int) -> Schedule:
        """What runs for a batch of this size, and the memory that it takes; nothing is allocated."""
        launches = tuple((k, one) for k, item in enumerate(self.order) for one in self._launches(item, batch))
        lives = self._lives(batch, launches)
        offsets, size = layout(lives)
        return Schedule(batch, launches, lives, offsets, size, sum(4 * n for n in self.given(batch).values()))

    def shape(self, n: int, batch: int) -> tuple[int, ...]:
        """The shape of an instruction's array."""
        step = self.program.instructions[n]
        lead = () if step.constant else ((self.program.targets or 1, batch) if step.targets else (batch,))
        return (*lead, *step.shape)

    def given(self, batch: int) -> dict[str, int]:
        """Elements of what does not come from a kernel: activations, and the seed's input."""
        sizes: dict[str, int] = {}
        for n, step in enumerate(self.program.instructions):
            count = math.prod(self.shape(n, batch))
            if isinstance(step.what, Activation):
                sizes[step.what.tensor] = count
            elif isinstance(step.what, Seed):
                targets = step.what.targets or 1
                named = {"relevance": ("relevance", count), "index": ("target", batch * targets)}
                name, elements = named.get(step.what.mode, (step.what.tensor, count // targets))
                sizes[name] = elements
        return sizes

    def roots(self) -> dict[int, int]:
        """For each reshape that moves nothing, the instruction whose array it is."""
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
            return (chain(self.program, item.steps, item.results, batch, self.constants),)
        if alias(self.program, item) is not None:
            return ()
        return plan(self.program, item, batch, self.constants, self.tensor)

    def _able(self, n: int) -> bool:
        """Whether a kernel can go on with its results; a bias must be a vector that the kernel adds before."""
        step, instructions = self.program.instructions[n], self.program.instructions
        if isinstance(step.what, Select):
            return step.kind == "adjoint" and routed(step.what)
        if not isinstance(step.what, Conv):
            return False
        bias = instructions[step.inputs[-1]]
        plain = not step.biased or (bias.constant and bias.shape == step.what.target[:1])
        return plain and has_epilogue(step.what)

    def _fused(self, item: Fused, batch: int) -> tuple[Launch, ...]:
        """A product with its chain in one launch, or where this batch is too large for that kernel, in two."""
        what = self.program.instructions[item.product].what
        work = LinearPlanner(self.program, item.product, batch, self.constants)
        end = epilogue(self.program, item, batch, self.constants)
        assert self.tensor is not None
        if isinstance(what, Select):
            done = route(work, what, end)
        else:
            assert isinstance(what, Conv)
            done = self.tensor.conv(work, what, end)
        if done:
            return tuple(work.launches)
        return (*self._launches(item.product, batch), *self._launches(item.chain, batch))

    def _lives(self, batch: int, launches: tuple[tuple[int, Launch], ...]) -> tuple[Life, ...]:
        """How long each result and each scratch array is needed, in items of the order."""
        root, end = self.roots(), len(self.order)
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
        lives = [Life(n, 4 * math.prod(self.shape(n, batch)), born[n], dies[n]) for n in own]
        scratch = {(k, a.number): a for k, one in launches for a in one.arguments if isinstance(a, Scratch)}
        lives += [Life(key, a.count * np.dtype(a.dtype).itemsize, key[0], key[0]) for key, a in scratch.items()]
        return tuple(lives)


def _is_given(step: Instruction) -> bool:
    return (
        step.constant
        or isinstance(step.what, Activation)
        or (isinstance(step.what, Seed) and step.what.mode == "relevance")
    )
