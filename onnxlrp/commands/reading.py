"""Inputs of a command: the files that it reads, and those that are rejected."""

from __future__ import annotations

import argparse

from ..errors import InputError
from ..streaming import sources
from ..streaming.batches import Rejected
from .console import Console
from .parsers.groups import SOURCE


def files(args: argparse.Namespace, console: Console, by_folder: bool = False) -> sources.Files:
    """Return the files of the arguments; print which are left out. Raises UsageError, NothingToDo, InputError.

    Args:
        args: The arguments, with those of `parsers.groups.inputs`.
        console: Where it is printed.
        by_folder: As of `sources.files`.
    """
    asked = {name: getattr(args, name) for name in SOURCE}
    found = sources.find(args.inputs, **asked, by_folder=by_folder)
    for folder, count in found.left_out.items():
        console.note(f"{folder}: {count} heatmaps written by onnxlrp are left out")
    return found


def say_reordered(reordered: bool, console: Console) -> None:
    """Print that columns of a table stood in another order than the model's features, where they did."""
    if reordered:
        console.note("columns are matched by name with feature_names of the model's metadata, in another order")


def reject(row: Rejected, inputs: int, on_error: str, console: Console) -> None:
    """Stop at an item that cannot be read, or print the error and go on.

    Args:
        row: The item.
        inputs: The number of all items.
        on_error: "fail" or "skip".
        console: Where the error is printed.

    Raises:
        InputError: On "fail".
    """
    error = row.error
    if on_error == "fail":
        more = "; or go on without it: --on-error skip" if inputs > 1 else ""
        raise InputError(error.message, error.command + more) from None
    console.error(InputError(error.message, f"{error.command}; skipped"))
