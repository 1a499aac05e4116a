"""Run a program over more samples than one batch holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..engines import Run
from ..errors import UnsupportedError, UsageError
from ..program.program import Array, Program


def in_batches(
    run: Run,
    program: Program,
    inputs: Mapping[str, Array],
    seeds: Mapping[str, Array],
    size: int | None,
    fixed: int | None,
) -> dict[str, Array]:
    """Run a program in batches, and return its outputs for all samples.

    Args:
        run: What runs the program.
        program: The program, which says where the samples' axis of each output is.
        inputs: Arrays [N, …] by the names of the inputs.
        seeds: Class ids [N] or [T, N], or relevance [N, …] or [T, N, …], by the names of the program's seeds.
        size: The most samples in a batch; None for all at once.
        fixed: The batch size of a model that takes no other: the last batch is filled up with its last sample.

    Raises:
        UsageError: A size below 1.
        UnsupportedError: An output has not one row for each sample.
    """
    if size is not None and size < 1:
        raise UsageError(f"batch_size={size}", "give 1 or more")
    given = {name: step for name, step in program.seeds.items() if name in seeds}
    samples = len(next(iter(inputs.values())))
    step = fixed or size or samples
    pieces: list[dict[str, Array]] = []
    for start in range(0, samples, step):
        count = min(step, samples - start)
        # A model of one fixed batch size gets its last sample again to fill the batch.
        rows = np.minimum(np.arange(start, start + (fixed or count)), samples - 1)
        # Indexing by numbers copies, which all samples at once can do without.
        feeds = {name: x if len(rows) == samples == len(x) else x[rows] for name, x in inputs.items()}
        feeds |= {name: seeds[name][(slice(None),) * step.targets + (rows,)] for name, step in given.items()}
        pieces.append({key: _first(program, key, value, count, len(rows)) for key, value in run(feeds).items()})
    return {key: _joined(program, key, [piece[key] for piece in pieces]) for key in pieces[0]}


def _axis(program: Program, key: str) -> int | None:
    step = program.instructions[program.outputs[key]]
    return None if step.constant else int(step.targets)


def _first(program: Program, key: str, value: Array, count: int, fed: int) -> Array:
    """Return the first `count` samples of an output. Raises UnsupportedError where it has not `fed` of them."""
    axis = _axis(program, key)
    if axis is not None and value.shape[axis] != fed:
        raise UnsupportedError(
            f"{key} has {value.shape[axis]} rows for {fed} samples: the runtime makes other shapes than loading found",
            "give one sample at a time, and report the model",
        )
    return value if axis is None else value[(slice(None),) * axis + (slice(0, count),)]


def _joined(program: Program, key: str, pieces: list[Array]) -> Array:
    axis = _axis(program, key)
    return pieces[0] if axis is None or len(pieces) == 1 else np.concatenate(pieces, axis)
