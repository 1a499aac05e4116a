"""Where a picture lies in the model's input: what it is resized to, what is cut out of that, what is left grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Box = tuple[float, float, float, float]
Size = tuple[int, int]

PAD = 114  # the grey of a letterbox's bars (Ultralytics)


@dataclass(frozen=True)
class Frame:
    """A picture of (height, width) `original` becomes `resized`; the input of `size` starts at `top`, `left` of that.

    Below 0 they count the rows and columns of a letterbox's bars.
    """

    original: Size
    resized: Size
    size: Size
    top: int
    left: int

    @property
    def box(self) -> Box:
        """The part of the picture that the input holds: left, top, right, bottom in the picture's pixels."""
        (height, width), (tall, broad), (h, w) = self.original, self.resized, self.size
        return (
            self.left * width / broad,
            self.top * height / tall,
            (self.left + w) * width / broad,
            (self.top + h) * height / tall,
        )

    def spread(self, heat: Array) -> Array:
        """Values [h, w] of the input on the picture's own pixels, each evenly over those that it was read from."""
        left, top, right, bottom = self.box
        rows = _shares(top, bottom, self.size[0], self.original[0])
        columns = _shares(left, right, self.size[1], self.original[1])
        mapped: Array = rows @ heat @ columns.T
        return mapped


def stretch(original: Size, size: Size, resize_to: tuple[int, ...], offset: str) -> Frame:
    """Each side by its own factor: to `resize_to` (height, width), out of which the centre is cut, else to `size`."""
    tall, broad = resize_to if len(resize_to) == 2 else size
    return Frame(original, (tall, broad), size, _centre(tall, size[0], offset), _centre(broad, size[1], offset))


def shorter_crop(original: Size, size: Size, crop: float, resize_to: tuple[int, ...], offset: str) -> Frame:
    """Both sides by one factor: the shorter to `resize_to` pixels, the longer truncated; else until `size` is the share
    `crop` of what covers it. Then the centre is cut out."""
    (height, width), (h, w) = original, size
    tall = broad = 0
    if len(resize_to) == 1:
        # In integers, as int(side * long / short) of torchvision and Hugging Face.
        tall, broad = (resize_to[0] * side // min(original) for side in original)
    if tall < h or broad < w:
        factor = max(h / height, w / width) / crop
        tall, broad = max(h, int(height * factor + 1e-6)), max(w, int(width * factor + 1e-6))
    return Frame(original, (tall, broad), size, _centre(tall, h, offset), _centre(broad, w, offset))


def letterbox(original: Size, size: Size) -> Frame:
    """Both sides by one factor until the whole picture fits into `size`, in the middle, bars around it."""
    (height, width), (h, w) = original, size
    factor = min(h / height, w / width)
    tall, broad = max(1, round(height * factor)), max(1, round(width * factor))
    # Ultralytics' LetterBox: of an odd row the smaller half goes to the beginning.
    return Frame(original, (tall, broad), size, -round((h - tall) / 2 - 0.1), -round((w - broad) / 2 - 0.1))


def _centre(whole: int, part: int, offset: str) -> int:
    """Where the centre starts; half a pixel goes to the even number (torchvision) or down (Hugging Face)."""
    return (whole - part) // 2 if offset == "floor" else round((whole - part) / 2)


def _shares(start: float, stop: float, cells: int, pixels: int) -> Array:
    """[pixels, cells]: the share of each cell between start and stop that falls on each pixel; columns sum to 1, those
    of cells outside of the pixels to 0."""
    edges = np.linspace(start, stop, cells + 1)
    edge = np.arange(pixels + 1)[:, np.newaxis]
    overlap = np.minimum(edge[1:], edges[1:]) - np.maximum(edge[:-1], edges[:-1])
    shares: Array = np.maximum(overlap, 0.0) / ((stop - start) / cells)
    return shares
