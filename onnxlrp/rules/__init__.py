"""Rules: how the relevance of a layer's output becomes the relevance of its operands.

A rule is a frozen dataclass, `rule(op, relevance) -> one relevance for each operand`, registered by name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..errors import UsageError, did_you_mean
from ..program.op import Op
from ..program.value import Value


class Rule(Protocol):
    """Distributes the relevance of an op's result over its operands."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]: ...


RULES: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound=type[Any])


def rule(name: str, *, conserves: bool = True) -> Callable[[_Class], _Class]:
    """Register a rule under the name that the command line and composites use."""

    def register(cls: _Class) -> _Class:
        if name in RULES:
            raise ValueError(f"two rules are called {name!r}")
        cls.name, cls.conserves = name, conserves
        RULES[name] = cls
        return cls

    return register


def make(name: str, *args: float, **options: Any) -> Rule:
    """A rule by its name and options."""
    _load()
    if name not in RULES:
        raise UsageError(f'there is no rule "{name}"', did_you_mean(name, RULES))
    cls = RULES[name]
    fields = [f.name for f in dataclasses.fields(cls)]
    unknown = [key for key in options if key not in fields]
    if unknown or len(args) > len(fields):
        known = ", ".join(fields) or "none"
        raise UsageError(
            f'rule "{name}" has no option {unknown[0] if unknown else len(args)!r}', f"its options: {known}"
        )
    made: Rule = cls(*args, **options)
    return made


def parse(text: str) -> Rule:
    """`gamma(0.25)`, `alpha_beta(alpha=2, beta=1)`, `zplus`."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if match is None:
        raise UsageError(f'"{text}" is not a rule', "write name, name(0.25) or name(option=0.25)")
    name, inside = match.group(1), match.group(2) or ""
    args, options = [], {}
    for item in filter(None, (part.strip() for part in inside.split(","))):
        key, _, number = item.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            raise UsageError(f'"{number}" in "{text}" is not a number', f"write {name}(0.25)") from None
        if key:
            options[key.strip()] = value
        else:
            args.append(value)
    return make(name, *args, **options)


def registry() -> dict[str, type[Any]]:
    """All rules by name."""
    _load()
    return dict(RULES)


def _load() -> None:
    from . import attention, gradient, lrp, pattern, product  # noqa: F401 (registers)
