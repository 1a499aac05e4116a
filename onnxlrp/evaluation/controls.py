"""Controls: maps that know nothing of the model, which a faithful method has to beat."""

from __future__ import annotations

import numpy as np

from ..methods.registry import Array
from ..model import Model
from .context import Attribute


def edges(model: Model, x: Array, ids: Array) -> Array:
    """R = ‖∇x‖ of each channel, shared: where the picture changes.

    Args:
        model: The model.
        x: Pictures [N, …].
        ids: The class of each.
    """
    kind = model.kind
    slopes = np.gradient(x.astype(np.float64), axis=tuple(1 + axis for axis in kind.spatial_axes))
    return np.asarray(np.sqrt(sum(slope**2 for slope in slopes)))


def centre(model: Model, x: Array, ids: Array) -> Array:
    """R = exp(-d² / 2σ²), d the distance from the middle, σ a quarter of the height: where photographers look.

    Args:
        model: The model.
        x: Pictures [N, …].
        ids: The class of each.
    """
    height, width = model.kind.grid
    down, right = np.mgrid[:height, :width]
    squares = (down - (height - 1) / 2) ** 2 + (right - (width - 1) / 2) ** 2
    heat = np.exp(-squares / (2 * (height / 4) ** 2))
    return model.kind.shared(np.broadcast_to(heat, (len(x), height, width)))


CONTROLS: dict[str, Attribute] = {"edges (control)": edges, "centre (control)": centre}
