"""Samples of several sizes in one call: those of one size run together, the results are in the samples' order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...explanation import Explanation
from ...explanation.targets import is_pair
from ...preprocessing.samples import Samples, numbered, opened
from ..compiled import CompiledModel
from ..options.explain import ExplainOptions
from .extra_inputs import rows

T = TypeVar("T")
M = TypeVar("M", bound=CompiledModel)


@dataclass(frozen=True, eq=False)
class Group:
    """Samples of one size.

    Attributes:
        samples: The samples.
        places: The number of each among all samples [n].
    """

    samples: Samples
    places: npt.NDArray[Any]

    def model(self, model: M) -> M:
        """Return the model for samples of this size, with their own rows of its other inputs."""
        own = model.at(self.samples.kind.shape, self.samples.own_size)
        return replace(own, given={**own.given, **rows(own.given, self.places)})


def groups(model: CompiledModel, x: Any) -> list[Group]:
    """Read samples of any sizes: those of one size in one group, in the order of their first.

    Args:
        model: The model, its output and inputs chosen.
        x: The samples, as of `Model.explain`.

    Raises:
        InputError: A sample cannot be read.
        UnsupportedError: Preprocessing that is not stated under `strict`.
    """
    parts = [model.read(item) for item in opened(x, whole_texts=model.reads_whole_texts)]
    found: dict[Any, list[tuple[int, Samples]]] = {}
    start = 0
    for samples in parts:
        found.setdefault(samples.form, []).append((start, samples))
        start += len(samples)
    made = [
        Group(
            model.read([samples for _, samples in group]),
            np.concatenate([first + np.arange(len(samples)) for first, samples in group]),
        )
        for group in found.values()
    ]
    if len(made) == 1:
        return made
    names = numbered([name for samples in parts for name in samples.names])
    return [replace(one, samples=replace(one.samples, names=[names[n] for n in one.places])) for one in made]


def in_order(found: Sequence[Group], values: Sequence[Sequence[T]]) -> list[T]:
    """Return what each group has of its samples, in the order of all samples.

    Args:
        found: The groups.
        values: A value for each sample of each group.
    """
    made = {
        int(place): value
        for one, own in zip(found, values, strict=True)
        for place, value in zip(one.places, own, strict=True)
    }
    return [made[place] for place in range(len(made))]


def explain_each(
    model: CompiledModel, x: Any, options: ExplainOptions, explain: Callable[[Any, ExplainOptions], Explanation]
) -> list[Explanation]:
    """Explain samples of any sizes, those of one size together.

    Args:
        model: The model, its output and inputs chosen.
        x: The samples, as of `Model.explain`.
        options: What is asked for. A list of targets, and arrays of other inputs, have one entry for each sample.
        explain: Explains samples of one size by the options.

    Returns:
        An explanation of each sample, in their order.

    Raises:
        UsageError: Relevance is put in, or targets are given for another number of samples.
    """
    if options.seed is not None:
        raise UsageError(
            "explain_each starts from classes, and a seed is given", "explain samples of one size: model.explain"
        )
    found = groups(model, x)
    count = sum(len(one.samples) for one in found)
    several = isinstance(options.target, list | np.ndarray | tuple) and np.ndim(options.target) == 1
    several = several and not (model.place is not None and is_pair(options.target))
    if several and len(options.target) != count:
        raise UsageError(f"{len(options.target)} targets for {count} samples", "give one target for each sample")
    made = []
    for one in found:
        target = [options.target[place] for place in one.places] if several else options.target
        own = options.at(rows(model.given, one.places), target=target)
        made.append([*explain(one.samples, own)])
    return in_order(found, made)
