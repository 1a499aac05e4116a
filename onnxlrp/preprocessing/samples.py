"""Samples: arrays in the model's own layout, with the pictures that they come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..inputs import InputKind
from . import images
from .transform import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """A batch of samples.

    Attributes:
        values: The model's input [N, …].
        views: The pictures as the model sees them, resized and cut; None for arrays.
        originals: The whole pictures; None for arrays.
        names: File stems.
        pictures: Whether all samples are pictures.
        kind: The kind of the input.
    """

    values: Array
    views: Sequence[Image | None]
    originals: Sequence[Image | None]
    names: Sequence[str]
    pictures: bool
    kind: InputKind

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, keep: slice) -> Samples:
        return replace(
            self,
            values=self.values[keep],
            views=self.views[keep],
            originals=self.originals[keep],
            names=self.names[keep],
        )


def read(x: Any, kind: InputKind, dtype: str, preprocessing: Callable[[], Preprocessing]) -> Samples:
    """Read samples.

    Args:
        x: An array (one sample or a batch), a PIL image, a path, Samples, or a list of these.
        kind: The kind of the input.
        dtype: The type of the input.
        preprocessing: Gives the preprocessing; called for pictures only.

    Raises:
        InputError: A file cannot be read, or an array does not fit the input.
        UnsupportedError: A picture is given, and the input is none.
    """
    items, shape = list(x) if isinstance(x, list | tuple) else [x], kind.shape
    if items and all(isinstance(item, np.ndarray) and item.ndim == len(shape) for item in items):
        items = [images.batched(item, shape, dtype) for item in items]
    if not items:
        raise InputError("nothing to explain: the list is empty", "give at least one sample")
    parts = [_one(item, kind, dtype, preprocessing) for item in items]
    if len(parts) == 1:
        return parts[0]
    return Samples(
        np.concatenate([p.values for p in parts]),
        [view for p in parts for view in p.views],
        [original for p in parts for original in p.originals],
        _numbered([name for p in parts for name in p.names]),
        all(p.pictures for p in parts),
        kind,
    )


def _one(item: Any, kind: InputKind, dtype: str, preprocessing: Callable[[], Preprocessing]) -> Samples:
    if isinstance(item, Samples):
        return item if item.kind == kind else replace(item, kind=kind)
    name = ""
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        name = path.stem
        if path.suffix.lower() == ".npy":
            return _array(images.batched(images.read_array(path), kind.shape, dtype, str(path)), kind, name)
        item = images.read_image(path)
    if hasattr(item, "convert") and hasattr(item, "getbands"):
        prep, picture = preprocessing(), images.rgb(item)
        return Samples(prep.apply(picture), [prep.view(picture)], [picture], [name or "image"], True, kind)
    return _array(images.batched(item, kind.shape, dtype), kind, name)


def _array(values: Array, kind: InputKind, name: str) -> Samples:
    n, name = len(values), name or "array"
    names = [name] if n == 1 else [f"{name}.{i}" for i in range(n)]
    return Samples(values, [None] * n, [None] * n, names, False, kind)


def _numbered(names: list[str]) -> list[str]:
    """Number the names of samples that do not come from files."""
    return [f"{name}.{i}" if name in ("array", "image") else name for i, name in enumerate(names)]
