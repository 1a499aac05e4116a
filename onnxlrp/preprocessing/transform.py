"""Preprocessing: from a picture to the model's input, and from a heatmap back to the picture."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from . import geometry, images
from .fields import PRESETS, Conflict, format_numbers, per_channel
from .geometry import PAD, Box, Frame

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

_LARGEST_RESIZED = 1 << 25  # pixels
_SCALE_OF_8_BITS = 1 / 512  # a smaller factor is for values above 255


@dataclass(frozen=True)
class Preprocessing:
    """y = (x * scale - mean) / std, where x are the pixel values 0..255 of a picture, resized and cut.

    Attributes:
        size: (height, width) of the input, in pixels.
        color: "RGB", "BGR" or "grey".
        layout: "NCHW", "NHWC" or "NHW".
        scale: The factor of pixel values.
        mean: One value for each channel, in the order of `color`.
        std: One value for each channel.
        resize: "shorter-crop" scales both sides by one factor and cuts the centre, "stretch" scales each side by its
            own, "letterbox" fits the whole picture between grey bars.
        crop: The share of the shorter side that "shorter-crop" cuts out, where `resize_to` is empty.
        interpolation: Pillow's name of the interpolation.
        dtype: The type of the input; integers are rounded and clipped.
        resize_to: The shorter side (for "shorter-crop") or (height, width) (for "stretch") in pixels, whose centre is
            cut.
        offset: Rounding of half a pixel of the centre: "round" to even, "floor" down.
        labels: Class names, None where the model has none.
        labels_assumed: Whether the class names are assumed.
        source: The sources of the fields.
        assumed: Fields that no source states.
        conflicts: Fields that sources state differently.
        notes: Steps that sources state and that are not done here.
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

    @property
    def values_assumed(self) -> bool:
        """Whether values of pixels rest on an assumption, and not the geometry alone."""
        return not {*self.assumed} <= {"resize", "crop", "size"}

    @property
    def highest(self) -> float:
        """The highest value of a pixel: 255, or that of 16 bits where the scale is meant for more than 8."""
        return 255.0 if self.scale >= _SCALE_OF_8_BITS else float(images.DEEPEST)

    def apply(self, image: Image | Array) -> Array:
        """Make the model's input [1, …] of a picture, or of a uint8 array [H, W] or [H, W, 3].

        Grey of 16 bits keeps its depth. Its values are brought to 0..255, unless the scale is meant for more than 8
        bits, such as 1/65535 or 1/4095: it is then the factor of the values as they are.

        Raises:
            InputError: The array is no picture.
        """
        if not isinstance(image, np.ndarray) and images.is_deep(image):
            pixels = np.repeat(self._cut_deep(image)[:, :, np.newaxis], self.channels, axis=2)
        else:
            pixels = np.asarray(self._cut(image), dtype=np.float64).reshape(*self.size, self.channels)
        if self.color == "BGR":
            pixels = pixels[:, :, ::-1]
        y = (pixels * self.scale - np.array(self.mean)) / np.array(self.std)
        y = {"NCHW": y.transpose(2, 0, 1), "NHWC": y, "NHW": y[:, :, 0]}[self.layout]
        return np.ascontiguousarray(_cast(y, self.dtype)[np.newaxis])

    def view(self, image: Image | Array) -> Image:
        """Resize and cut a picture as the model sees it, in RGB."""
        return self._cut(image).convert("RGB")

    def view_mask(self, mask: Array) -> Array:
        """Resize and cut a mask [H, W] of a picture's size as the model sees the picture; booleans in and out."""
        seen = self.view(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255)
        return np.asarray(np.asarray(seen)[..., 0] > 127)

    def box(self, original: tuple[int, int]) -> Box:
        """Return the part of a picture that the model sees.

        Args:
            original: (height, width) of the picture.

        Returns:
            Left, top, right and bottom in pixels of the picture; with the bars of a letterbox, larger than the picture.
        """
        return self._frame(original).box

    def map_to_original(self, heat: npt.ArrayLike, original: tuple[int, int]) -> Array:
        """Map a heatmap of the input to the pixels of the picture.

        Every value is spread evenly over the pixels that it was computed from, so that the sum stays; values on the
        bars of a letterbox are dropped.

        Args:
            heat: A heatmap [H, W] of the input's size.
            original: (height, width) of the picture.

        Returns:
            A heatmap [height, width], zero outside the part that the model sees.

        Raises:
            InputError: The heatmap has another size.
        """
        values = np.asarray(heat, dtype=np.float64)
        if values.shape != self.size:
            raise InputError(f"a heatmap of shape {values.shape}, the model sees {self.size}", "sum its channels first")
        return self._frame(original).spread(values)

    def bounds(self) -> tuple[Array, Array]:
        """Return the lowest and highest input (x = 0, `highest`) by channel, float64, broadcasting over one sample."""
        mean, std = np.array(self.mean), np.array(self.std)
        shape = {"NCHW": (-1, 1, 1), "NHWC": (1, 1, -1), "NHW": (1, 1)}[self.layout]
        low, high = ((x * self.scale - mean) / std for x in (0.0, self.highest))
        if np.dtype(self.dtype).kind in "iu":
            low, high = (_cast(y, self.dtype).astype(np.float64) for y in (low, high))
        return low.reshape(shape), high.reshape(shape)

    def describe(self) -> str:
        """Describe the preprocessing in one line: `resize 28x28 → grey → /255`; sizes are height x width."""
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
            mean, std = format_numbers(self.mean), format_numbers(self.std)
            steps.append(
                f"−{mean} ÷{std}" if not known or self.std != per_channel(PRESETS[known[0]]["std"], 3) else known[0]
            )
        return " → ".join(steps)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as in `model.prep.toml` and in the metadata, without the class names."""
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
        """Return the flags that state the assumed fields, a preset where one has their values."""
        left, words = list(self.assumed), []
        formula = {"scale", "mean", "std"}
        for name, preset in PRESETS.items():
            same = (self.scale, self.mean, self.std, self.color) == (
                preset["scale"],
                per_channel(preset["mean"], self.channels),
                per_channel(preset["std"], self.channels),
                preset.get("color", self.color),
            )
            if formula <= set(left) and same:
                words = [f"--prep {name}"]
                left = [key for key in left if key not in formula | {"color"} & set(preset)]
        return " ".join([*words, *(_flag(key, getattr(self, key)) for key in left)])

    def to_metadata(self) -> str:
        """Return the text to store under `onnxlrp.prep` in a model's `metadata_props`, where `load` finds it."""
        stated = self.to_dict()
        if self.labels and not self.labels_assumed:
            stated["labels"] = list(self.labels)
        return json.dumps(stated)

    def _cut(self, image: Image | Array) -> Image:
        picture = images.rgb(_picture(image))
        return self._framed(picture.convert("L") if self.color == "grey" else picture, PAD)

    def _cut_deep(self, image: Image) -> Array:
        """Resize and cut a grey picture of 16 bits, its values [H, W] in the units of `scale`."""
        from PIL import Image as pillow

        unit = self.highest / images.DEEPEST
        picture = pillow.fromarray((images.deep_values(image) * unit).astype(np.float32))
        return np.asarray(self._framed(picture, PAD * self.highest / 255), dtype=np.float64)

    def _framed(self, picture: Image, pad: float) -> Image:
        """Resize and cut a picture of any mode; `pad` is the grey of the bars of a letterbox."""
        from PIL import Image as pillow

        frame = self._frame((picture.height, picture.width))
        (new_height, new_width), (h, w) = frame.resized, self.size
        method = pillow.Resampling[self.interpolation.upper()]
        if new_height * new_width > _LARGEST_RESIZED:  # a very thin picture: resize its box alone, equal up to rounding
            left, top, right, bottom = frame.box
            part = (left, top, min(right, picture.width), min(bottom, picture.height))
            return picture.resize((w, h), method, box=part)
        large = picture.resize((new_width, new_height), method)
        if new_height < h or new_width < w:
            bars: Any = pad if large.mode == "F" else (int(pad),) * len(large.getbands())
            canvas = pillow.new(large.mode, (w, h), bars)
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
            f"an array of {image.dtype} and shape {image.shape} is not a picture",
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
    return f"--{key} {format_numbers(value) if isinstance(value, tuple) else value}"
