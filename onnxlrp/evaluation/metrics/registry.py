"""What a metric is, and the list of them. A new one is a frozen dataclass in a module that `metrics` imports."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ...errors import UsageError, did_you_mean
from ...methods.registry import Array

if TYPE_CHECKING:
    from .trial import Trial

BETTER = ("higher", "lower")


@dataclass(frozen=True, eq=False)
class Curve:
    """What a metric looks like along an axis: x [S], and y [N, S] of each sample; `ticks` are names for x."""

    x: Array
    y: Array
    along: str
    across: str
    ticks: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Measured:
    """What a metric finds: `values` [N], NaN where a sample has no answer (`why` says so), and curves by name."""

    values: Array
    curves: Mapping[str, Curve] = field(default_factory=dict)
    why: str = ""


class Metric(Protocol):
    """Judges an explanation on trial, sample by sample; its fields are its options."""

    def __call__(self, trial: Trial) -> Measured: ...


@dataclass(frozen=True)
class Entry:
    """A registered metric: which way is better, and whether it asks for `masks` or for the `ledger`."""

    make: type[Any]
    paper: str
    better: str
    masks: bool = False
    ledger: bool = False

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        return " ".join((self.make.__doc__ or "").split("\n\n")[0].split())


METRICS: dict[str, Entry] = {}
_Class = TypeVar("_Class", bound=type[Any])


def metric(
    name: str, *, paper: str, better: str, masks: bool = False, ledger: bool = False
) -> Callable[[_Class], _Class]:
    """Register a metric under the name that the command line and `evaluate` use."""

    def register(cls: _Class) -> _Class:
        if name in METRICS or better not in BETTER:
            raise ValueError(f"two metrics are called {name!r}, or {better!r} is no direction")
        cls.name = name
        METRICS[name] = Entry(cls, paper, better, masks, ledger)
        return cls

    return register


def registry() -> Mapping[str, Entry]:
    """All metrics by name."""
    importlib.import_module("onnxlrp.evaluation.metrics")
    return METRICS


def kinds(name: str) -> dict[str, str]:
    """The options of a metric and the type of each, as written: "int", "float", "str"."""
    if name not in registry():
        raise UsageError(f'there is no metric "{name}"', did_you_mean(name, registry()))
    return {f.name: str(f.type) for f in dataclasses.fields(registry()[name].make)}


def make(name: str, **options: Any) -> Metric:
    """A metric by its name and options. Raises UsageError."""
    known = kinds(name)
    for key in options:
        if key not in known:
            raise UsageError(f'metric "{name}" has no option "{key}"', did_you_mean(key, known))
    made: Metric = registry()[name].make(**options)
    return made
