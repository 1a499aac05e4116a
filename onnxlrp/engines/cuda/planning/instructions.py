"""Planning of instructions: the kernels that carry out each, with grids and geometry, without a GPU.

LINEAR and ADJOINT have a planner for each linear map; kernels of elementwise maps are generated (elementwise.py).
Results are new arrays, [targets · samples, ...] where the instruction has targets, else [samples, ...].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ....program.linear import LinearMap, Reshape
from ....program.program import Activation, Array, Program, Seed
from ..kernels.launch import InputRef, InstructionRef, Launch, block_size, grid_size
from . import copies, dense, take, windows
from .elementwise import chain_launch
from .linear import GRID, ConvPlanner, LinearPlanner


def plan(
    program: Program,
    n: int,
    batch: int,
    constants: Mapping[int, Array],
    conv_planner: ConvPlanner | None = None,
) -> tuple[Launch, ...]:
    """Plan one instruction.

    Args:
        program: The program.
        n: The instruction.
        batch: Samples at once.
        constants: Constants by instruction, as `fold_constants` returns them.
        conv_planner: Plans convolutions and chooses cuBLAS for products; None for plain gathers.

    Returns:
        Its launches, in order; none for activations, constants and relevance that the caller gives.
    """
    step = program.instructions[n]
    if step.constant or isinstance(step.what, Activation):
        return ()
    if isinstance(step.what, Seed):
        return _seed(program, n, batch, step.what)
    if step.kind == "map":
        return (chain_launch(program, (n,), (n,), batch, constants),)
    planner = LinearPlanner(program, n, batch, constants, conv_planner)
    assert isinstance(step.what, LinearMap)
    (LINEAR if step.kind == "linear" else ADJOINT)[step.what.name](planner, step.what)
    if step.biased and not planner.bias_added:
        planner.add_bias()
    return tuple(planner.launches)


def alias(program: Program, n: int) -> int | None:
    """Return the instruction whose array n shares, a reshape that copies nothing; None if n has its own."""
    step = program.instructions[n]
    if not isinstance(step.what, Reshape) or step.biased or step.constant:
        return None
    x = program.instructions[step.inputs[0]]
    return None if x.constant or x.targets != step.targets else step.inputs[0]


# -- the seed


def _seed(program: Program, n: int, batch: int, seed: Seed) -> tuple[Launch, ...]:
    classes, targets = math.prod(program.instructions[n].shape), seed.targets or 1
    if seed.mode == "relevance":
        return ()
    if seed.mode == "top":
        numbers = map(np.int32, (batch, classes, targets))
        return (Launch("seed_top", (batch, 1, 1), (256, 1, 1), (InputRef(seed.tensor), InstructionRef(n), *numbers)),)
    block, rows = block_size(classes), targets * batch
    grid = (grid_size(classes, block), min(rows, GRID), 1)
    return (
        Launch(
            "seed_index",
            grid,
            (block, 1, 1),
            (InputRef(seed.name), InstructionRef(n), np.int32(rows), np.int32(classes)),
        ),
    )


LINEAR: dict[str, Callable[..., None]] = {
    "Conv": windows.conv,
    "Matmul": dense.matmul,
    "Pool": windows.pool,
    "Select": windows.select,
    "Take": take.copy,
    "Sum": copies.sum_axes,
    "Reshape": copies.reshape,
    "Permute": copies.permute,
    "Slice": copies.slice_box,
}

ADJOINT: dict[str, Callable[..., None]] = {
    "Conv": windows.conv,
    "Matmul": dense.matmul,
    "Pool": windows.pool,
    "Select": windows.select,
    "Take": take.add,
    "Sum": copies.broadcast,
    "Reshape": copies.reshape,
    "Permute": copies.permute_adjoint,
    "Slice": copies.slice_adjoint,
}
