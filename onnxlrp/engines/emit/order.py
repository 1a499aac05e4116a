"""The order in which instructions become nodes."""

from __future__ import annotations

from collections.abc import Mapping

from ...program.program import Activation, Program


def sizes(program: Program) -> dict[int, int]:
    """Return the instructions that are max(x, −x), and the instruction of each x: one pass, where there is an Abs."""
    steps, found = program.instructions, {}
    for n, step in enumerate(steps):
        if step.op == "max" and len(step.inputs) == 2:
            for x, other in (step.inputs, step.inputs[::-1]):
                if steps[other].op == "neg" and steps[other].inputs == (x,):
                    found[n] = x
    return found


def emission(program: Program, absolute: Mapping[int, int], places: Mapping[str, int]) -> list[int]:
    """Return the instructions that outputs need, in the order of their nodes: first those of the relevance.

    onnxruntime begins at the last node without readers, and runs what it needs, then goes on with the one before. What
    only another output needs, such as a number of a hidden layer, therefore comes last, that which is ready first at
    the very end: it runs as soon as its operands are there, and these need not be kept until the rest is done.

    Args:
        program: The program.
        absolute: Instructions that read one operand alone, as `sizes` returns them.
        places: The place of the node that computes each tensor of the forward pass.
    """
    steps = program.instructions

    def operands(n: int) -> tuple[int, ...]:
        return (absolute[n],) if n in absolute else steps[n].inputs

    def needed(ends: list[int], done: set[int]) -> set[int]:
        """Return what `ends` need, but for what is in `done`, which holds all that its own members need."""
        found, stack = set(ends), list(ends)
        while stack:
            fresh = [i for i in operands(stack.pop()) if i not in found and i not in done]
            found.update(fresh)
            stack.extend(fresh)
        return found

    main = [n for name, n in program.outputs.items() if name == "relevance"] or list(program.outputs.values())
    spine = needed(main, set())
    ready: dict[int, tuple[int, int]] = {}  # when the operands of an instruction are there: in the forward pass, behind

    def ready_at(n: int) -> tuple[int, int]:
        if n not in ready:
            what = steps[n].what
            if n in spine and not isinstance(what, Activation):
                ready[n] = (1, n) if not steps[n].constant else (0, -1)
            elif isinstance(what, Activation):
                ready[n] = (0, places.get(what.tensor, -1))
            else:
                ready[n] = max((ready_at(i) for i in operands(n)), default=(0, -1))
        return ready[n]

    order, done = sorted(spine), set(spine)
    for end in sorted(set(program.outputs.values()) - spine, key=lambda n: (ready_at(n), n), reverse=True):
        own = sorted(needed([end], done))
        order += own
        done.update(own)
    return order
