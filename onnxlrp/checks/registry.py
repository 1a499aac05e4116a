"""The registry of checks: frozen dataclasses with `@check`, in the modules of this folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .. import registry
from ..errors import UsageError, did_you_mean
from ..findings.finding import SEVERITIES, Finding
from ..registry import Registry
from .settings import Settings

if TYPE_CHECKING:
    from .context import CheckContext


class Check(Protocol):
    """Examines a case; its fields are its thresholds, which the settings may change."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        ...


@dataclass(frozen=True, eq=False)
class CheckEntry(registry.Entry):
    """A registered check.

    Attributes:
        make: Its class.
        severity: How a failure counts where the settings name nothing.
    """

    make: type[Any]
    severity: str


CHECKS: Registry[CheckEntry] = Registry("check", __package__ or "")
_Class = TypeVar("_Class", bound=type[Any])


def check(id: str, *, severity: str = "error", order: int = 100) -> Callable[[_Class], _Class]:
    """Register a check, a frozen dataclass whose fields are its thresholds.

    Args:
        id: The name that settings and reports use.
        severity: How a failure counts where the settings name nothing: "error", "warning" or "note".
        order: Checks with smaller numbers run first.

    Returns:
        A decorator for the class, which it gives back.

    Raises:
        ValueError: There is no such severity.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"{severity!r} is not a severity: {', '.join(SEVERITIES)}")

    def register(cls: _Class) -> _Class:
        CHECKS.register(id, CheckEntry(cls, severity), source=cls, order=order)
        return cls

    return register


def thresholds(id: str) -> dict[str, Any]:
    """Return the thresholds of a check with their defaults."""
    return {name: option.default for name, option in CHECKS[id].options.items()}


def make(id: str, **given: Any) -> Check:
    """Return a check with some thresholds given.

    Args:
        id: A name in `CHECKS`.
        given: Values of its thresholds by name.

    Raises:
        UsageError: There is no such check or threshold, or a value is not a number.
    """
    known = CHECKS[id].options
    for name, value in given.items():
        if name not in known:
            raise UsageError(f'check "{id}" has no threshold "{name}"', did_you_mean(name, [*known, "severity"]))
        _refuse(id, name, value, known[name].type == "int")
    made: Check = CHECKS[id].make(**given)
    return made


def configured(id: str, settings: Settings) -> Check:
    """Return the check with the thresholds of the settings. Raises UsageError."""
    return make(id, **settings.thresholds.get(id, {}))


def severity(id: str, settings: Settings) -> str:
    """Return how a failure of the check counts by the settings, "off" where it does not run."""
    return settings.severities.get(id, CHECKS[id].severity)


def _refuse(id: str, name: str, value: Any, whole: bool) -> None:
    """Raise UsageError unless a threshold is a finite number, a positive whole one for a count."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (whole and (not isinstance(value, int) or value < 1)):
        wanted = "a whole number from 1" if whole else "a number"
        raise UsageError(f"check {id}: {name} = {value!r} is not {wanted}", f"give {wanted}, such as {name} = 1")
