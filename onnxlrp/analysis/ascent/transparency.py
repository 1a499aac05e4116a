"""Transparency of optimised pictures: what the gradient never asked for is clear (MACO's alpha mask)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .optimize import Array

if TYPE_CHECKING:
    from PIL.Image import Image

PERCENTILE = 80.0
"""Of the places that any gradient reached; those above are opaque. The authors' code cuts there too."""


def opacity(slopes: Array) -> Array:
    """Return α = min(s / q, 1), s = Σ_channels Σ_steps |∂f/∂x|, q the `PERCENTILE` of those s that are not 0.

    Args:
        slopes: Σ_steps |∂f/∂x| [N, C, *space].

    Returns:
        α [N, *space], from 0, clear, to 1, opaque; 0 everywhere where no gradient arrived.

    References:
        Fel et al., Unlocking feature visualization for deep networks with magnitude constrained optimization,
        NeurIPS 2023.
    """
    sums = slopes.sum(axis=1, dtype=np.float64)
    found = np.zeros(sums.shape, np.float32)
    for n, one in enumerate(sums):
        reached = one[one > 0]
        if reached.size:
            found[n] = np.minimum(one / np.percentile(reached, PERCENTILE), 1)
    return found


def cutout(picture: Image, alpha: Array) -> Image:
    """Return a picture with α [H, W] as its transparency, 8 bits a channel."""
    from PIL import Image as pillow

    made = picture.copy()
    made.putalpha(pillow.fromarray(np.rint(alpha * 255).astype(np.uint8)))
    return made
