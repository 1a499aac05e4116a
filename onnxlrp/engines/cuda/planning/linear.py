"""Planner of one linear instruction: its operands as kernels take them, and its launches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ....errors import UnsupportedError
from ....program.linear import Conv, LinearMap, Shape
from ....program.program import Array, Instruction, Program
from ..kernels.launch import MOST, Argument, InstructionRef, Launch, Scratch, Table, block_size, grid_size
from ..kernels.tiles import Precision
from .elementwise import compact_constant

AXES = 8  # of a strided copy, after contiguous axes are merged
GRID = 65535  # CUDA's limit of blocks along y and z


class ConvPlanner(Protocol):
    """Planner of convolutions by kernels faster than plain gathers (see `tensor_cores.TensorCorePlanner`).

    Where an instruction has one, products of matrices go to cuBLAS, at its precision.
    """

    precision: Precision

    def conv(self, planner: LinearPlanner, c: Conv) -> bool:
        """Plan a convolution or its adjoint; return False if plain gathers have to."""
        ...


@dataclass
class LinearPlanner:
    """The plan of one linear instruction, to which planners of linear maps append launches.

    Args:
        program: The program.
        n: The instruction.
        batch: Samples at once.
        constants: Constants by instruction, as `fold_constants` returns them.
        conv_planner: Plans convolutions and chooses cuBLAS; None for plain gathers.
        launches: The launches so far.
        bias_added: Whether a launch adds the bias.
    """

    program: Program
    n: int
    batch: int
    constants: Mapping[int, Array]
    conv_planner: ConvPlanner | None = None
    launches: list[Launch] = field(default_factory=list)
    bias_added: bool = False
    _scratches: int = 0

    @property
    def step(self) -> Instruction:
        """The instruction."""
        return self.program.instructions[self.n]

    @property
    def result(self) -> InstructionRef:
        """Its result."""
        return InstructionRef(self.n)

    @property
    def result_samples(self) -> int:
        """Samples of the result, those of every target counted."""
        return self.samples(self.step)

    def samples(self, step: Instruction) -> int:
        """Return the samples of an instruction's array, those of every target counted; 1 for a constant."""
        return 1 if step.constant else self.batch * (self.program.targets or 1 if step.targets else 1)

    def operand(self, k: int) -> Instruction:
        """Return the instruction of operand k."""
        return self.program.instructions[self.step.inputs[k]]

    def scratch(self, count: int, dtype: str = "float32") -> Scratch:
        """Return a new workspace of `count` elements."""
        self._scratches += 1
        return Scratch(self._scratches - 1, count, dtype)

    # -- operands

    def input(self) -> Argument:
        """Return the first operand as [result_samples, *shape], with broadcast copies made explicit."""
        linear, step = self.step.what, self.operand(0)
        assert isinstance(linear, LinearMap)
        inner = linear.source if self.step.kind == "linear" else linear.target
        if not step.constant and step.shape == inner and self.samples(step) == self.result_samples:
            return InstructionRef(self.step.inputs[0])
        spread = self.scratch(self.result_samples * math.prod(inner))
        self.gather(self.step.inputs[0], spread, inner, self.result_samples)
        return spread

    def stored_operand(self, k: int) -> Argument:
        """Return an operand that a kernel reads as it is stored: a weight or a selector."""
        step = self.operand(k)
        array = compact_constant(step, self.constants.get(self.step.inputs[k]))
        if array is None or array.shape == step.shape:
            return InstructionRef(self.step.inputs[k])
        return Table(np.ascontiguousarray(self.array(k), np.float32))

    def array(self, k: int) -> Array:
        """Return the array of a constant operand."""
        array = compact_constant(self.operand(k), self.constants.get(self.step.inputs[k]))
        assert array is not None, "only constants have an array before the program runs"
        return np.broadcast_to(array, self.operand(k).shape)

    def fused_bias(self, width: int) -> Argument:
        """Return the bias for a kernel that adds a constant vector of this width; None leaves it to `add_bias`."""
        if not self.step.biased:
            return None
        k = len(self.step.inputs) - 1
        if not self.operand(k).constant or self.operand(k).shape != (width,):
            return None
        self.bias_added = True
        return self.stored_operand(k)

    def add_bias(self) -> None:
        """Launch the addition of a bias: along the channels of a convolution if it is a vector, else the last axes."""
        linear, k = self.step.what, len(self.step.inputs) - 1
        assert isinstance(linear, LinearMap)
        behind = len(linear.target) - 1 if isinstance(linear, Conv) and len(self.operand(k).shape) == 1 else 0
        self.gather(self.step.inputs[k], self.result, linear.target, self.result_samples, "move_add", behind)

    # -- launches

    def launch_per_element(self, kernel: str, size: int, samples: int, *arguments: Argument) -> None:
        """Append a launch with a thread for each of `size` elements of each sample."""
        block = block_size(check_size(size))
        self.launch(kernel, (grid_size(size, block), min(samples, GRID), 1), block, *arguments)

    def launch(self, kernel: str, grid: tuple[int, int, int], block: int, *arguments: Argument) -> None:
        """Append a launch with blocks of `block` threads."""
        self.launches.append(Launch(kernel, grid, (block, 1, 1), arguments))

    def gather(
        self, source: int, target: Argument, shape: Shape, samples: int, kernel: str = "move_gather", behind: int = 0
    ) -> None:
        """Append a copy of an instruction's array broadcast to [samples, *shape].

        Args:
            source: The instruction.
            target: Where the copy goes.
            shape: Shape per sample.
            samples: Samples of the copy.
            kernel: "move_gather" copies, "move_add" adds to the target.
            behind: Axes of size 1 to append to the array's own.
        """
        step = self.program.instructions[source]
        array = compact_constant(step, self.constants.get(source))
        own = (*(step.shape if array is None else array.shape), *([1] * behind))
        strides = [0 if m == 1 else s for m, s in zip(own, contiguous_strides(own), strict=True)]
        self.copy(
            InstructionRef(source),
            target,
            shape,
            [0] * (len(shape) - len(own)) + strides,
            0,
            samples,
            self.samples(step),
            math.prod(own),
            kernel,
        )

    def copy(
        self,
        x: Argument,
        y: Argument,
        shape: Shape,
        strides: Sequence[int],
        offset: int,
        samples: int,
        held: int,
        stride: int,
        kernel: str = "move_gather",
    ) -> None:
        """Append a strided copy y[samples, *shape] of x[held, stride], sample n of y from sample n % held of x."""
        sizes, steps = merge_axes(shape, strides)
        size = check_size(math.prod(shape))
        g = int_table(len(sizes), offset, *pad_geometry(sizes, 1), *pad_geometry(steps, 0))
        self.launch_per_element(
            kernel, size, samples, x, y, g, np.int32(samples), np.int32(size), np.int32(held), np.int64(stride)
        )


def int_table(*numbers: int) -> Table:
    """Return integers as an int32 table, the form in which kernels take geometry."""
    return Table(np.asarray(numbers, np.int32))


def check_size(size: int) -> int:
    """Return a number of elements of one sample; UnsupportedError if kernels cannot count it with 32 bits."""
    if size > MOST:
        raise UnsupportedError(f"{size} elements a sample are too many for the cuda engine", "try --engine ort")
    return size


def contiguous_strides(shape: Shape) -> list[int]:
    """Return the strides of a row-major array without gaps, in elements."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def merge_axes(shape: Shape, strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return sizes and strides without axes of one element, neighbours that one stride covers merged into one."""
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


def pad_geometry(numbers: Sequence[int], fill: int) -> list[int]:
    """Return numbers extended to the length that geometry tables have."""
    if len(numbers) > AXES:
        raise UnsupportedError(f"a copy over {len(numbers)} axes; the cuda engine has {AXES}", "try --engine ort")
    return [*numbers, *[fill] * (AXES - len(numbers))]
