"""What an evaluation is asked: methods and metrics by name or as objects, with their options and the run's seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..composites import Composite
from ..errors import UsageError
from ..methods.registry import METHODS, make
from .metrics import registry as metrics_registry
from .metrics.registry import METRICS, Metric
from .metrics.trial import Attributor

Methods = Sequence[str] | Mapping[str, Any]
Metrics = Sequence[str | Metric] | Mapping[str, Mapping[str, Any]]
Progress = Callable[[int, int, str], None]


def attributors(
    methods: Methods, options: Mapping[str, Mapping[str, Any]], seed: int, batch_size: int | None
) -> list[Attributor]:
    """Raises UsageError for an unknown method or option."""
    named = dict(methods) if isinstance(methods, Mapping) else {name: name for name in methods}
    if not named:
        raise UsageError("no method to evaluate", "name some: --methods epsilon_plus_flat,sensitivity")
    for name in options:
        if name not in named:
            raise UsageError(f'options for "{name}", which is not evaluated', "name it among the methods")
    made = []
    for name, way in named.items():
        given = dict(options.get(name, {}))
        if isinstance(way, str):
            if "seed" in METHODS[way].options:
                given = {"seed": seed, **given}
            if not METHODS[way].is_composite:
                make(way, **{k: v for k, v in given.items() if k != "on_unsupported"})
        elif not isinstance(way, str | Composite) and not callable(way):
            raise UsageError(f'method "{name}" is a {type(way).__name__}', "give a name, a Composite or a function")
        made.append(Attributor(name, way, given, batch_size))
    return made


def judges(metrics: Metrics, seed: int) -> dict[str, Metric]:
    """Metrics by name; those that draw get the run's seed, unless they have one by option. Raises UsageError."""
    made: dict[str, Metric] = {}
    for name, how in _each(metrics):
        if not isinstance(how, Mapping):
            made[name] = how
            continue
        drawn = {"seed": seed} if "seed" in METRICS[name].options else {}
        made[name] = metrics_registry.make(name, **{**drawn, **how})
    if not made:
        raise UsageError("no metric to evaluate by", "known: " + ", ".join(METRICS))
    return made


def _each(metrics: Metrics) -> Iterator[tuple[str, Any]]:
    if isinstance(metrics, Mapping):
        yield from metrics.items()
        return
    for one in metrics:
        yield (one, {}) if isinstance(one, str) else (type(one).name, one)  # type: ignore[attr-defined]
