"""Planning of elementwise chains: one launch of a generated kernel, over operands that broadcast."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ....program.linear import Shape
from ....program.program import Array, Constant, Instruction, Program
from ....program.value import drop_broadcast
from ..kernels.elementwise import MapStep, Pattern, elementwise_source
from ..kernels.launch import MOST, Argument, InstructionRef, Launch, block_size, grid_size


def chain_launch(
    program: Program, members: Sequence[int], outputs: Sequence[int], batch: int, constants: Mapping[int, Array]
) -> Launch:
    """Return the launch of a chain of elementwise maps.

    Args:
        program: The program.
        members: Indices of the maps, in order.
        outputs: Those whose results are stored; all of one shape, to which every member broadcasts.
        batch: Samples at once.
        constants: Constants by instruction, without broadcast copies; those of one element become literals.
    """
    instructions = program.instructions
    whole = instructions[outputs[0]]
    assert all((i.shape, i.targets) == (whole.shape, whole.targets) for i in (instructions[o] for o in outputs))
    lead = (program.targets or 1, batch) if whole.targets else (batch,)
    shape = (*lead, *whole.shape)
    inner = list(dict.fromkeys(i for m in members for i in instructions[m].inputs if i not in members))
    number = {i: n for n, i in enumerate([*inner, *members])}
    steps = [
        MapStep(instructions[m].op, tuple(number[i] for i in instructions[m].inputs), instructions[m].parameter)
        for m in members
    ]
    found = {i: compact_constant(instructions[i], constants.get(i)) for i in inner}
    numbers = {i: float(array.reshape(())) for i, array in found.items() if array is not None and array.size == 1}
    arrays = [i for i in inner if i not in numbers]
    layouts = [
        _aligned((), array.shape, shape) if (array := found[i]) is not None
        else _aligned(lead if instructions[i].targets else (batch,), instructions[i].shape, shape, len(lead))
        for i in arrays
    ]  # fmt: skip
    sizes, patterns = merge_loop_axes(shape, layouts)
    along = dict(zip(arrays, patterns, strict=True))
    operands = [numbers[i] if i in numbers else along[i] for i in inner]
    count = math.prod(shape)
    wide, quads = count > MOST, bool(sizes) and sizes[-1] % 4 == 0
    results = [number[o] for o in outputs]
    digest = hashlib.sha256(elementwise_source("", steps, operands, results, wide, quads).encode()).hexdigest()
    name = f"map_{digest[:16]}"
    arguments: list[Argument] = [*map(InstructionRef, arrays), *map(InstructionRef, outputs)]
    if not all(all(pattern) for pattern in patterns):
        arguments += [(np.int64 if wide else np.int32)(size) for size in sizes[1:]]
    arguments.append(np.int64(count))
    items = count // 4 if quads else count
    block = block_size(items)
    source = elementwise_source(name, steps, operands, results, wide, quads)
    return Launch(name, (grid_size(items, block), 1, 1), (block, 1, 1), tuple(arguments), source=source)


def compact_constant(step: Instruction, array: Array | None = None) -> Array | None:
    """Return the array of a constant without broadcast copies: `array` if it is folded; None if it is no constant."""
    if not step.constant:
        return None
    if array is None:
        assert isinstance(step.what, Constant), "constants are folded before their readers are planned"
        array = step.what.array
    return drop_broadcast(array)


def _aligned(lead: Shape, own: Shape, shape: Shape, leads: int = 0) -> Shape:
    """Return an operand's shape at the rank of the loop, leading axes and its own aligned at their ends."""
    lead = (1,) * (leads - len(lead)) + lead
    return lead + (1,) * (len(shape) - len(lead) - len(own)) + own


def merge_loop_axes(shape: Shape, layouts: Sequence[Shape]) -> tuple[Shape, list[Pattern]]:
    """Return the loop's axes without those of one element, merged where all operands vary alike.

    Args:
        shape: The loop's shape.
        layouts: Shapes of operands at the same rank, each axis of size 1 or the loop's.

    Returns:
        The sizes of the axes, and the pattern of each operand.
    """
    sizes: list[int] = []
    columns: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        column = tuple(layout[axis] == size for layout in layouts)
        assert all(layout[axis] in (1, size) for layout in layouts), (shape, layouts)
        if size == 1:
            continue
        if columns and columns[-1] == column:
            sizes[-1] *= size
        else:
            sizes.append(size)
            columns.append(column)
    patterns = [tuple(column[n] for column in columns) or (True,) for n in range(len(layouts))]
    return tuple(sizes), patterns
