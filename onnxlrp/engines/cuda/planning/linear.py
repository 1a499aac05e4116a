"""The plan of one linear instruction in the making: its operands as kernels want them, its launches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ....errors import UnsupportedError
from ....program.linear import Conv, LinearMap, Shape
from ....program.program import Array, Instruction, Program
from ..kernels.elementwise import MOST, block_of, blocks, stored
from ..kernels.launch import Argument, InstructionRef, Launch, Scratch, Table
from ..kernels.tiles import Precision

AXES = 8  # of an array, once those that one stride walks through are one
GRID = 65535  # the most blocks along y and z


class ConvPlanner(Protocol):
    """What plans better than plain gathers: convolutions that it takes (see tensor.py), products by the library."""

    precision: Precision

    def conv(self, work: LinearPlanner, c: Conv) -> bool: ...


@dataclass
class LinearPlanner:
    """The plan of one linear instruction in the making."""

    program: Program
    n: int
    batch: int
    constants: Mapping[int, Array]
    tier: ConvPlanner | None = None
    launches: list[Launch] = field(default_factory=list)
    bias_added: bool = False
    _scratches: int = 0

    @property
    def step(self) -> Instruction:
        return self.program.instructions[self.n]

    @property
    def result(self) -> InstructionRef:
        return InstructionRef(self.n)

    @property
    def lead(self) -> int:
        """The result's samples, each target's counted."""
        return self.samples(self.step)

    def samples(self, step: Instruction) -> int:
        """The samples of an array: 1 of a constant."""
        return 1 if step.constant else self.batch * (self.program.targets or 1 if step.targets else 1)

    def operand(self, k: int) -> Instruction:
        return self.program.instructions[self.step.inputs[k]]

    def scratch(self, count: int, dtype: str = "float32") -> Scratch:
        self._scratches += 1
        return Scratch(self._scratches - 1, count, dtype)

    # -- operands

    def x(self) -> Argument:
        """The first operand, [lead, *inner]: spread where broadcasting or folding left copies out."""
        linear, step = self.step.what, self.operand(0)
        assert isinstance(linear, LinearMap)
        inner = linear.source if self.step.kind == "linear" else linear.target
        if not step.constant and step.shape == inner and self.samples(step) == self.lead:
            return InstructionRef(self.step.inputs[0])
        spread = self.scratch(self.lead * math.prod(inner))
        self.gather(self.step.inputs[0], spread, inner, self.lead)
        return spread

    def whole(self, k: int) -> Argument:
        """An operand that a kernel reads as it is: a weight, a selector."""
        step = self.operand(k)
        array = stored(step, self.constants.get(self.step.inputs[k]))
        if array is None or array.shape == step.shape:
            return InstructionRef(self.step.inputs[k])
        return Table(np.ascontiguousarray(self.array(k), np.float32))

    def array(self, k: int) -> Array:
        """The numbers of an operand that is a constant."""
        array = stored(self.operand(k), self.constants.get(self.step.inputs[k]))
        assert array is not None, "only constants have an array before the program runs"
        return np.broadcast_to(array, self.operand(k).shape)

    def bias(self, width: int) -> Argument:
        """The bias as a vector of constants, which a kernel then adds; else None, and `add_bias` does it."""
        if not self.step.biased:
            return None
        k = len(self.step.inputs) - 1
        if not self.operand(k).constant or self.operand(k).shape != (width,):
            return None
        self.bias_added = True
        return self.whole(k)

    def add_bias(self) -> None:
        """A bias of another shape: over the channels of a convolution if it is a vector, else over the last axes."""
        linear, k = self.step.what, len(self.step.inputs) - 1
        assert isinstance(linear, LinearMap)
        behind = len(linear.target) - 1 if isinstance(linear, Conv) and len(self.operand(k).shape) == 1 else 0
        self.gather(self.step.inputs[k], self.result, linear.target, self.lead, "move_add", behind)

    # -- launches

    def each(self, kernel: str, size: int, samples: int, *arguments: Argument) -> None:
        """A thread for each of `size` elements of each sample."""
        block = block_of(within(size))
        self.launch(kernel, (blocks(size, block), min(samples, GRID), 1), block, *arguments)

    def launch(self, kernel: str, grid: tuple[int, int, int], block: int, *arguments: Argument) -> None:
        self.launches.append(Launch(kernel, grid, (block, 1, 1), arguments))

    def gather(
        self, source: int, target: Argument, shape: Shape, samples: int, kernel: str = "move_gather", behind: int = 0
    ) -> None:
        """The array of an instruction broadcast to [samples, *shape]; `behind` axes of size 1 go after its own."""
        step = self.program.instructions[source]
        array = stored(step, self.constants.get(source))
        own = (*(step.shape if array is None else array.shape), *([1] * behind))
        strides = [0 if m == 1 else s for m, s in zip(own, contiguous(own), strict=True)]
        self.move(InstructionRef(source), target, shape, [0] * (len(shape) - len(own)) + strides, 0, samples,
                  self.samples(step), math.prod(own), kernel)  # fmt: skip

    def move(
        self, x: Argument, y: Argument, shape: Shape, strides: Sequence[int], offset: int, samples: int,
        held: int, stride: int, kernel: str = "move_gather",
    ) -> None:  # fmt: skip
        """y[samples, *shape] from x[held, stride] at strides."""
        sizes, steps = joined(shape, strides)
        size = within(math.prod(shape))
        g = ints(len(sizes), offset, *padded(sizes, 1), *padded(steps, 0))
        self.each(kernel, size, samples, x, y, g, np.int32(samples), np.int32(size), np.int32(held), np.int64(stride))


def ints(*numbers: int) -> Table:
    """Geometry."""
    return Table(np.asarray(numbers, np.int32))


def within(size: int) -> int:
    """A number of elements of one sample, which kernels count with 32 bits."""
    if size > MOST:
        raise UnsupportedError(f"{size} elements a sample are too many for the cuda engine", "try --engine ort")
    return size


def contiguous(shape: Shape) -> list[int]:
    """The strides of an array without gaps."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def joined(shape: Shape, strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Axes of one element left out, and neighbours that one stride walks through as one axis."""
    sizes: list[int] = []
    steps: list[int] = []
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if sizes and steps[-1] == stride * size:
            sizes[-1], steps[-1] = sizes[-1] * size, stride
        else:
            sizes.append(size)
            steps.append(stride)
    return sizes, steps


def padded(numbers: Sequence[int], fill: int) -> list[int]:
    """As long as geometry has room for."""
    if len(numbers) > AXES:
        raise UnsupportedError(f"a copy over {len(numbers)} axes is too much for the cuda engine", "try --engine ort")
    return [*numbers, *[fill] * (AXES - len(numbers))]
