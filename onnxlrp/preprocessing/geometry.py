"""Geometry of preprocessing: resize, crop and letterbox of a picture, and the way back for heatmaps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Box = tuple[float, float, float, float]
Size = tuple[int, int]

PAD = 114  # grey of the bars of a letterbox (Ultralytics)


class Frame(NamedTuple):
    """The position of the model's input in a resized picture.

    Attributes:
        original: (height, width) of the picture.
        resized: (height, width) that it is resized to.
        size: (height, width) of the input.
        top: The row of the resized picture where the input starts; below 0 for the bars of a letterbox.
        left: The column where it starts.
    """

    original: Size
    resized: Size
    size: Size
    top: int
    left: int

    @property
    def box(self) -> Box:
        """The part of the picture in the input: left, top, right, bottom in pixels of the picture."""
        (height, width), (new_height, new_width), (h, w) = self.original, self.resized, self.size
        return (
            self.left * width / new_width,
            self.top * height / new_height,
            (self.left + w) * width / new_width,
            (self.top + h) * height / new_height,
        )

    def spread(self, heat: Array) -> Array:
        """Spread values [h, w] of the input evenly over the pixels of the picture that each was computed from."""
        left, top, right, bottom = self.box
        rows = _shares(top, bottom, self.size[0], self.original[0])
        columns = _shares(left, right, self.size[1], self.original[1])
        mapped: Array = rows @ heat @ columns.T
        return mapped


def stretch(original: Size, size: Size, resize_to: tuple[int, ...], offset: str) -> Frame:
    """Resize each side by its own factor.

    Args:
        original: (height, width) of the picture.
        size: (height, width) of the input.
        resize_to: (height, width) to resize to, whose centre is cut; empty to resize to `size`.
        offset: Rounding of half a pixel of the centre: "round" to even, "floor" down.
    """
    new_height, new_width = resize_to if len(resize_to) == 2 else size
    return Frame(
        original,
        (new_height, new_width),
        size,
        _center_offset(new_height, size[0], offset),
        _center_offset(new_width, size[1], offset),
    )


def shorter_crop(original: Size, size: Size, crop: float, resize_to: tuple[int, ...], offset: str) -> Frame:
    """Resize both sides by one factor and cut the centre.

    Args:
        original: (height, width) of the picture.
        size: (height, width) of the input.
        crop: The share of the shorter side that is cut out, where `resize_to` is empty.
        resize_to: The length of the shorter side in pixels; the longer one is truncated.
        offset: Rounding of half a pixel of the centre: "round" to even, "floor" down.
    """
    (height, width), (h, w) = original, size
    new_height = new_width = 0
    if len(resize_to) == 1:
        # In integers, as int(side * long / short) of torchvision and Hugging Face.
        new_height, new_width = (resize_to[0] * side // min(original) for side in original)
    if new_height < h or new_width < w:
        factor = max(h / height, w / width) / crop
        new_height, new_width = max(h, int(height * factor + 1e-6)), max(w, int(width * factor + 1e-6))
    return Frame(
        original,
        (new_height, new_width),
        size,
        _center_offset(new_height, h, offset),
        _center_offset(new_width, w, offset),
    )


def letterbox(original: Size, size: Size) -> Frame:
    """Resize both sides by one factor until the picture fits into `size`, centred between grey bars."""
    (height, width), (h, w) = original, size
    factor = min(h / height, w / width)
    new_height, new_width = max(1, round(height * factor)), max(1, round(width * factor))
    # Ultralytics' LetterBox puts the smaller half of an odd number of rows first.
    return Frame(
        original, (new_height, new_width), size, -round((h - new_height) / 2 - 0.1), -round((w - new_width) / 2 - 0.1)
    )


def _center_offset(whole: int, part: int, offset: str) -> int:
    """Return where the centre starts; half a pixel is rounded to even (torchvision) or down (Hugging Face)."""
    return (whole - part) // 2 if offset == "floor" else round((whole - part) / 2)


def _shares(start: float, stop: float, cells: int, pixels: int) -> Array:
    """Return the share of each cell between start and stop that falls on each pixel [pixels, cells].

    Columns sum to 1, those of cells outside the pixels to 0.
    """
    edges = np.linspace(start, stop, cells + 1)
    edge = np.arange(pixels + 1)[:, np.newaxis]
    overlap = np.minimum(edge[1:], edges[1:]) - np.maximum(edge[:-1], edges[:-1])
    shares: Array = np.maximum(overlap, 0.0) / ((stop - start) / cells)
    return shares
