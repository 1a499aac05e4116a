"""What a check is, and the list of them. A new one is a frozen dataclass in a module that `registry` imports."""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..errors import UsageError, did_you_mean
from ..findings.finding import SEVERITIES, Finding
from .settings import Settings

if TYPE_CHECKING:
    from .context import CheckContext

FAMILIES = ("loading", "numerics", "parity", "drift", "localization", "randomization", "budgets")


class Check(Protocol):
    """Examines a case; its fields are its thresholds, which the settings may change."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        ...


@dataclass(frozen=True)
class Entry:
    """A registered check: its class, and the severity that it has where the settings name none."""

    make: type[Any]
    severity: str

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        return " ".join((self.make.__doc__ or "").split("\n\n")[0].split())


CHECKS: dict[str, Entry] = {}
_Class = TypeVar("_Class", bound=type[Any])


def check(id: str, *, severity: str = "error") -> Callable[[_Class], _Class]:
    """Register a check under the id that settings and reports use."""

    def register(cls: _Class) -> _Class:
        if id in CHECKS or severity not in SEVERITIES:
            raise ValueError(f"two checks are called {id!r}, or {severity!r} is no severity")
        CHECKS[id] = Entry(cls, severity)
        return cls

    return register


def registry() -> Mapping[str, Entry]:
    """All checks by id, in the order in which they run."""
    homes = [importlib.import_module(f".{family}", __package__).__name__ for family in FAMILIES]
    # Whoever imports one family first must not change the order of the reports.
    order = {home: n for n, home in enumerate(homes)}
    return dict(sorted(CHECKS.items(), key=lambda item: order.get(item[1].make.__module__, len(homes))))


def thresholds(id: str) -> dict[str, Any]:
    """The thresholds of a check with their defaults."""
    return {f.name: f.default for f in dataclasses.fields(registry()[id].make)}


def make(id: str, **given: Any) -> Check:
    """A check with some thresholds given. Raises UsageError for an unknown check or threshold and for no number."""
    if id not in registry():
        raise UsageError(f'there is no check "{id}"', did_you_mean(id, registry()))
    fields = {f.name: f for f in dataclasses.fields(registry()[id].make)}
    for name, value in given.items():
        if name not in fields:
            raise UsageError(f'check "{id}" has no threshold "{name}"', did_you_mean(name, [*fields, "severity"]))
        _refuse(id, name, value, fields[name].type == "int")
    made: Check = registry()[id].make(**given)
    return made


def configured(id: str, settings: Settings) -> Check:
    """The check with the thresholds of the settings. Raises UsageError."""
    return make(id, **settings.thresholds.get(id, {}))


def severity(id: str, settings: Settings) -> str:
    """How a failure of the check counts by the settings, "off" where it does not run."""
    return settings.severities.get(id, registry()[id].severity)


def _refuse(id: str, name: str, value: Any, whole: bool) -> None:
    """Raise UsageError unless a threshold is a finite number, a positive whole one for a count."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (whole and (not isinstance(value, int) or value < 1)):
        wanted = "a whole number from 1" if whole else "a number"
        raise UsageError(f"check {id}: {name} = {value!r} is not {wanted}", f"give {wanted}, such as {name} = 1")
