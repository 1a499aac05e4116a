"""Passes over a finished program. Each keeps its meaning."""

from __future__ import annotations

from dataclasses import replace

from .program import Program


def dead_code(program: Program) -> Program:
    """Without the instructions that no output needs."""
    needed = set(program.outputs.values())
    for n in range(len(program.instructions) - 1, -1, -1):
        if n in needed:
            needed.update(program.instructions[n].inputs)
    kept = sorted(needed)
    number = {old: new for new, old in enumerate(kept)}
    instructions = tuple(
        replace(step, inputs=tuple(number[i] for i in step.inputs)) for step in (program.instructions[n] for n in kept)
    )
    return replace(program, instructions=instructions, outputs={k: number[v] for k, v in program.outputs.items()})
