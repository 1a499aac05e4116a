"""Inputs of a command: the files that it reads, and those that are rejected."""

from __future__ import annotations

import argparse

from ..errors import InputError, UsageError
from ..streaming import sources
from ..streaming.batches import Rejected
from .console import Console


def files(args: argparse.Namespace, console: Console) -> sources.Files:
    """Return the files of the arguments; print which are left out. Raises UsageError, NothingToDo, InputError."""
    listed, column = getattr(args, "from_list", None), getattr(args, "path_column", None)
    if listed is not None and args.inputs:
        raise UsageError(f"--from-list {listed} beside {args.inputs[0]}", "give the inputs or a list of them")
    if listed is not None:
        return sources.listed(listed, column)
    if column is not None:
        raise UsageError(f"--path-column {column} without a list", "name the list of paths: --from-list FILE.csv")
    found = sources.files(args.inputs, getattr(args, "name_column", None), getattr(args, "recursive", False))
    for folder, count in found.left_out.items():
        console.note(f"{folder}: {count} heatmaps written by onnxlrp are left out")
    return found


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
