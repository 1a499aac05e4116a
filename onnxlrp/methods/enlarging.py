"""Coarse maps of feature maps or tokens, enlarged to the input."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .problem import Problem
from .registry import Array


def enlarged(problem: Problem, heat: Array) -> Array:
    """Enlarge maps to the input, and share them evenly between the channels.

    Pictures are interpolated linearly, other inputs take the nearest position.

    Args:
        problem: The samples.
        heat: Maps [N, *sizes], one length for each axis of space of the input.

    Returns:
        An array in the shape of the problem's x.
    """
    kind = problem.kind
    if kind.is_image:
        height, width = problem.grid
        resized = [
            Image.fromarray(h.astype(np.float32), "F").resize((width, height), Image.Resampling.BILINEAR) for h in heat
        ]
        return problem.on_channels(np.stack([np.asarray(r, np.float64) for r in resized]))
    spatial = kind.spatial_axes or tuple(range(len(kind.shape)))
    for n, axis in enumerate(spatial):
        length = kind.shape[axis]
        heat = heat.take(np.arange(length) * heat.shape[1 + n] // length, axis=1 + n)
    others = tuple(axis for axis in range(len(kind.shape)) if axis not in spatial)
    share = np.expand_dims(heat, tuple(1 + axis for axis in others))
    count = int(np.prod([kind.shape[axis] for axis in others], dtype=int))
    return np.array(np.broadcast_to(share / count, problem.x.shape))
