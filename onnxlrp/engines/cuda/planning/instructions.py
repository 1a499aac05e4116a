"""Which kernels carry out each instruction, with which grids and geometry: plain Python, no GPU, no array touched.

LINEAR and ADJOINT have a planner for each linear map; maps are generated (elementwise.py). Results are new arrays,
[targets · samples, ...] where the instruction has targets, else [samples, ...].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ....program.linear import LinearMap, Reshape
from ....program.program import Activation, Array, Program, Seed
from ..kernels.elementwise import block_of, blocks, chain
from ..kernels.launch import InputRef, InstructionRef, Launch
from . import copies, dense, windows
from .linear import GRID, ConvPlanner, LinearPlanner


def plan(
    program: Program,
    n: int,
    batch: int,
    constants: Mapping[int, Array],
    tier: ConvPlanner | None = None,
) -> tuple[Launch, ...]:
    """The launches of instruction n for `batch` samples, in order; none for what needs no kernel.

    `tier` plans convolutions and products better (see tensor.py, library.py); without it they are plain gathers.
    `constants` are those of `folded`. Reads of activations, constants and a given relevance need no kernel.
    """
    step = program.instructions[n]
    if step.constant or isinstance(step.what, Activation):
        return ()
    if isinstance(step.what, Seed):
        return _seed(program, n, batch, step.what)
    if step.kind == "map":
        return (chain(program, (n,), (n,), batch, constants),)
    work = LinearPlanner(program, n, batch, constants, tier)
    assert isinstance(step.what, LinearMap)
    (LINEAR if step.kind == "linear" else ADJOINT)[step.what.name](work, step.what)
    if step.biased and not work.bias_added:
        work.add_bias()
    return tuple(work.launches)


def alias(program: Program, n: int) -> int | None:
    """The instruction whose array serves as that of n too, so that nothing has to run; None if n has its own."""
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
        return (Launch("seed_top", (batch, 1, 1), (256, 1, 1), (InputRef("scores"), InstructionRef(n), *numbers)),)
    block, rows = block_of(classes), targets * batch
    grid = (blocks(classes, block), min(rows, GRID), 1)
    return (
        Launch(
            "seed_index",
            grid,
            (block, 1, 1),
            (InputRef("target"), InstructionRef(n), np.int32(rows), np.int32(classes)),
        ),
    )


LINEAR: dict[str, Callable[..., None]] = {
    "Conv": windows.conv,
    "Matmul": dense.matmul,
    "Pool": windows.pool,
    "Select": windows.select,
    "Sum": copies.total,
    "Reshape": copies.reshape,
    "Permute": copies.permute,
    "Slice": copies.box,
}

ADJOINT: dict[str, Callable[..., None]] = {
    "Conv": windows.conv,
    "Matmul": dense.matmul,
    "Pool": windows.pool,
    "Select": windows.select,
    "Sum": copies.spread,
    "Reshape": copies.reshape,
    "Permute": copies.permute_back,
    "Slice": copies.box_back,
}
