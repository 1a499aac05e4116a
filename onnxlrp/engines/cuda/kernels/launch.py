"""Launches: a kernel with its grid and arguments, planned before any array exists, and the interface that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ....program.program import Array

THREADS = 256  # of a block
MOST = 2**31 - 1  # elements that 32 bits count
Size = tuple[int, int, int]
Axes = tuple[int, ...]  # a size that may leave out axes of length 1 at its end


@dataclass(frozen=True)
class InstructionRef:
    """The array of an instruction, an operand or the result, by its index."""

    index: int


@dataclass(frozen=True)
class InputRef:
    """An array that the seed reads: class ids under its name (int64), or a tensor of the forward pass by its name."""

    name: str


@dataclass(frozen=True)
class Scratch:
    """A workspace of one instruction.

    Args:
        number: Tells it from other workspaces of the instruction.
        count: Elements.
        dtype: Their type.
    """

    number: int
    count: int
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Table:
    """An array known at planning, uploaded once: geometry (int32), divisors, packed weights."""

    array: Array


Argument = InstructionRef | InputRef | Scratch | Table | np.int32 | np.int64 | None  # None is a null pointer


@dataclass(frozen=True, eq=False)
class Launch:
    """One launch of a kernel.

    Args:
        kernel: Its name.
        grid: Blocks along x, y and z.
        block: Threads of a block along x, y and z.
        arguments: Its arguments, in order.
        shared: Dynamic shared memory of a block, in bytes.
        source: CUDA source of a generated kernel; "" for those of csrc/kernels.
    """

    kernel: str
    grid: Size
    block: Size
    arguments: tuple[Argument, ...]
    shared: int = 0
    source: str = ""


class Launcher(Protocol):
    """Interface of what runs launches: compiled kernels, cuBLAS, or numpy in its place."""

    name: str

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Run a kernel, or enqueue it on a stream.

        Args:
            name: The kernel.
            grid: Blocks along each axis.
            block: Threads of a block along each axis.
            args: Arrays (CuPy's on a GPU, numpy's in the emulator), None for a null pointer, numpy scalars, Python ints
                for integers of any width, Python floats for a C `float`.
            shared: Dynamic shared memory of a block, in bytes.
            stream: A CuPy stream; None for the current one.
        """
        ...


class Kernels(Launcher, Protocol):
    """Interface of a loader of compiled kernels."""

    def from_source(self, code: str) -> Kernels:
        """Return the kernels of generated source, which may call ptx.cuh; the compiled result is cached on disk."""
        ...

    def launchers(self, launches: Sequence[Launch]) -> Mapping[str, Launcher]:
        """Compile the kernels of these launches, and return the launcher of each by name."""
        ...


def block_size(count: int) -> int:
    """Return the threads of a block for a count of elements: whole warps, at most THREADS."""
    return min(THREADS, max(32, -(-count // 32) * 32))


def grid_size(count: int, block: int, most: int = 2**20) -> int:
    """Return the blocks that cover a count of elements, at most `most`: kernels stride over the rest."""
    return min(most, max(1, -(-count // block)))
