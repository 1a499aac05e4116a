"""Options of methods on the command line: their flags, and the values that are written behind them."""

from __future__ import annotations

import argparse
from typing import Any

from ..methods.registry import METHODS
from ..registry import Option, read_value
from .parsers.groups import METHOD_OPTION
from .parsers.parser import Parser


def add(parser: Parser) -> None:
    """Add a flag for every option of a registered method that has none yet.

    The options of the package's own methods are flags from the start, so that help needs no import of a method. Where
    a flag means something else to the command, the option is `--METHOD-OPTION`.
    """
    for name, entry in METHODS.items():
        for key in entry.options:
            dest = f"{METHOD_OPTION}{key}"
            word = flag(key) if parser.dest_of(flag(key)) in (None, dest) else flag_of(name, key)
            if not parser.has(word):
                parser.add_argument(word, dest=dest, metavar="X", help=f"of {name}")


def given(args: argparse.Namespace) -> dict[str, str]:
    """Return the texts of the options that are given, by their names."""
    return {
        key.removeprefix(METHOD_OPTION): text
        for key, text in vars(args).items()
        if key.startswith(METHOD_OPTION) and text is not None
    }


def flag(key: str) -> str:
    """Return the flag of an option: "--times-input"."""
    return f"--{key.replace('_', '-')}"


def flag_of(method: str, key: str) -> str:
    """Return the flag of an option whose own name is taken: "--my-method-scale"."""
    return flag(f"{method}_{key}")


def value(option: Option, text: str) -> Any:
    """Return the value that the text behind the flag of an option stands for. Raises UsageError."""
    return read_value(option, text, flag(option.name))
