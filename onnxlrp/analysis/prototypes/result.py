"""The result of a search for prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..ascent.domain import Domain
from ..ascent.optimize import Array, State
from ..ascent.transparency import cutout

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Result:
    """Prototypes of a class, best first.

    Attributes:
        pictures: z [n, C, *space], from 0 to 1.
        inputs: What the model takes, [n, *shape].
        domain: How pictures and inputs belong together.
        name: What is raised, in words.
        target: The class id.
        scores: The value that is raised, of each [n].
        evidence: What speaks for and against, by name: see `analysis.prototypes.evidence`.
        about: Style, steps, seed, statistics of colours, and where each comes from.
        state: What another run goes on from.
        stopped: Whether the run was ended early.
        dead: Whether no step of a picture had any gradient [n]: it is noise.
        opacity: α [n, *space] of `analysis.ascent.transparency`, from 0, where the gradient asked for nothing, to 1.
    """

    pictures: Array
    inputs: Array
    domain: Domain
    name: str
    target: int | None
    scores: Array
    evidence: Mapping[str, Any]
    about: Mapping[str, Any]
    state: State = field(repr=False)
    stopped: bool
    dead: Array
    opacity: Array

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def images(self) -> list[Image]:
        """The pictures as the model sees them, 8 bits a channel. Raises UnsupportedError where the input is none."""
        return [self.domain.picture(z) for z in self.pictures]

    @property
    def cutouts(self) -> list[Image]:
        """The pictures with `opacity` as their transparency. Raises UnsupportedError where the input is none."""
        return [cutout(picture, alpha) for picture, alpha in zip(self.images, self.opacity, strict=True)]
