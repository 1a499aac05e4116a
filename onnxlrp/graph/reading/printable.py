"""Text from files and libraries, safe to print on one line."""

from __future__ import annotations

import re

from ... import errors


def printable(text: str, limit: int = 200) -> str:
    """Return a name from a file, safe to print: control, format and bidi characters escaped, very long ones cut."""
    safe = errors.printable(text[: limit + 1]).replace("\n", "\\n")
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def first_line(error: Exception, limit: int = 240) -> str:
    """Return the first line of what an error of a library says, safe to print."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", str(error).strip() or type(error).__name__)
    return printable(text.splitlines()[0], limit)
