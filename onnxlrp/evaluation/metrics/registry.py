"""The registry of metrics: frozen dataclasses with `@metric`, in the modules of this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from ... import registry
from ...methods.registry import Array
from ...registry import Registry

if TYPE_CHECKING:
    from ..context import EvaluationContext

BETTER = ("higher", "lower")


@dataclass(frozen=True, eq=False)
class Curve:
    """A metric along an axis.

    Attributes:
        x: Positions [S].
        y: Values of each sample [N, S].
        along: What x is.
        across: What y is.
        ticks: Names for x, empty for numbers.
    """

    x: Array
    y: Array
    along: str
    across: str
    ticks: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Measurement:
    """The measurement of a metric.

    Attributes:
        values: The value of each sample [N], NaN where it has none.
        curves: Curves by name.
        why: Why samples have no value.
    """

    values: Array
    curves: Mapping[str, Curve] = field(default_factory=dict)
    why: str = ""


def joined(parts: Sequence[Measurement], places: Sequence[Array]) -> Measurement:
    """Join the measurements of samples of several sizes, in the order of all samples.

    The points of a curve lie at whole numbers of pixels or regions, so those of different sizes are apart by rounding:
    each sample's curve is read off at the points of the first, by straight lines between its own.

    Args:
        parts: The measurements, one for each size.
        places: The number of each sample among all, for each size.
    """
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(places))
    curves = {}
    for name, first in parts[0].curves.items():
        found = [part.curves[name] for part in parts if name in part.curves]
        if len(found) < len(parts) or any([*curve.ticks] != [*first.ticks] for curve in found):
            continue  # by layer, of models that differ in their layers
        rows = [np.stack([np.interp(first.x, curve.x, y) for y in curve.y]) for curve in found]
        curves[name] = replace(first, y=np.concatenate(rows)[order])
    why = next((part.why for part in parts if part.why), "")
    return Measurement(np.concatenate([part.values for part in parts])[order], curves, why)


class Metric(Protocol):
    """Measures an explanation, sample by sample; its fields are its options."""

    def __call__(self, context: EvaluationContext) -> Measurement:
        """Measure every sample."""
        ...


@dataclass(frozen=True, eq=False)
class MetricEntry(registry.Entry):
    """A registered metric.

    Attributes:
        make: Its class.
        paper: Authors and year.
        better: The direction of better values, "higher" or "lower".
        masks: Whether it needs masks of the objects.
        ledger: Whether it needs the ledger, which only composites have.
        controls: Whether maps that know nothing of the model are measured beside the methods (`evaluation.controls`).
    """

    make: type[Any]
    paper: str
    better: str
    masks: bool = False
    ledger: bool = False
    controls: bool = False

    @property
    def summary(self) -> str:
        """A sentence about it, with its paper."""
        return f"{super().summary.rstrip('.:')} ({self.paper})."


METRICS: Registry[MetricEntry] = Registry("metric", __package__ or "")
_Class = TypeVar("_Class", bound=type[Any])


def metric(
    name: str, *, paper: str, better: str, masks: bool = False, ledger: bool = False, controls: bool = False
) -> Callable[[_Class], _Class]:
    """Register a metric, a frozen dataclass whose fields are its options.

    Args:
        name: The name that the command line and `evaluate` use; the class gets it as its attribute `name`.
        paper: Authors and year.
        better: The direction of better values, "higher" or "lower".
        masks: Whether it needs masks of the objects.
        ledger: Whether it needs the ledger, which only composites have.
        controls: Whether maps that know nothing of the model are measured beside the methods.

    Returns:
        A decorator for the class, which it gives back.

    Raises:
        ValueError: There is no such direction.
    """
    if better not in BETTER:
        raise ValueError(f"{better!r} is not a direction: {', '.join(BETTER)}")

    def register(cls: _Class) -> _Class:
        cls.name = name
        METRICS.register(name, MetricEntry(cls, paper, better, masks, ledger, controls), source=cls)
        return cls

    return register


def make(name: str, **options: Any) -> Metric:
    """Return a metric by its name and options.

    Args:
        name: A name in `METRICS`.
        options: Values of its options.

    Raises:
        UsageError: There is no such metric or option, or an option refuses its value.
    """
    made: Metric = registry.made("metric", name, METRICS[name].make, options)
    return made
