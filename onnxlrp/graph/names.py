"""Unique names for tensors and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count


def unique_name(
    wish: str, taken: Callable[[str], bool], form: str = "{}/{}", numbers: Iterable[int] | None = None
) -> str:
    """Return a name that is not taken: the wish, or else the wish with a number.

    Args:
        wish: The name to have.
        taken: Whether a name is in use.
        form: How a number is put behind the wish.
        numbers: The numbers to try, in order; 2, 3, 4, … by default.
    """
    if not taken(wish):
        return wish
    names = (form.format(wish, number) for number in numbers or count(2))
    return next(name for name in names if not taken(name))
