"""Fields of a preprocessing: their names, their values, and their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import OnnxLrpError, UsageError

COLORS = ("RGB", "BGR", "grey")
COLORS_OF: Mapping[int, tuple[str, ...]] = {1: ("grey",), 3: ("RGB", "BGR")}  # by the number of channels
LAYOUTS = ("NCHW", "NHWC", "NHW")
RESIZES = ("shorter-crop", "stretch", "letterbox")
OFFSETS = ("round", "floor")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
LARGEST_SIDE = 8192  # pixels
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


class Source(NamedTuple):
    """A source of fields.

    Attributes:
        name: Its name in messages.
        error: The class of error for mistakes in it.
        foreign: Whether it was not written for onnxlrp: what does not fit the model is then left out with a note, and
            is no error.
    """

    name: str
    error: type[OnnxLrpError]
    foreign: bool = False

    def wrong(self, key: str, problem: str, fix: str) -> OnnxLrpError:
        """Make the error for a wrong value of a field."""
        where = f"--{key.replace('_', '-')}" if self.error is UsageError else f"{self.name}: {key}"
        return self.error(f"{where}: {problem}", fix)


Fields = dict[str, Any]
FORMULA = ("scale", "mean", "std")


class Conflict(NamedTuple):
    """Two sources that state different values of one field; the first is used.

    Attributes:
        field: The field.
        used: The value that is used.
        source: Its source.
        other: The other value.
        other_source: Its source.
    """

    field: str
    used: str
    source: str
    other: str
    other_source: str

    def __str__(self) -> str:
        return f"{self.field}: {self.used} by {self.source} is used, not {self.other} by {self.other_source}"


def per_channel(numbers: Sequence[float], channels: int) -> tuple[float, ...]:
    """Repeat a single number for every channel."""
    return tuple(numbers) * (channels if len(numbers) == 1 else 1)


def format_numbers(numbers: Sequence[float]) -> str:
    """Format numbers as a flag takes them, a single one where all are equal."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:.6g}"
    return ",".join(f"{n:.6g}" for n in numbers)


def format_value(key: str, value: Any) -> str:
    """Format the value of a field for a message."""
    if key in ("size", "crop") and isinstance(value, tuple):
        return "x".join(map(str, value)) + " pixels" * (key == "crop")
    if isinstance(value, tuple):
        return format_numbers(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
