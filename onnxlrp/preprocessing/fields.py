"""The pieces of a preprocessing: what they are called, which values they may have, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import OnnxLrpError, UsageError

COLORS = ("RGB", "BGR", "grey")
COLORS_OF: Mapping[int, tuple[str, ...]] = {1: ("grey",), 3: ("RGB", "BGR")}  # by the number of channels
LAYOUTS = ("NCHW", "NHWC", "NHW")
RESIZES = ("shorter-crop", "stretch", "letterbox")
OFFSETS = ("round", "floor")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {"color": "RGB", "scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "0-1": {"scale": 1 / 255, "mean": (0.0,), "std": (1.0,)},
    "-1-1": {"scale": 1 / 255, "mean": (0.5,), "std": (0.5,)},
    "0-255": {"scale": 1.0, "mean": (0.0,), "std": (1.0,)},
    "clip": {
        "color": "RGB",
        "scale": 1 / 255,
        "mean": (0.48145466, 0.4578275, 0.40821073),
        "std": (0.26862954, 0.26130258, 0.27577711),
    },
    "caffe-bgr": {"color": "BGR", "scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0,)},
}


@dataclass(frozen=True)
class Source:
    """One place that states pieces: what it is called, what its mistakes raise, and whether it was written for onnxlrp,
    so that what does not fit the model is a mistake; of `foreign` ones it is left out and said."""

    name: str
    error: type[OnnxLrpError]
    foreign: bool = False

    def wrong(self, key: str, problem: str, fix: str) -> OnnxLrpError:
        where = f"--{key.replace('_', '-')}" if self.error is UsageError else f"{self.name}: {key}"
        return self.error(f"{where}: {problem}", fix)


Pieces = dict[str, Any]
FORMULA = ("scale", "mean", "std")


@dataclass(frozen=True)
class Conflict:
    """Two sources that state different values of one piece; the first is used."""

    piece: str
    used: str
    source: str
    other: str
    other_source: str

    def __str__(self) -> str:
        return f"{self.piece}: {self.used} by {self.source} is used, {self.other} by {self.other_source} is not"


def wide(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """One number for each channel."""
    return tuple(numbers) * (channels if len(numbers) == 1 else 1)


def shown(numbers: Sequence[float]) -> str:
    """Numbers as a flag takes them, one where all are equal."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.6g}"
    return ",".join(f"{n:.6g}" for n in numbers)


def told(key: str, value: Any) -> str:
    """A piece's value as a person reads it."""
    if key in ("size", "crop") and isinstance(value, tuple):
        return "x".join(map(str, value)) + " pixels" * (key == "crop")
    if isinstance(value, tuple):
        return shown(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
