"""Declaration of options: how a field of a dataclass is stated on the command line and in a settings file.

Importing this module imports nothing heavy: `--help` reads the declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, NamedTuple

from .values import Kind


@dataclass(frozen=True)
class Flag:
    """An option of the command line.

    Attributes:
        words: Its names, such as ("-t", "--target").
        help: Its text in --help.
        commands: The commands that take it.
        group: The group of --help that it stands in: "asked" (the explanation), "written" (files) or "run" (execution).
        argparse: Further arguments of `add_argument`.
        read: Turn what argparse found into the field's value. Raises UsageError.
    """

    words: tuple[str, ...]
    help: str
    commands: tuple[str, ...]
    group: str = "asked"
    argparse: Mapping[str, Any] = field(default_factory=dict)
    read: Callable[[Any], Any] = lambda found: found


class Option(NamedTuple):
    """How a field is stated outside of Python.

    Attributes:
        flag: On the command line; None where Python alone takes it.
        toml: In a settings file; None where it has no key there.
        composites: Only methods that propagate through layers take it.
        recorded: The provenance names the value where it is not the default.
    """

    flag: Flag | None = None
    toml: Kind | None = None
    composites: bool = False
    recorded: bool = False


def stated(
    flag: Flag | None = None, toml: Kind | None = None, *, composites: bool = False, recorded: bool = False
) -> dict[str, Any]:
    """Return the metadata of a field: see `Option`."""
    return {"option": Option(flag, toml, composites, recorded)}


def declared(options: type[Any]) -> tuple[tuple[Any, Option], ...]:
    """Return the fields of options, in order, with how each is stated."""
    known: Any = options  # mypy takes no class for hashable
    return _read_fields(known)


@cache
def _read_fields(options: Hashable) -> tuple[tuple[Any, Option], ...]:
    assert isinstance(options, type)
    return tuple((f, f.metadata["option"]) for f in fields(options) if "option" in f.metadata)
