"""Boxes of a detector in a result: what they are, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..pictures.marks import Mark

_DRAWN = 12  # boxes beside the one that is explained


class Box(NamedTuple):
    """A box in pixels of the model's input, with its best class.

    Attributes:
        y0: Upper edge.
        x0: Left edge.
        y1: Lower edge.
        x1: Right edge.
        score: The score of the class.
        id: The class.
        label: Its name, or its id.
    """

    y0: float
    x0: float
    y1: float
    x1: float
    score: float
    id: int
    label: str

    def moved(self, part: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
        """Return the box in the picture that the input of (height, width) `size` is a part of.

        Args:
            part: Left, top, right and bottom of the part, in pixels of the picture.
            size: Height and width of the input.
        """
        left, top, right, bottom = part
        down, across = (bottom - top) / size[0], (right - left) / size[1]
        return self._replace(
            y0=top + self.y0 * down, x0=left + self.x0 * across, y1=top + self.y1 * down, x1=left + self.x1 * across
        )


class Boxes(NamedTuple):
    """The boxes of a sample, best first.

    Attributes:
        found: The boxes.
        chosen: The index of the one that is explained.
    """

    found: tuple[Box, ...]
    chosen: int

    @property
    def box(self) -> Box:
        """The box that is explained."""
        return self.found[self.chosen]

    def to_dict(self) -> dict[str, Any]:
        """Return the boxes in JSON's types: all of them under "boxes", that which is explained under "box"."""
        return {"box": self.box._asdict(), "boxes": [box._asdict() for box in self.found]}


def marks(boxes: Boxes, found: Sequence[Box]) -> list[Mark]:
    """Return the boxes as a picture shows them: the explained one strong, and with its name.

    Args:
        boxes: The boxes of the sample.
        found: The same in pixels of the picture.
    """
    own = found[boxes.chosen]
    others = [box for n, box in enumerate(found[: _DRAWN + 1]) if n != boxes.chosen]
    return [
        *(Mark((box.y0, box.x0, box.y1, box.x1)) for box in others),
        Mark((own.y0, own.x0, own.y1, own.x1), f"{own.label} {own.score:.2f}", True),
    ]
