"""Constant folding: the constants that a run reads, computed before there is a device."""

from __future__ import annotations

import numpy as np

from ....program.interpret import run_linear, run_map
from ....program.program import Array, Constant, Program
from ....program.value import drop_broadcast


def fold_constants(program: Program) -> dict[int, Array]:
    """Return the constants that a run reads, by instruction: float32, contiguous, without broadcast copies."""
    instructions = program.instructions
    exact: dict[int, Array] = {}

    def array(n: int) -> Array:
        step = instructions[n]
        if isinstance(step.what, Constant):
            return step.what.array
        if n not in exact:
            operands = [array(i) for i in step.inputs]
            cut = run_map(step, [*map(drop_broadcast, operands)]) if step.kind == "map" else run_linear(step, operands)
            exact[n] = np.broadcast_to(cut, step.shape)
        return exact[n]

    needed = {i for step in instructions if not step.constant for i in step.inputs} | set(program.outputs.values())
    return {n: _packed(array(n)) for n in sorted(needed) if instructions[n].constant}


def _packed(array: Array) -> Array:
    cut = drop_broadcast(array)
    return np.ascontiguousarray(cut, np.float32).reshape(cut.shape)
