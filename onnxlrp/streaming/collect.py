"""Samples that are judged together: all of them at once, with the masks that belong to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..model import Model
from ..preprocessing import images
from ..preprocessing.samples import Samples
from .sources import Source

Array = npt.NDArray[Any]


def samples(model: Model, source: Source) -> list[Samples]:
    """Read all samples of a source at once; they may differ in size.

    Args:
        model: The model that they are read for.
        source: The items, found `by_folder`, so that masks and baselines find each by its name.

    Raises:
        InputError: A file that cannot be read.
        UnsupportedError: Preprocessing that is not stated under `strict`.
    """
    return [item.read(model) for item in source]


def masks(folder: Path, samples: Samples, model: Model, grid: tuple[int, ...]) -> list[Array | None]:
    """Read the mask of each sample from a folder.

    Args:
        folder: Holds a mask NAME.png or NAME.npy for samples called NAME.
        samples: The samples.
        model: The model that they are read for.
        grid: Height and width of their heatmaps.

    Returns:
        For each sample the mask [H, W] on the grid, None where it has none.

    Raises:
        InputError: There is no such folder, or a mask has another size.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder of masks", "check the path")
    return [_mask(folder, name, samples, n, model, grid) for n, name in enumerate(samples.names)]


def _mask(folder: Path, name: str, samples: Samples, index: int, model: Model, grid: tuple[int, ...]) -> Array | None:
    """The mask [H, W] of a sample on the grid of its heatmap, None where the folder has none.

    A picture's mask has the picture's own size and goes through the same resize and crop; above black is inside.
    """
    tries = (folder / f"{name}{suffix}" for suffix in sorted(images.SUFFIXES))
    path = next((p for p in tries if p.is_file()), None)
    if path is None:
        return None
    if path.suffix.lower() == ".npy":
        inside = images.read_array(path) > 0
    else:
        inside = np.asarray(images.read_image(path)).max(axis=2) > 0
    original = samples.originals[index]
    if original is not None and inside.shape == (original.height, original.width):
        inside = model.preprocessing.view_mask(inside)
    if inside.shape != grid:
        wanted = grid if original is None else (original.height, original.width)
        raise InputError(
            f"{path}: a mask of shape {inside.shape} for {name}, which has {wanted}", "make it as large as its sample"
        )
    return inside
