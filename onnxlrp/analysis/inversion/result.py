"""The result of an inversion, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...graph.outputs.units import Unit
from ..ascent.domain import Domain
from ..ascent.optimize import Array

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Result:
    """Pictures that have the representation of samples in a layer.

    Attributes:
        pictures: z [N, C, *space], from 0 to 1, as a file of 8 bits holds it where the input is a picture.
        inputs: What the model takes, [N, *shape].
        originals: z of the samples.
        names: Names of the samples.
        domain: How pictures and inputs belong together.
        layer: The layer.
        errors: ‖Φ(x) - Φ₀‖²/‖Φ₀‖² of each [N].
        relaxed: The same before values were rounded, to pixels of 8 bits or to the type of the input [N].
        picture_errors: The mean squared difference to the sample, in z [N].
        mean_errors: That of the mean picture [N].
        mean_source: Which picture that is, in words.
        about: Method, options and their sources.
        stopped: Whether the run was ended early.
    """

    pictures: Array
    inputs: Array
    originals: Array
    names: Sequence[str]
    domain: Domain
    layer: Unit
    errors: Array
    relaxed: Array
    picture_errors: Array
    mean_errors: Array
    mean_source: str
    about: Mapping[str, Any]
    stopped: bool = False

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def images(self) -> list[Image]:
        """The pictures as the model sees them, 8 bits a channel. Raises UnsupportedError where the input is none."""
        return [self.domain.picture(z) for z in self.pictures]


def lines(found: Result) -> Iterator[tuple[str, str]]:
    """Yield a key and words for each number that an inversion reports."""
    yield "layer", f"{found.layer.label}  {list(found.layer.shape)}"
    for n, name in enumerate(found.names):
        at = f" of {name}" if len(found) > 1 else ""
        before = f" ({found.relaxed[n]:.3g} before rounding)" if _differs(found.errors[n], found.relaxed[n]) else ""
        yield f"layer error{at}", f"{found.errors[n]:.3g} of the squared norm{before}"
        yield (
            f"picture error{at}",
            f"{found.picture_errors[n]:.3g} mean squared, black to white 1; {found.mean_errors[n]:.3g} of "
            f"{found.mean_source}",
        )


def doubts(found: Result) -> Iterator[tuple[str, str]]:
    """Yield what a user should know of an inversion, with what to try."""
    if np.any(found.about.get("no gradient", False)):
        yield "no gradient reaches the input: what is written is noise", "name an earlier layer: --layer"
    worse = int((found.picture_errors >= found.mean_errors).sum())
    if worse:
        who = "the picture is" if len(found) == 1 else f"{worse} of {len(found)} pictures are"
        yield (
            f"{who} further from the original than {found.mean_source}: the layer does not keep colours or places",
            "a layer nearer to the input: --layer",
        )
    if found.about["method"] == "optimisation" and (found.errors > 0.3).any():
        yield (
            f"the representation is not reached: an error of {found.errors.max():.2g}",
            "more steps (--steps) or less smoothing (--regularisation)",
        )


def _differs(a: float, b: float) -> bool:
    return bool(abs(a - b) > 0.02 * max(a, b) + 1e-6)
