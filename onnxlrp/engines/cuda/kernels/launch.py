"""A launch: one kernel with its grid and its arguments, planned before any array exists; and what carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ....program.program import Array

Size = tuple[int, int, int]
Axes = tuple[int, ...]  # a size that may leave out axes of length 1 at its end


@dataclass(frozen=True)
class InstructionRef:
    """The array of an instruction, by its number: an operand, or the result."""

    index: int


@dataclass(frozen=True)
class InputRef:
    """What the caller or the forward pass gives the seed: "target" (int64 ids) or "scores" (the logits)."""

    name: str


@dataclass(frozen=True)
class Scratch:
    """Workspace of `count` elements that lives during one instruction; its number tells it from the others."""

    number: int
    count: int
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers that are known when a program is prepared, uploaded once: geometry (int32), divisors, whole weights."""

    array: Array


Argument = InstructionRef | InputRef | Scratch | Table | np.int32 | np.int64 | None  # None is a null pointer


@dataclass(frozen=True, eq=False)
class Launch:
    """Run `kernel`; `source` is its text where it is generated, "" where it is one of csrc/kernels."""

    kernel: str
    grid: Size
    block: Size
    arguments: tuple[Argument, ...]
    shared: int = 0
    source: str = ""


class Launcher(Protocol):
    """What carries launches out.

    `args` are arrays (CuPy's on a GPU, numpy's in the emulator), None for a null pointer, numpy scalars, Python ints
    for integers of any width, and Python floats for a C `float`. `shared` is the dynamic shared memory in bytes.
    """

    name: str

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None: ...


class Kernels(Launcher, Protocol):
    """Compiled kernels."""

    def generated(self, code: str) -> Kernels:
        """Kernels of generated source, with what ptx.cuh offers; the compiled result is cached on disk."""
        ...

    def compiled(self, launches: Sequence[Launch]) -> Mapping[str, Launcher]:
        """Who runs each kernel of these launches, compiled now."""
        ...
