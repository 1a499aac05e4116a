"""What a method is, and the list of those that are no composite. A new one is a frozen dataclass beside this file."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from ..composites import PRESETS
from ..errors import UsageError, did_you_mean
from . import FAMILIES

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a method finds: `relevance` in the shape of the problem's x, and `notes` to print with it by name: an array
    [N] has one for each sample, anything else is for all of them."""

    relevance: Array
    notes: Mapping[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """Explains a `methods.problem.Problem`: samples, and a class of each; its fields are its options."""

    def __call__(self, problem: Any) -> Attribution: ...


@dataclass(frozen=True)
class Entry:
    """A line of `onnxlrp methods`: `passes` says what it costs, in forward passes for each sample."""

    make: type[Any]
    paper: str
    passes: str


METHODS: dict[str, Entry] = {}
_Class = TypeVar("_Class", bound=type[Any])


def method(name: str, *, paper: str, passes: str) -> Callable[[_Class], _Class]:
    """Register a method under the name that the command line and `explain` use."""

    def register(cls: _Class) -> _Class:
        if name in METHODS:
            raise ValueError(f"two methods are called {name!r}")
        cls.name = name
        METHODS[name] = Entry(cls, paper, passes)
        return cls

    return register


def registry() -> Mapping[str, Entry]:
    """All methods that are no composite, by name: the package's families, then those of others."""
    for family in FAMILIES:
        importlib.import_module(f"{__package__}.{family}")

    def place(name: str) -> int:
        family = METHODS[name].make.__module__.removeprefix(f"{__package__}.")
        return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)

    return {name: METHODS[name] for name in sorted(METHODS, key=place)}


def names() -> tuple[str, ...]:
    """The names of all methods: composites first."""
    return (*PRESETS, *registry())


def asked(chosen: Any, options: Mapping[str, Any]) -> Method | None:
    """The method that a name and its options, or an object, stand for; None for a composite and a preset's name."""
    if isinstance(chosen, str):
        if chosen in PRESETS:
            return None
        if chosen not in names():
            raise UsageError(f'there is no method "{chosen}"', did_you_mean(chosen, names()))
        return make(chosen, **options)
    if type(chosen) not in {entry.make for entry in registry().values()}:
        return None
    if options:
        raise UsageError("options belong to methods named by a word", "set them where the method is made")
    made: Method = chosen
    return made


def name_of(chosen: Method) -> str:
    """The name that a method is registered under."""
    return next(name for name, entry in registry().items() if entry.make is type(chosen))


def refuse_composites_own(chosen: Method, **given: Any) -> None:
    """Raise UsageError where a method is given what only a composite has: rules, layers, a ledger."""
    wrong = [key for key, value in given.items() if value]
    if wrong:
        fix = "leave it out, or take a composite such as epsilon_plus_flat"
        raise UsageError(f"{name_of(chosen)} propagates through no layers: {wrong[0]} is not for it", fix)


def options_of(name: str) -> tuple[str, ...]:
    """The names of a method's options."""
    return tuple(f.name for f in dataclasses.fields(registry()[name].make))


def make(name: str, **options: Any) -> Method:
    """A method by its name and options. Raises UsageError."""
    known = options_of(name)
    for key in options:
        if key not in known:
            fix = did_you_mean(key, known) if known else "it has no options"
            raise UsageError(f'method "{name}" has no option "{key}"', fix)
    made: Method = registry()[name].make(**options)
    return made
