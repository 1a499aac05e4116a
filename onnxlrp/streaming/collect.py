"""The files that checks look at: samples by globs, and the masks that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError, NothingToDo
from ..model import Model
from ..preprocessing import images
from ..preprocessing.samples import Samples

Array = npt.NDArray[Any]


def samples(model: Model, given: Sequence[str], folder: Path = Path()) -> Samples:
    """The samples of files, folders and globs relative to a folder; no two have one name.

    Raises InputError, UnsupportedError, NothingToDo.
    """
    paths = list(dict.fromkeys(path for word in given for path in _files(word, folder)))
    parts = []
    for path, name in zip(paths, names(paths), strict=True):
        read = model.read(path)
        several = [f"{name}.{i}" for i in range(len(read))]
        parts.append(replace(read, names=[name] if len(read) == 1 else several))
    return model.read(parts)


def names(paths: Sequence[Path]) -> list[str]:
    """What each file is called: its stem, with as many of its folders before it as tell all of them apart."""
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        made = ["/".join(path.with_suffix("").parts[-depth:]) for path in paths]
        if len(set(made)) == len(made):
            return made
    whole = [str(path) for path in paths]
    for path, name in zip(paths, whole, strict=True):
        if whole.count(name) > 1:
            raise InputError(f"{path} is given twice", "give every sample once")
    return whole


def mask(folder: Path, name: str, samples: Samples, index: int, model: Model, grid: tuple[int, ...]) -> Array | None:
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
        seen = model.preprocessing.view(np.repeat(inside[..., None], 3, axis=2).astype(np.uint8) * 255)
        inside = np.asarray(seen)[..., 0] > 127
    if inside.shape != grid:
        wanted = grid if original is None else (original.height, original.width)
        raise InputError(
            f"{path}: a mask of shape {inside.shape} for {name}, which has {wanted}", "make it as large as its sample"
        )
    return inside


def _files(word: str, folder: Path) -> list[Path]:
    """The files that a word names: itself, those right in a folder, or those that a glob matches."""
    path = folder / word
    if path.is_dir():
        return images.listing(path)
    if path.exists() or not any(c in word for c in "*?["):
        return [path]
    # An absolute pattern has an anchor, which Path.glob refuses.
    start = Path(path.anchor) if path.is_absolute() else Path()
    found = sorted(p for p in start.glob(str(path.relative_to(start))) if p.suffix.lower() in images.SUFFIXES)
    if not found:
        raise NothingToDo(f"{path}: matches no picture and no .npy file", "check the pattern of samples")
    return found
