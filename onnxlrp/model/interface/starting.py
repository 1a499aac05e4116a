"""Starts of relevance, checked against the graph and laid out as the inputs of a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...compile import StartForm
from ...composites import Composite
from ...errors import InputError, UsageError, did_you_mean, one_of
from ...graph.graph import Array, Graph
from ...graph.outputs.units import MODES, Start, of_tensor


@dataclass(frozen=True, eq=False)
class Placed:
    """A start with its numbers in the shapes that a program takes.

    Attributes:
        form: What a program is compiled for.
        values: [N, *form.shape], float32.
        weight: [N, 1, …], float32; of forms that have none it is part of the values.
    """

    form: StartForm
    values: Array
    weight: Array


def seed_rows(seed: Any, shape: tuple[int, ...], samples: int) -> Array:
    """Return the seed of each sample [N, *shape], float32.

    Args:
        seed: An array [*shape], for all samples, or [N, *shape].
        shape: The shape of the output per sample.
        samples: N, the number of samples.

    Raises:
        InputError: It has another shape, or is not finite.
    """
    try:
        given = np.asarray(seed)
        if given.dtype.kind not in "biuf":
            raise TypeError
        values = given.astype(np.float32)
    except (TypeError, ValueError):
        raise InputError(f"a seed of type {type(seed).__name__}", "give an array of real numbers") from None
    if values.shape not in (shape, (samples, *shape)):
        raise InputError(
            f"a seed of shape {list(values.shape)}; the output has {list(shape)} per sample",
            f"give {list(shape)}, or {[samples, *shape]} with one for each of the {samples} samples",
        )
    if not np.isfinite(values).all():
        raise InputError("the seed has values that are NaN or infinite", "give finite numbers")
    return np.broadcast_to(values, (samples, *shape))


def placed_starts(
    graph: Graph, starts: Sequence[Start], samples: int, composite: Composite | None, other: bool
) -> list[Placed]:
    """Return starts as a program takes them.

    Args:
        graph: The graph.
        starts: The starts.
        samples: N, the number of samples.
        composite: The rules of the backward pass; None without one.
        other: A class or relevance of the logits is given too.

    Raises:
        UsageError: No such tensor, values of another shape, or nothing that propagates.
    """
    if starts and (composite is None or other):
        what = "ids or seed" if other else "no composite"
        raise UsageError(f"starts with {what}", "give a composite and starts alone, a start at the logits among them")
    return [_placed(graph, start, samples) for start in starts]


def _placed(graph: Graph, start: Start, samples: int) -> Placed:
    one_of(MODES, mode=start.mode)
    if start.tensor not in graph.shapes:
        raise UsageError(f'no tensor is called "{start.tensor}"', did_you_mean(start.tensor, graph.shapes))
    shape = of_tensor(graph, start.tensor).shape
    values = np.asarray(start.values, np.float32)
    if values.ndim in (0, len(shape)):
        values = np.broadcast_to(values, (samples, *(values.shape or (1,) * len(shape))))
    fits = values.ndim == 1 + len(shape) and len(values) == samples
    if not (fits and all(n in (1, m) for n, m in zip(values.shape[1:], shape, strict=True))):
        raise UsageError(
            f'values of shape {list(np.shape(start.values))} for "{start.tensor}", of {list(shape)} per sample',
            f"give {list(shape)}, or {samples} of them; axes may have length 1",
        )
    weight = np.asarray(start.weight, np.float32)
    if weight.shape not in ((), (samples,)):
        raise UsageError(f"a weight of shape {list(weight.shape)}", f"give one number, or {samples}")
    weight = np.broadcast_to(weight, (samples,)).reshape(samples, *[1] * len(shape))
    weighted = start.mode == "difference" and bool((weight != 1).any())
    if not weighted and start.mode != "difference":
        values = values * weight
    return Placed(StartForm(start.tensor, start.mode, values.shape[1:], weighted), values, weight)
