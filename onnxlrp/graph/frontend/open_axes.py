"""Axes of the inputs that a file leaves open, and the lengths that a user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

from ...errors import UnsupportedError, UsageError, did_you_mean
from ..reading.printable import printable

Place = tuple[str, int]  # an input and the number of its axis in the file, the batch included
Size = int | Sequence[int] | Mapping[Any, int]

_WORDS = {"h": ("h", "height"), "w": ("w", "width")}


class OpenAxis(NamedTuple):
    """An axis of an input that the file leaves open.

    Attributes:
        tensor: The input.
        number: The number of the axis in the file, the batch included.
        symbol: The file's name of its length, "" without one.
        side: "h" or "w" of the two open axes of an input of four, else "".
    """

    tensor: str
    number: int
    symbol: str
    side: str = ""

    @property
    def place(self) -> Place:
        """The input, and the number of the axis."""
        return self.tensor, self.number

    @property
    def is_side(self) -> bool:
        """Whether it is taken for height or width."""
        return bool(self.side)

    @property
    def name(self) -> str:
        """What messages call it and `--size` takes: the file's own name, else h, w or its number."""
        return printable(self.symbol) or self.side or str(self.number)

    @property
    def keys(self) -> list[Any]:
        """What it may be called in a size."""
        return [self.place, self.number, str(self.number), self.symbol, *_WORDS.get(self.side, ())]


def lengths(axes: Sequence[OpenAxis], size: Size | None) -> dict[Place, int]:
    """Return the length of each open axis that a size gives.

    Args:
        axes: The open axes of all inputs.
        size: One length for all axes; one for each open axis of an input, in order; or lengths by name: the file's
            name of the axis, its number in the file, or h and w.

    Raises:
        UsageError: A name that no open axis has, or what is no positive whole number.
        UnsupportedError: Another number of lengths than open axes.
    """
    if size is None:
        return {}
    if isinstance(size, Mapping):
        return _named(axes, size)
    given = [_positive(n) for n in (size if isinstance(size, Sequence) and not isinstance(size, str) else [size])]
    found: dict[Place, int] = {}
    for tensor in dict.fromkeys(axis.tensor for axis in axes):
        own = [axis for axis in axes if axis.tensor == tensor]
        each = given * len(own) if len(given) == 1 else given
        if len(each) != len(own):
            numbers = ", ".join(str(axis.number) for axis in own)
            raise UnsupportedError(
                f'the input "{printable(tensor)}" leaves {len(own)} axes open ({numbers}); {len(each)} sizes were '
                "given",
                "give each by its name: " + python(own),
                "give each by its name: " + command(own),
            )
        found |= {axis.place: length for axis, length in zip(own, each, strict=True)}
    return found


def python(axes: Sequence[OpenAxis], length: int = 64) -> str:
    """Return a size of open axes as Python takes it: `size={"t": 64}`."""
    return "size={" + ", ".join(f'"{name}": {length}' for name in dict.fromkeys(a.name for a in axes)) + "}"


def command(axes: Sequence[OpenAxis], length: int = 64) -> str:
    """Return a size of open axes as the command line takes it: `--size t=64`."""
    return "--size " + ",".join(f"{name}={length}" for name in dict.fromkeys(axis.name for axis in axes))


def _named(axes: Sequence[OpenAxis], size: Mapping[Any, int]) -> dict[Place, int]:
    found: dict[Place, int] = {}
    for key, length in size.items():
        named = [axis for axis in axes if key in axis.keys and key != ""]
        if not named:
            names = [axis.name for axis in axes]
            fix = did_you_mean(str(key), names) if names else "leave the size out: every axis has its length"
            raise UsageError(f'no open axis of the inputs is called "{key}"', fix)
        found |= {axis.place: _positive(length) for axis in named}
    # Axes of one name have one length, whichever of them it was given for.
    by_symbol = {axis.symbol: found[axis.place] for axis in axes if axis.symbol and axis.place in found}
    return {a.place: by_symbol[a.symbol] for a in axes if a.symbol in by_symbol and a.place not in found} | found


def _positive(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 < int(value) < 1 << 31:
        raise UsageError(f"{value!r} is no length of an axis", "give a whole number of 1 or more")
    return int(value)
