"""Rules: how the relevance of a layer's output becomes the relevance of its operands.

A rule is a frozen dataclass, `rule(op, relevance) -> one relevance for each operand`, registered by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..errors import UsageError, of_type
from ..program.op import Op
from ..program.value import Value
from ..registry import Registry, made, options_of


class Rule(Protocol):
    """Distributes the relevance of an op's result over its operands."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in the operands' shapes."""
        ...


RULES: Registry[type[Any]] = Registry("rule", __name__)
_Class = TypeVar("_Class", bound=type[Any])


def rule(name: str, *, conserves: bool = True) -> Callable[[_Class], _Class]:
    """Register a rule, a frozen dataclass.

    Args:
        name: The name that the command line and composites use; the class gets it as its attribute `name`.
        conserves: Whether the operands together get the relevance of the result, but for what the ledger accounts for.

    Returns:
        A decorator for the class, which it gives back.
    """

    def register(cls: _Class) -> _Class:
        cls.name, cls.conserves = name, conserves
        RULES.register(name, cls)
        return cls

    return register


def make(name: str, *args: float, **options: Any) -> Rule:
    """Return a rule by its name and options.

    Args:
        name: A name in `RULES`.
        args: Values of its options in their order.
        options: Values of its options by name.

    Raises:
        UsageError: There is no such rule, it has no such option, or refuses the value.
    """
    cls = RULES[name]
    known = tuple(options_of(cls))
    if len(args) > len(known):
        raise UsageError(
            f'rule "{name}": {len(args)} options are given, it has {len(known)}',
            f"its options: {', '.join(known) or 'none'}",
        )
    in_order = dict(zip(known, args, strict=False))
    for key in in_order.keys() & options.keys():
        raise UsageError(f'rule "{name}": the option "{key}" is given twice', "give it once")
    rule: Rule = made("rule", name, cls, {**in_order, **options})
    return rule


def parse(text: str) -> Rule:
    """Return the rule that a text names: `gamma(0.25)`, `alpha_beta(alpha=2, beta=1)`, `zplus`.

    Raises:
        UsageError: The text is not a rule, or there is no such rule or option.
    """
    of_type(str, "the text of a rule, such as 'gamma(0.25)'", rule=text)
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


def described(rule: Any) -> str:
    """Return a rule with the options that differ from its defaults, for reading: `gamma(gamma=0.1)`.

    Args:
        rule: The rule. Of an option that is an array the first numbers are written.
    """
    name = str(getattr(rule, "name", type(rule).__name__))
    said = []
    for key, option in options_of(type(rule)).items():
        value = getattr(rule, key)
        if hasattr(value, "ravel"):
            said.append(f"{key}={','.join(f'{v:.3g}' for v in value.ravel()[:4])}" + "…" * (value.size > 4))
        elif value is not None and value != option.default:
            said.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return f"{name}({', '.join(said)})" if said else name
