"""The registry: discovery, order, duplicates, unknown names, options; on a package that is made for the test."""

from __future__ import annotations

import importlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from onnxlrp import registry
from onnxlrp.errors import UsageError
from onnxlrp.registry import Registry, UnknownName
from onnxlrp.rules import parse

HEAD = "from shelf.registry import thing\n"
MODULES = {
    "registry": "from onnxlrp.registry import Registry\nTHINGS = Registry('thing', 'shelf')\n"
    "def thing(name, order=0):\n"
    "    def register(make):\n        THINGS.register(name, make, order=order)\n        return make\n"
    "    return register\n",
    "pear": HEAD + "@thing('williams')\ndef williams(): ...\n@thing('abate')\ndef abate(): ...\n",
    "apple": HEAD + "@thing('boskoop')\ndef boskoop(): ...\n@thing('apple')\ndef apple(): ...\n",
    "first": HEAD + "@thing('quince', order=-1)\ndef quince(): ...\n",
    "_hidden": "raise ImportError('this module is left out')\n",
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry[Any]]]:
    """Makes a package `shelf` of these modules, imports some of them, and gives its registry."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "load_plugins", lambda: None)

    def make(imported: Sequence[str] = (), **modules: str) -> Registry[Any]:
        forget()
        for name, code in {**MODULES, "__init__": "", **modules}.items():
            path = tmp_path / "shelf" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)
        importlib.invalidate_caches()
        for name in imported:
            importlib.import_module(f"shelf.{name}")
        found: Registry[Any] = importlib.import_module("shelf.registry").THINGS
        return found

    yield make
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


def loaded() -> set[str]:
    return {name.removeprefix("shelf.") for name in sys.modules if name.startswith("shelf.")} - {"registry"}


ORDER = ["quince", "boskoop", "apple", "williams", "abate"]


@pytest.mark.parametrize("imported", list(itertools.permutations(["pear", "apple", "first"])))
def test_the_order_is_the_same_whoever_imports_what_first(
    shelf: Callable[..., Registry[Any]], imported: tuple[str, ...]
) -> None:
    assert list(shelf(imported)) == ORDER


def test_a_name_of_a_module_imports_that_module_alone(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf()
    assert things["apple"].__name__ == "apple"
    assert loaded() == {"apple"}
    assert "boskoop" in things
    assert loaded() == {"apple"}
    assert things["williams"].__name__ == "williams"
    assert loaded() == {"apple", "first", "pear"}


def test_modules_that_come_first_are_enough_for_what_they_have(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf()
    things._first = ("pear",)
    assert "abate" in things
    assert loaded() == {"pear"}


def test_a_file_in_a_folder_of_its_own_counts_as_one_module(
    shelf: Callable[..., Registry[Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "shelf" / "citrus"
    things = shelf()
    folder.mkdir()
    (folder / "__init__.py").write_text(HEAD + "@thing('lemon')\ndef lemon(): ...\n")
    (folder / "lime.py").write_text("raise ImportError('only its folder imports it')\n")
    importlib.invalidate_caches()
    assert "lemon" in things


def test_names_of_others_come_last_and_are_not_its_own(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf()

    def other() -> None: ...

    things.register("a stranger", other)
    assert list(things) == [*ORDER, "a stranger"]
    assert things.own() == ORDER


def test_two_of_one_name_are_refused(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf(plum=HEAD + "@thing('abate')\ndef other(): ...\n")
    with pytest.raises(ValueError, match=r"two things are called 'abate': shelf\.pear\.abate and shelf\.plum\.other"):
        list(things)


def test_a_module_that_is_imported_anew_replaces_its_own(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf()
    before = things["abate"]
    importlib.reload(sys.modules["shelf.pear"])
    assert things["abate"] is not before
    assert list(things) == ORDER


def test_an_unknown_name_says_which_is_near(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf()
    with pytest.raises(UsageError) as caught:
        things["wiliams"]
    assert (caught.value.message, caught.value.fix) == ('there is no thing "wiliams"', 'did you mean "williams"?')
    assert things.get("wiliams") is None
    assert isinstance(things.unknown("x"), UnknownName)


@pytest.mark.parametrize("name", ["", "..", "registry", "_hidden", "os", "shelf.pear", "pear/../pear"])
def test_no_name_imports_what_is_not_in_the_folder(shelf: Callable[..., Registry[Any]], name: str) -> None:
    assert name not in shelf()


def test_a_module_that_fails_is_tried_again(shelf: Callable[..., Registry[Any]], tmp_path: Path) -> None:
    things = shelf(fig="raise RuntimeError('not yet')\n")
    with pytest.raises(RuntimeError, match="not yet"):
        list(things)
    (tmp_path / "shelf" / "fig.py").write_text(HEAD + "@thing('fig, ripe')\ndef fig(): ...\n")
    assert "fig, ripe" in list(things)


# -- options


def written(a: int, b: float | None = None, *, d: str | list[int] = "x") -> tuple[object, ...]:
    """Returns what it gets."""
    return a, b, d


def evaluated() -> Callable[..., Any]:
    """The same with annotations that are no strings, and an option without one."""
    code = compile(
        "def made(a: int, b: float | None = None, *, c='word', d: str | list[int] = 'x'): ...", "", "exec", 0, True
    )
    space: dict[str, Any] = {}
    exec(code, space)
    made: Callable[..., Any] = space["made"]
    return made


def test_options_are_those_of_the_signature() -> None:
    expected = {"a": ("int",), "b": ("float", "None"), "d": ("str", "list[int]")}
    assert {name: option.types for name, option in registry.options_of(written).items()} == expected
    found = registry.options_of(evaluated())
    assert {name: option.types for name, option in found.items()} == {**expected, "c": ("str",)}
    assert (found["c"].default, found["b"].default) == ("word", None)
    assert registry.made("thing", "w", written, {"a": 1, "d": "y"}) == (1, None, "y")


@pytest.mark.parametrize(("make", "fix"), [(written, "known: a, b, d"), (lambda: 0, "it has no options")])
def test_an_unknown_option_is_refused_with_those_that_there_are(make: Callable[..., Any], fix: str) -> None:
    with pytest.raises(UsageError, match='thing "w" has no option "other"') as caught:
        registry.made("thing", "w", make, {"other": 1})
    assert caught.value.fix == fix


def test_modules_that_come_first_are_imported_as_far_as_the_name_asks(shelf: Callable[..., Registry[Any]]) -> None:
    things = shelf()
    things._first = ("pear", "apple")
    assert "abate" in things
    assert loaded() == {"pear"}
    assert "boskoop" in things
    assert loaded() == {"pear", "apple"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gamma(0.1, gamma=0.2)", 'the option "gamma" is given twice'),
        ("flat(1, 2)", "2 options are given, it has 1"),
        ("flat(gamma=1)", 'rule "flat" has no option "gamma"'),
    ],
)
def test_options_of_a_rule_are_checked_in_order_and_by_name(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        parse(text)


def test_a_summary_is_the_first_paragraph_on_one_line() -> None:
    class Documented:
        """One sentence
        on two lines.

        More.
        """

    assert registry.summary(Documented) == "One sentence on two lines."
    assert registry.summary(lambda: 0) == ""
