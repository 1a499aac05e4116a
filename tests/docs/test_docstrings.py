"""Every parameter of the public API is described in its docstring, under Args or Attributes (Google style)."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import onnxlrp
from onnxlrp.checks.registry import CHECKS
from onnxlrp.evaluation.metrics.registry import METRICS
from onnxlrp.methods.registry import METHODS
from onnxlrp.rules import RULES

SECTION = re.compile(r"^(\w[\w ]*):$")
ENTRY = re.compile(r"^(\*{0,2}\w+)(?: \([^)]*\))?:(?: (.*))?$")


def described(text: str | None) -> dict[str, str]:
    """Return what the sections Args and Attributes of a docstring say of each name."""
    found: dict[str, str] = {}
    section, indent, name = "", 0, ""
    for line in inspect.cleandoc(text or "").splitlines():
        depth = len(line) - len(line.lstrip())
        if line and not depth:
            head = SECTION.match(line)
            section, indent, name = head[1] if head else "", 0, ""
        elif line and section in ("Args", "Attributes"):
            indent = indent or depth
            entry = ENTRY.match(line.strip()) if depth == indent else None
            if entry:
                name = entry[1].lstrip("*")
                found[name] = entry[2] or ""
            elif name:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found


def described_of(thing: Any) -> dict[str, str]:
    """Return what the docstrings of a function, or of a class and the classes that it is made of, describe."""
    if not inspect.isclass(thing):
        return described(thing.__doc__)
    ours = [base for base in reversed(thing.__mro__) if base.__module__.startswith("onnxlrp")]
    documents = [base.__doc__ for base in ours]
    documents += [vars(base)["__init__"].__doc__ for base in ours if "__init__" in vars(base)]
    return {name: text for document in documents for name, text in described(document).items()}


def parameters(thing: Any) -> list[str]:
    """Return the names that a caller of a function or class may give."""
    if dataclasses.is_dataclass(thing):
        return [field.name for field in dataclasses.fields(thing) if field.init and not field.name.startswith("_")]
    if inspect.isclass(thing) and thing.__init__ is object.__init__:
        return []
    names = inspect.signature(thing).parameters
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def methods_of(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, member in inspect.getmembers(cls):
        if not name.startswith("_") and (inspect.isfunction(member) or inspect.ismethod(member)):
            yield f"{cls.__name__}.{name}", member


def public() -> Iterator[tuple[str, Any]]:
    """Yield what users call, by a name for the test."""
    for name in onnxlrp.__all__:
        thing = getattr(onnxlrp, name)
        if not isinstance(thing, str):
            yield name, thing
    for cls in (onnxlrp.Model, onnxlrp.Explanation, onnxlrp.Composite):
        yield from methods_of(cls)
    for room, things in (
        ("rules", dict(RULES)),
        ("methods", {name: entry.make for name, entry in METHODS.items()}),
        ("metrics", {name: entry.make for name, entry in METRICS.items()}),
        ("checks", {name: entry.make for name, entry in CHECKS.items()}),
    ):
        yield from ((f"{room}: {name}", thing) for name, thing in things.items())


PUBLIC = dict(public())


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_is_described(name: str) -> None:
    thing = PUBLIC[name]
    assert (thing.__doc__ or "").strip(), f"{name} has no docstring"
    texts = described_of(thing)
    missing = [one for one in parameters(thing) if len(texts.get(one, "").split()) < 2]
    assert not missing, f"{name} does not describe {', '.join(missing)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_is_described_that_is_not_there(name: str) -> None:
    thing = PUBLIC[name]
    attributes = {*dir(thing), *getattr(thing, "__annotations__", {})}
    unknown = {one for one in described_of(thing) if one not in parameters(thing) and one not in attributes}
    assert not unknown, f"{name} describes {', '.join(sorted(unknown))}, which it does not take"


def test_sections_are_read() -> None:
    text = """Add numbers.

    Args:
        a: The first number,
            in metres.
        b (int): The second: a count.
        *rest: Others.

    Returns:
        c: Their sum.
    """
    assert described(text) == {"a": "The first number, in metres.", "b": "The second: a count.", "rest": "Others."}
