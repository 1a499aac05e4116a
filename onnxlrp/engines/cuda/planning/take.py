"""Planning of copies by places that the forward pass computes, and of their adjoint."""

from __future__ import annotations

import math

import numpy as np

from ....errors import UnsupportedError
from ....program.linear import Take
from ..kernels.launch import Argument, block_size, grid_size
from .linear import LinearPlanner, check_size

EXACT = 2**24  # numbers of elements that a float counts: the tensors of the forward pass are floats


def copy(planner: LinearPlanner, p: Take) -> None:
    """Plan copies of the elements at the places."""
    _each(planner, p, "take_copy", planner.input(), planner.stored_operand(1), planner.result)


def add(planner: LinearPlanner, p: Take) -> None:
    """Plan sums of what each element receives, as integers, so that they do not depend on the order of threads."""
    count = planner.result_samples * math.prod(p.source)
    largest, total = planner.scratch(count, "int32"), planner.scratch(count, "uint64")
    s, places = planner.input(), planner.stored_operand(1)
    # 2^bits terms or more that are no larger than the largest, which is below a power of two.
    bits = np.int32(math.prod(p.target).bit_length())
    block = block_size(count)
    grid = (grid_size(count, block), 1, 1)
    planner.launch("take_clear", grid, block, largest, total, np.int64(count))
    _each(planner, p, "take_largest", s, places, largest)
    _each(planner, p, "take_add", s, places, largest, total, ending=(bits,))
    planner.launch("take_finish", grid, block, largest, total, planner.result, np.int64(count), bits)


def _each(
    planner: LinearPlanner, p: Take, kernel: str, *arguments: Argument, ending: tuple[Argument, ...] = ()
) -> None:
    """Append a launch with a thread for each place of each sample."""
    source, target = (check_size(math.prod(shape)) for shape in (p.source, p.target))
    if source > EXACT:
        raise UnsupportedError(
            f"{planner.step.origin}: the cuda engine counts {EXACT} elements of a sample, and here are {source}",
            "try --engine ort",
        )
    numbers = (planner.result_samples, planner.samples(planner.operand(1)), source, target)
    planner.launch_per_element(kernel, target, planner.result_samples, *arguments, *map(np.int32, numbers), *ending)
