"""Samples of several sizes in one call: those of one size run together, the results are in the samples' order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UsageError
from ..explanation import Explanation
from ..explanation.targets import is_pair
from ..preprocessing.samples import Samples, opened
from .compiled import CompiledModel
from .extra_inputs import rows
from .options import ExplainOptions


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
    parts = [model.read(item) for item in opened(x)]
    count = sum(map(len, parts))
    several = isinstance(options.target, list | np.ndarray | tuple) and np.ndim(options.target) == 1
    several = several and not (model.place is not None and is_pair(options.target))
    if several and len(options.target) != count:
        raise UsageError(f"{len(options.target)} targets for {count} samples", "give one target for each sample")
    groups: dict[tuple[bool, tuple[int, ...]], list[tuple[int, Samples]]] = {}
    start = 0
    for samples in parts:
        groups.setdefault((samples.pictures, samples.kind.shape), []).append((start, samples))
        start += len(samples)
    found: dict[int, Explanation] = {}
    for group in groups.values():
        places = np.concatenate([first + np.arange(len(samples)) for first, samples in group])
        target = [options.target[place] for place in places] if several else options.target
        own = options.at(rows(model.given, places), target=target)
        made = explain([samples for _, samples in group], own)
        found.update(zip(places.tolist(), made, strict=True))
    return [found[place] for place in range(count)]
