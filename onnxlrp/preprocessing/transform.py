"""How a picture becomes the model's input, and how a heatmap of that finds back to the picture."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from . import geometry, images
from .fields import PRESETS, Conflict, shown, wide
from .geometry import PAD, Box, Frame

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

_LARGEST_RESIZED = 1 << 25  # pixels


@dataclass(frozen=True)
class Preprocessing:
    """y = (x * scale - mean) / std, x a picture's values 0..255 cut to `size`, y in the model's `layout` and `dtype`.

    `size` is (height, width); `mean` and `std` have one value for each channel, in the order of `color`.
    `resize` is `shorter-crop`: the shorter side is scaled to `resize_to` pixels, or until `size` is the share `crop` of
    it, and the centre is cut out, half a pixel of its offset rounded as `offset` says (`round` to even, `floor`);
    `stretch`: to `size`, or to the (height, width) `resize_to` out of which the centre is cut; or `letterbox`: the
    whole picture with grey bars. `source` says who stated it, `assumed` which pieces nobody stated, `conflicts` where
    sources contradict each other, `notes` what they state that is not done here.
    """

    size: tuple[int, int]
    color: str = "RGB"
    layout: str = "NCHW"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: str = "shorter-crop"
    crop: float = 1.0
    interpolation: str = "bilinear"
    dtype: str = "float32"
    resize_to: tuple[int, ...] = ()
    offset: str = "round"
    labels: tuple[str, ...] | None = None
    labels_assumed: bool = False
    source: str = "flags"
    assumed: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """3, or 1 for grey."""
        return 1 if self.color == "grey" else 3

    def apply(self, image: Image | Array) -> Array:
        """The model's input [1, …] of a picture or of a uint8 array [H, W] or [H, W, 3]. Raises InputError."""
        pixels = np.asarray(self._cut(image), dtype=np.float64).reshape(*self.size, self.channels)
        if self.color == "BGR":
            pixels = pixels[:, :, ::-1]
        y = (pixels * self.scale - np.array(self.mean)) / np.array(self.std)
        y = {"NCHW": y.transpose(2, 0, 1), "NHWC": y, "NHW": y[:, :, 0]}[self.layout]
        return np.ascontiguousarray(_cast(y, self.dtype)[np.newaxis])

    def view(self, image: Image | Array) -> Image:
        """The picture as the model sees it, resized and cut, RGB: what a heatmap is laid over."""
        return self._cut(image).convert("RGB")

    def box(self, original: tuple[int, int]) -> Box:
        """The part of a picture of (height, width) that the model sees: left, top, right, bottom in its pixels; with
        the bars of a letterbox it is larger than the picture."""
        return self._frame(original).box

    def map_to_original(self, heat: npt.ArrayLike, original: tuple[int, int]) -> Array:
        """A heatmap [H, W] on the picture's own (height, width): every value spread evenly over the pixels that it was
        read from, so that the sum stays; zero outside of what the model sees. What fell on bars is left out."""
        values = np.asarray(heat, dtype=np.float64)
        if values.shape != self.size:
            raise InputError(f"a heatmap of shape {values.shape}, the model sees {self.size}", "sum its channels first")
        return self._frame(original).spread(values)

    def bounds(self) -> tuple[Array, Array]:
        """The lowest and highest input (x = 0 and 255) per channel, float64, broadcasting over one sample's input."""
        mean, std = np.array(self.mean), np.array(self.std)
        shape = {"NCHW": (-1, 1, 1), "NHWC": (1, 1, -1), "NHW": (1, 1)}[self.layout]
        low, high = ((x * self.scale - mean) / std for x in (0.0, 255.0))
        if np.dtype(self.dtype).kind in "iu":
            low, high = (_cast(y, self.dtype).astype(np.float64) for y in (low, high))
        return low.reshape(shape), high.reshape(shape)

    def describe(self) -> str:
        """One line, such as `resize 28x28 → grey → /255`; sizes are height x width."""
        h, w = self.size
        steps = [f"resize {h}x{w}"]
        if self.resize == "letterbox":
            steps = [f"letterbox {h}x{w}"]
        elif self.resize_to and self.resize_to != self.size:
            steps = [f"resize {'x'.join(map(str, self.resize_to))}", f"crop {h}x{w}"]
        elif self.resize == "shorter-crop":
            steps = [f"resize {round(h / self.crop)}" if h == w else f"resize to cover {h}x{w}", f"crop {h}x{w}"]
        steps.append(self.color)
        if math.isclose(self.scale, 1 / 255, rel_tol=1e-4):
            steps.append("/255")
        elif self.scale != 1:
            steps.append(f"×{self.scale:.6g}")
        if any(self.mean) or any(s != 1 for s in self.std):
            known = [n for n, p in PRESETS.items() if len(p["mean"]) > 1 and p["mean"] == self.mean]
            mean, std = shown(self.mean), shown(self.std)
            steps.append(f"−{mean} ÷{std}" if not known or self.std != wide(PRESETS[known[0]]["std"], 3) else known[0])
        return " → ".join(steps)

    def to_dict(self) -> dict[str, Any]:
        """Every piece in the words of `model.prep.toml` and of the metadata key, without the class names."""
        return {
            "size": list(self.size),
            "color": self.color,
            "layout": self.layout,
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": self.resize,
            **({"resize_to": list(self.resize_to)} if self.resize_to else {"crop": self.crop}),
            "offset": self.offset,
            "interpolation": self.interpolation,
        }

    def flags(self) -> str:
        """The flags that state what is assumed, a preset for all of it where one is that."""
        left, words = list(self.assumed), []
        formula = {"scale", "mean", "std"}
        for name, preset in PRESETS.items():
            same = (self.scale, self.mean, self.std, self.color) == (
                preset["scale"],
                wide(preset["mean"], self.channels),
                wide(preset["std"], self.channels),
                preset.get("color", self.color),
            )
            if formula <= set(left) and same:
                words = [f"--prep {name}"]
                left = [key for key in left if key not in formula | {"color"} & set(preset)]
        return " ".join([*words, *(_flag(key, getattr(self, key)) for key in left)])

    def to_metadata(self) -> str:
        """The text to store under `onnxlrp.prep` in a model's `metadata_props`: it is found again there."""
        stated = self.to_dict()
        if self.labels and not self.labels_assumed:
            stated["labels"] = list(self.labels)
        return json.dumps(stated)

    def _cut(self, image: Image | Array) -> Image:
        from PIL import Image as pillow

        picture = images.rgb(_picture(image))
        if self.color == "grey":
            picture = picture.convert("L")
        frame = self._frame((picture.height, picture.width))
        (tall, broad), (h, w) = frame.resized, self.size
        method = pillow.Resampling[self.interpolation.upper()]
        if tall * broad > _LARGEST_RESIZED:  # a very thin picture: its box alone, equal up to rounding
            left, top, right, bottom = frame.box
            part = (left, top, min(right, picture.width), min(bottom, picture.height))
            return picture.resize((w, h), method, box=part)
        large = picture.resize((broad, tall), method)
        if tall < h or broad < w:
            canvas = pillow.new(large.mode, (w, h), (PAD,) * len(large.getbands()))
            canvas.paste(large, (-frame.left, -frame.top))
            return canvas
        return large.crop((frame.left, frame.top, frame.left + w, frame.top + h))

    def _frame(self, original: tuple[int, int]) -> Frame:
        if self.resize == "letterbox":
            return geometry.letterbox(original, self.size)
        if self.resize == "stretch":
            return geometry.stretch(original, self.size, self.resize_to, self.offset)
        return geometry.shorter_crop(original, self.size, self.crop, self.resize_to, self.offset)


def _picture(image: Image | Array) -> Image:
    if not isinstance(image, np.ndarray):
        return image
    from PIL import Image as pillow

    if (
        image.dtype != np.uint8
        or image.size == 0
        or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4)))
    ):
        raise InputError(
            f"an array of {image.dtype} and shape {image.shape} is no picture",
            "give uint8 values of shape (height, width, 3), or an array in the model's own layout",
        )
    return pillow.fromarray(image)


def _cast(y: Array, dtype: str) -> Array:
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(np.rint(y), limits.min, limits.max).astype(dtype)
    return y.astype(dtype)


def _flag(key: str, value: Any) -> str:
    if key == "scale" and math.isclose(value, 1 / 255):
        return "--scale 1/255"
    if key == "size":
        return f"--size {value[0]}x{value[1]}"
    if isinstance(value, float):
        value = (value,)
    return f"--{key} {shown(value) if isinstance(value, tuple) else value}"
