"""How a picture becomes the model's input, found where it is stated and otherwise assumed and said to be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onnxlrp import images, labels, pieces
from onnxlrp.errors import InputError, UnsupportedError
from onnxlrp.pieces import PRESETS, Stated, shown, wide

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]
Box = tuple[float, float, float, float]

_LARGEST_RESIZED = 1 << 25  # pixels
_DTYPES = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Preprocessing:
    """y = (x * scale - mean) / std, x a picture's values 0..255 cut to `size`, y in the model's `layout` and `dtype`.

    `size` is (height, width); `mean` and `std` have one value for each channel, in the order of `color`.
    `resize` is `stretch`, or `shorter-crop`: the picture is scaled until `size` is the share `crop` of its shorter
    side, and the centre is cut out. `source` says who stated it, `assumed` which pieces nobody stated.
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
    labels: tuple[str, ...] | None = None
    labels_assumed: bool = False
    source: str = "flags"
    assumed: tuple[str, ...] = ()

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
        """The part of a picture of (height, width) that the model sees: left, top, right, bottom in its pixels."""
        height, width = original
        (tall, broad), (top, left) = self._plan(original)
        h, w = self.size
        return (
            left * width / broad,
            top * height / tall,
            min((left + w) * width / broad, float(width)),
            min((top + h) * height / tall, float(height)),
        )

    def map_to_original(self, heat: npt.ArrayLike, original: tuple[int, int]) -> Array:
        """A heatmap [H, W] on the picture's own (height, width): every value spread evenly over the pixels that it was
        read from, so that the sum stays; zero outside of what the model sees."""
        left, top, right, bottom = self.box(original)
        values = np.asarray(heat, dtype=np.float64)
        if values.shape != self.size:
            raise InputError(f"a heatmap of shape {values.shape}, the model sees {self.size}", "sum its channels first")
        rows = _shares(top, bottom, self.size[0], original[0])
        columns = _shares(left, right, self.size[1], original[1])
        mapped: Array = rows @ values @ columns.T
        return mapped

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
        if self.resize == "shorter-crop":
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
            "crop": self.crop,
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
        original = (picture.height, picture.width)
        (tall, broad), (top, left) = self._plan(original)
        h, w = self.size
        method = pillow.Resampling[self.interpolation.upper()]
        if tall * broad > _LARGEST_RESIZED:  # a very thin picture: its box alone, equal up to rounding
            return picture.resize((w, h), method, box=self.box(original))
        return picture.resize((broad, tall), method).crop((left, top, left + w, top + h))

    def _plan(self, original: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """The (height, width) that a picture is resized to, and the (top, left) of what is cut out of that."""
        if self.resize == "stretch":
            return self.size, (0, 0)
        # torchvision's Resize and CenterCrop: the longer side is truncated, the offset rounded.
        (height, width), (h, w) = original, self.size
        factor = max(h / height, w / width) / self.crop
        tall, broad = max(h, int(height * factor + 1e-6)), max(w, int(width * factor + 1e-6))
        return (tall, broad), (round((tall - h) / 2), round((broad - w) / 2))


def find(
    flags: Mapping[str, Any],
    model_path: str | Path | None,
    metadata: Mapping[str, str],
    input_shape: Sequence[int],
    input_dtype: str = "float32",
    n_outputs: int | None = None,
    strict: bool = False,
) -> Preprocessing:
    """The preprocessing of a model with one input of the per-sample shape: flags, `model.prep.toml` beside the model,
    `onnxlrp.prep` in its metadata, then the graph; each piece from the first that states it, the rest assumed.

    Flags are `prep` (a preset or a `.toml`), `mean`, `std`, `scale`, `color`, `layout`, `size`, `resize`, `crop`,
    `interpolation`, `labels`; None is not given. Raises UsageError (flags), InputError (files, metadata),
    UnsupportedError (an input that is no picture; with `strict` an assumption, naming the flags to paste).
    """
    model = Path(model_path).name if model_path is not None else "the model"
    stated = pieces.read(flags, model_path, metadata)
    prep = _settle(stated, model, tuple(input_shape), _dtype(input_dtype, model))
    names, guessed = _labels(stated, n_outputs)
    source = " + ".join(dict.fromkeys(rung.name for key, (_, rung) in stated.items() if key != "labels")) or "assumed"
    prep = replace(prep, labels=names, labels_assumed=guessed, source=source)
    if strict and prep.assumed:
        raise UnsupportedError(
            f"{model}: nobody states the preprocessing ({', '.join(prep.assumed)}), and --strict assumes nothing",
            f"if it is right, add {prep.flags()}",
        )
    return prep


def find_labels(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str], n_outputs: int | None
) -> tuple[tuple[str, ...] | None, bool]:
    """The class names alone, for a model whose input is no picture, and whether they are assumed. Raises as `find`."""
    return _labels(pieces.read(flags, model_path, metadata), n_outputs)


