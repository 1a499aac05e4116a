"""Every error a user can meet: what is wrong with which file or node, and the fix to type."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from numbers import Integral, Real
from typing import Any


class OnnxLrpError(Exception):
    """An error with the fix to type; `code` is the exit status of the command line.

    Args:
        message: What is wrong, with which node or file.
        fix: The fix to type.
        command: The fix on the command line, where Python has another.
    """

    code = 70

    def __init__(self, message: str, fix: str, command: str = "") -> None:
        message, fix = printable(message), printable(fix)
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.command = printable(command) or fix

    def __str__(self) -> str:
        return f"{self.message}\n{self.fix}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own would call the class with the message alone: a worker's error would break its pool.
        return _unpickled, (type(self), self.__dict__)


def _unpickled(kind: type[OnnxLrpError], state: dict[str, Any]) -> OnnxLrpError:
    """An error of a worker, made without its constructor, which a subclass may have changed."""
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


class CheckFailed(OnnxLrpError):
    """A check on a model or an explanation did not hold."""

    code = 1


class UsageError(OnnxLrpError):
    """The request names something that does not exist: a method, a rule, a target, an option."""

    code = 2


class InputError(OnnxLrpError):
    """A file is missing, cut, or not what it claims to be."""

    code = 3


class UnsupportedError(OnnxLrpError):
    """The question cannot be answered: an operator without a rule, a preprocessing nobody stated."""

    code = 4


class NothingToDo(OnnxLrpError):
    """The request is well formed and empty."""

    code = 5


def printable(text: str) -> str:
    """Text with what a terminal would obey or hide escaped: control, format and bidi characters, surrogates.

    Line ends stay, for messages that have several; names from files have none (`graph.reading.printable`).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "x"?`, or the list of what there is."""
    import difflib

    choices = sorted(set(known))
    close = difflib.get_close_matches(word, choices, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(f'"{c}"' for c in close) + "?"
    return "known: " + ", ".join(choices)


def listed(words: Sequence[str], most: int = 3) -> str:
    """Join words for a message, the first few of many: `a, b, c and 5 more`."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def at_least(least: float, *, whole: bool = False, **options: float) -> None:
    """Refuse options below what they may be: `at_least(1, whole=True, steps=self.steps)`.

    Args:
        least: The smallest value allowed.
        whole: Allow whole numbers only.
        **options: Values by the names of the options.

    Raises:
        UsageError: An option is smaller, no number, or not a whole one.
    """
    for name, value in options.items():
        if not isinstance(value, Integral if whole else Real) or not value >= least:
            raise UsageError(f"{name}={value!r}", f"give {'a whole number, ' * whole}{least:g} or more")


def of_type(types: type | tuple[type, ...], meant: str, /, **options: object) -> None:
    """Refuse options of another type: `of_type((str, NoneType), "a name", output=self.output)`.

    Args:
        types: The types allowed.
        meant: What they stand for, in words.
        **options: Values by the names of the options.

    Raises:
        UsageError: An option is of another type.
    """
    for name, value in options.items():
        if not isinstance(value, types):
            raise UsageError(f"{name}={repr(value)[:80]} is of type {type(value).__name__}", f"give {meant}")


def one_of(known: Collection[str], **options: str) -> None:
    """Refuse options that are no word of a list: `one_of(SCORES, score=self.score)`.

    Args:
        known: The words allowed.
        **options: Values by the names of the options.

    Raises:
        UsageError: An option has another value.
    """
    for name, value in options.items():
        if not isinstance(value, str) or value not in known:
            raise UsageError(f'there is no {name} "{value}"', did_you_mean(str(value), known))
