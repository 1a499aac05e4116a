"""Names from files, fit for a terminal and a line."""

from __future__ import annotations

from ... import errors


def printable(text: str, limit: int = 200) -> str:
    """A name from a file, safe to print: control, format and bidi characters escaped, very long ones cut."""
    safe = errors.printable(text[: limit + 1]).replace("\n", "\\n")
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