def _settle(stated: Stated, model: str, shape: tuple[int, ...], dtype: str) -> Preprocessing:
    """The stated pieces checked against the graph, and the rest filled in."""
    assumed: list[str] = []
    value = {key: v for key, (v, _) in stated.items()}
    layout, unsure = _layout(stated, model, shape)
    if unsure:
        assumed.append("layout")
    size = _size(stated, shape, layout)
    if size is None:
        size = (224, 224)
        assumed.append("size")
    channels = 1 if layout == "NHW" else shape[layout.index("C") - 1]
    formula = any(key in stated for key in ("scale", "mean", "std"))
    color = value.get("color", "RGB" if channels == 3 else "grey")
    if (color == "grey") != (channels == 1):
        raise stated["color"][1].wrong(
            "color",
            f"{color}, but {model} has {channels} channel{'s' * (channels > 1)}",
            ("state RGB or BGR" if channels == 3 else "state grey, with a preset such as 0-1"),
        )
    if "color" not in stated and channels == 3 and not formula:
        assumed.append("color")
    guess: Mapping[str, Any] = PRESETS["0-1"]
    if np.dtype(dtype).kind in "iu":
        guess = {"scale": 1.0, "mean": (128.0,) if dtype == "int8" else (0.0,), "std": (1.0,)}
        if dtype != "uint8" and not formula:
            assumed += ["scale", "mean", "std"]
    elif formula:
        if "scale" not in stated:
            small = max(map(abs, (*value.get("mean", (0,)), *value.get("std", (0,))))) <= 1
            guess = {**guess, "scale": 1 / 255 if small else 1.0}
            assumed.append("scale")
    else:
        guess = PRESETS["imagenet"] if channels == 3 else guess
        guess = {**guess, "mean": guess["mean"][::-1], "std": guess["std"][::-1]} if color == "BGR" else guess
        assumed += ["scale", "mean", "std"]
    numbers = {}
    for key in ("mean", "std"):
        numbers[key] = value.get(key, guess[key])
        if len(numbers[key]) not in (1, channels):
            raise stated[key][1].wrong(
                key, f"{len(numbers[key])} values, but {model} has {channels} channel", "give one value"
            )
    crop = value.get("crop", 0.875 if min(size) >= 160 else 1.0)
    if isinstance(crop, int):
        if crop < min(size):
            raise stated["crop"][1].wrong("resize_to", f"{crop} is below the input's {min(size)}", "give a larger one")
        crop = min(size) / crop
    prep = Preprocessing(
        size=size,
        color=color,
        layout=layout,
        scale=value.get("scale", guess["scale"]),
        mean=wide(numbers["mean"], channels),
        std=wide(numbers["std"], channels),
        resize=value.get("resize", "shorter-crop"),
        crop=crop,
        interpolation=value.get("interpolation", "bilinear"),
        dtype=dtype,
        assumed=tuple(assumed),
    )
    if np.dtype(dtype).kind in "iu" and float(np.ptp(np.concatenate([b.ravel() for b in prep.bounds()]))) < 100:
        rung = next(rung for key, (_, rung) in stated.items() if key in ("scale", "mean", "std"))
        raise rung.wrong("scale", f"{prep.describe()} leaves few levels of a {dtype} input", "leave the formula out")
    return prep


def _dtype(name: str, model: str) -> str:
    """numpy's name of the graph's; UnsupportedError where the input is not of numbers."""
    name = _DTYPES.get(name.lower(), name.lower())
    try:
        if np.dtype(name).kind in "iuf":
            return name
    except TypeError:
        pass
    raise UnsupportedError(f"{model}: an input of {name} is no picture", "give the input as an .npy array")


def _layout(stated: Stated, model: str, shape: tuple[int, ...]) -> tuple[str, bool]:
    """The layout that fits the per-sample shape, and whether two fit."""
    fits = []
    if len(shape) == 2:
        fits = ["NHW"]
    elif len(shape) == 3:
        fits = [name for name, axis in (("NCHW", 0), ("NHWC", 2)) if shape[axis] in (1, 3)]
    if not fits:
        raise UnsupportedError(
            f"{model}: an input of shape {shape} per sample is no picture of 1 or 3 channels",
            "give the input as an .npy array in the model's own layout",
        )
    if "layout" not in stated:
        return fits[0], len(fits) > 1
    layout, rung = stated["layout"]
    if layout not in fits:
        raise rung.wrong("layout", f"{layout} does not fit {model}, an input of {shape} per sample", f"give {fits[0]}")
    return layout, False


def _size(stated: Stated, shape: tuple[int, ...], layout: str) -> tuple[int, int] | None:
    """Height and width of the graph, free ones (below 1) as stated; None where nobody says them."""
    first = 1 if layout == "NCHW" else 0
    fixed = shape[first : first + 2]
    if "size" not in stated:
        return (fixed[0], fixed[1]) if min(fixed) > 0 else None
    size, rung = stated["size"]
    if any(f > 0 and f != s for f, s in zip(fixed, size, strict=True)):
        asked = "x".join(str(f) if f > 0 else "*" for f in fixed)
        raise rung.wrong("size", f"{size[0]}x{size[1]}, but the model takes {asked}", f"give {asked}, or leave it out")
    return (size[0], size[1])


def _labels(stated: Stated, n_outputs: int | None) -> tuple[tuple[str, ...] | None, bool]:
    if "labels" not in stated:
        names = labels.imagenet(n_outputs)
        return names, names is not None
    names, rung = stated["labels"]
    if n_outputs is not None and len(names) != n_outputs:
        raise rung.wrong(
            "labels",
            f"{len(names)} class names for {n_outputs} outputs",
            "give one name for each output, in their order",
        )
    return names, False


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


def _shares(start: float, stop: float, cells: int, pixels: int) -> Array:
    """[pixels, cells]: the share of each cell between start and stop that falls on each pixel; columns sum to 1."""
    edges = np.linspace(start, stop, cells + 1)
    edge = np.arange(pixels + 1)[:, np.newaxis]
    overlap = np.minimum(edge[1:], edges[1:]) - np.maximum(edge[:-1], edges[:-1])
    shares: Array = np.maximum(overlap, 0.0) / ((stop - start) / cells)
    return shares


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
