"""Methods and metrics of an evaluation, from names, options and objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..composites import Composite
from ..errors import UsageError
from ..methods.default import Default
from ..methods.registry import METHODS, make
from ..model import DEFAULT, ExplainOptions
from .context import Attributor
from .metrics import registry as metrics_registry
from .metrics.registry import METRICS, Metric

Methods = Sequence[str] | Mapping[str, Any]
Metrics = Sequence[str | Metric] | Mapping[str, Mapping[str, Any]]
Progress = Callable[[int, int, str], None]


def make_attributors(
    methods: Methods, options: Mapping[str, Mapping[str, Any]], seed: int, batch_size: int | None, default: Default
) -> list[Attributor]:
    """Make the methods of an evaluation.

    Args:
        methods: Names, or methods by name, as of `evaluate`.
        options: Options of methods, by name.
        seed: The seed of methods that draw random numbers.
        batch_size: Samples of a batch.
        default: The method that "auto" stands for.

    Raises:
        UsageError: A method or an option does not exist.
    """
    if isinstance(methods, Mapping):
        auto = [name for name, way in methods.items() if isinstance(way, str) and way == DEFAULT]
        named = {name: default.name if name in auto else way for name, way in methods.items()}
        options = {**options, **{name: {**default.options, **options.get(name, {})} for name in auto}}
    else:
        named = {name: name for word in methods for name in [default.name if word == DEFAULT else word]}
        if DEFAULT in [*methods]:
            own = options.get(DEFAULT, options.get(default.name, {}))
            options = {**options, default.name: {**default.options, **own}}
        options = {word: given for word, given in options.items() if word != DEFAULT}
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
                make(way, **ExplainOptions.of(method=way, **given).options)
        elif not isinstance(way, str | Composite) and not callable(way):
            raise UsageError(f'method "{name}" is a {type(way).__name__}', "give a name, a Composite or a function")
        made.append(Attributor(name, way, given, batch_size))
    return made


def make_metrics(metrics: Metrics, seed: int) -> dict[str, Metric]:
    """Make the metrics of an evaluation, by name.

    Args:
        metrics: Names, options by name, or Metrics.
        seed: The seed of metrics that draw random numbers and have none by option.

    Raises:
        UsageError: A metric or an option does not exist.
    """
    made: dict[str, Metric] = {}
    for name, given in _each(metrics):
        if not isinstance(given, Mapping):
            made[name] = given
            continue
        drawn = {"seed": seed} if "seed" in METRICS[name].options else {}
        made[name] = metrics_registry.make(name, **{**drawn, **given})
    if not made:
        raise UsageError("no metric to evaluate", "known: " + ", ".join(METRICS))
    return made


def _each(metrics: Metrics) -> Iterator[tuple[str, Any]]:
    if isinstance(metrics, Mapping):
        yield from metrics.items()
        return
    for one in metrics:
        yield (one, {}) if isinstance(one, str) else (type(one).name, one)  # type: ignore[attr-defined]
