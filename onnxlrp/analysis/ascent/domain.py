"""Domain: pictures of values from 0 to 1 as an optimiser changes them, and the input of a model that they stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import UnsupportedError, UsageError
from ...inputs import InputKind
from .optimize import Array

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...preprocessing import Preprocessing

_STANDARDISED = 2.0  # standard deviations: the range that is assumed of inputs nobody states the range of


@dataclass(frozen=True, eq=False)
class Domain:
    """x = low + z (high - low): z [N, C, *space] from 0 to 1, x [N, *shape] in the model's own layout.

    Attributes:
        kind: The kind of the input: its shape, its axes of channels and space.
        dtype: The type of the input; whole numbers are rounded.
        low: x at z = 0, [C, 1, …].
        high: x at z = 1, [C, 1, …].
        source: Where the range comes from, in words.
        preprocessing: The preprocessing of pictures; None where the input is no picture.
        guessed: Nobody states the range: it is that of samples, or of standardised values.
    """

    kind: InputKind
    dtype: str
    low: Array
    high: Array
    source: str
    preprocessing: Preprocessing | None = None
    guessed: bool = False

    @property
    def space(self) -> tuple[int, ...]:
        """The lengths of the axes of space, () of a vector."""
        return tuple(self.kind.shape[axis] for axis in self.kind.spatial_axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (C, *space) of z."""
        return (math.prod(self.kind.shape[axis] for axis in self._others), *self.space)

    @property
    def order(self) -> str:
        """The order of colours, RGB or BGR; "" where they are none."""
        prep = self.preprocessing
        return prep.color if prep is not None and prep.color in ("RGB", "BGR") else ""

    @property
    def whole_numbers(self) -> bool:
        """Whether the model takes whole numbers."""
        return np.dtype(self.dtype).kind in "iub"

    def to_input(self, z: Array) -> Array:
        """Return x in the type of the input, rounded and clipped to the range for whole numbers."""
        x = self.relaxed(z)
        if not self.whole_numbers:
            return np.ascontiguousarray(x, self.dtype)
        low, high = (self.laid(np.broadcast_to(bound, (1, *self.shape))) for bound in (self.low, self.high))
        return np.ascontiguousarray(np.rint(np.clip(x, low, high)).astype(self.dtype))

    def relaxed(self, z: Array) -> Array:
        """Return x in float32, whole numbers not rounded."""
        x = z * (self.high - self.low)
        x += self.low
        return self.laid(x)

    def pullback(self, gradient: Array) -> Array:
        """Return ∂f/∂z of ∂f/∂x: rounding is passed as it is."""
        slope = self.canonical(gradient.astype(np.float32, copy=False)) * (self.high - self.low)
        return np.asarray(slope)

    def from_input(self, x: Array) -> Array:
        """Return z of inputs [N, *shape]."""
        return np.asarray((self.canonical(x.astype(np.float32)) - self.low) / (self.high - self.low))

    def picture(self, z: Array) -> Image:
        """Return one z [C, H, W] as a picture of 8 bits, in the pixels that the model takes.

        Raises:
            UnsupportedError: The input is no picture.
        """
        from PIL import Image as pillow

        if self.preprocessing is None:
            raise UnsupportedError(f"the input is {self.kind.describe()}, not a picture", "write .npz: -o NAME.npz")
        levels = np.rint(np.clip(z, 0, 1) * 255).astype(np.uint8)
        if self.order == "BGR":
            levels = levels[::-1]
        return pillow.fromarray(levels[0] if len(levels) == 1 else np.moveaxis(levels, 0, -1))

    @property
    def _others(self) -> tuple[int, ...]:
        """The axes that are not of space: channels."""
        return tuple(axis for axis in range(len(self.kind.shape)) if axis not in self.kind.spatial_axes)

    def canonical(self, x: Array) -> Array:
        """Return arrays [N, *kind.shape] as [N, C, *space], their values as they are."""
        order = (0, *(1 + axis for axis in (*self._others, *self.kind.spatial_axes)))
        return x.transpose(order).reshape(len(x), *self.shape)

    def laid(self, z: Array) -> Array:
        """Return arrays [N, C, *space] as [N, *kind.shape]: the inverse of `canonical`."""
        sides = [self.kind.shape[axis] for axis in (*self._others, *self.kind.spatial_axes)]
        order = np.argsort((*self._others, *self.kind.spatial_axes))
        return z.reshape(len(z), *sides).transpose(0, *(1 + order))


def decide(
    model: Any, samples: Any = None, low: npt.ArrayLike | None = None, high: npt.ArrayLike | None = None
) -> Domain:
    """Decide the domain of a model's input: the range that is given, else of pixels, of samples, of the type.

    Args:
        model: The model.
        samples: The user's samples, if any.
        low: The lowest value, one number or one for each channel.
        high: The highest value.

    Raises:
        UnsupportedError: Tokens, which have no gradient.
        UsageError: A range that is none or does not fit the channels.
    """
    kind, dtype = model.kind, model.graph.inputs[0].dtype
    if kind.name == "tokens":
        raise UnsupportedError(
            "the input is tokens: whole numbers that stand for words have no gradient",
            "onnxlrp atlas shows the samples that units answer to; or say what the input is: --kind",
        )
    prep = preprocessing_of(model)
    if prep is not None and samples is not None and not samples.pictures:
        prep = prep if low is None and high is None and _are_pixels(samples.values, prep) else None
    bare = Domain(kind, dtype, np.zeros(1), np.ones(1), "", prep)
    found_low: npt.ArrayLike
    found_high: npt.ArrayLike
    if low is not None and high is not None:
        found_low, found_high, source = low, high, "--low and --high"
    else:
        found_low, found_high, source = _range(bare, samples)
        found_low, found_high = found_low if low is None else low, found_high if high is None else high
        given = "--low" if low is not None else "--high" if high is not None else ""
        source = f"{given}; {source}" if given else source
    low_of, high_of = (_per_channel(bound, bare.shape) for bound in (found_low, found_high))
    if not (low_of < high_of).all():
        raise UsageError("the lowest value of the input is not below its highest", "give --low and --high")
    stated = prep is not None or (low is not None and high is not None)
    guessed = not stated and (samples is not None or dtype not in ("uint8", "int8", "bool"))
    return Domain(kind, dtype, low_of, high_of, source, prep, guessed)


def preprocessing_of(model: Any) -> Preprocessing | None:
    """Return the preprocessing of a model whose input is a picture, else None."""
    if not model.kind.is_image or model.kind.layout is None:
        return None
    try:
        prep: Preprocessing = model.preprocessing
    except UnsupportedError:
        return None
    fits = prep.size == model.kind.grid and prep.channels == model.kind.channels
    return prep if fits else None


def _are_pixels(x: Array, prep: Preprocessing) -> bool:
    """Whether arrays lie within the range of the pixels of a preprocessing that is stated."""
    low, high = prep.bounds()
    slack = 1e-3 * (high - low)
    return bool(not prep.values_assumed and (x >= low - slack).all() and (x <= high + slack).all())


def _range(bare: Domain, samples: Any) -> tuple[Array, Array, str]:
    """The lowest and the highest value by channel, and who says so."""
    prep = bare.preprocessing
    if prep is not None:
        low, high = (bare.canonical(np.broadcast_to(bound, bare.kind.shape)[None])[0] for bound in prep.bounds())
        return low, high, "the pixels of pictures" + (" (assumed)" if prep.values_assumed else "")
    if samples is not None:
        values = bare.canonical(samples.values.astype(np.float64))
        axes = (0, *range(2, values.ndim))
        low, high = values.min(axis=axes), values.max(axis=axes)
        high = np.where(high > low, high, low + 1)
        return low, high, f"the extremes of {len(values)} sample{'s' * (len(values) > 1)}"
    if bare.dtype in ("uint8", "int8"):
        limits = np.iinfo(bare.dtype)
        return np.array(float(limits.min)), np.array(float(limits.max)), f"the type {bare.dtype}"
    if bare.dtype == "bool":
        return np.array(0.0), np.array(1.0), "the type bool"
    if bare.whole_numbers:
        raise UsageError(f"the range of the input ({bare.dtype}) is not known", "give --low and --high, or --images")
    words = f"assumed: -{_STANDARDISED:g} to {_STANDARDISED:g}, as of standardised values"
    return np.array(-_STANDARDISED), np.array(_STANDARDISED), words


def _per_channel(bound: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """A bound as [C, 1, …], from one number, one for each channel, or an array [C, *space] even over space."""
    bound = np.asarray(bound, np.float32)
    ones = [1] * (len(shape) - 1)
    if bound.ndim > 1:
        bound = bound.reshape(len(bound), -1)[:, 0]
    if bound.ndim == 1 and len(bound) not in (1, shape[0]):
        raise UsageError(f"{len(bound)} numbers for {shape[0]} channels", "give one number, or one for each channel")
    return np.ascontiguousarray(np.broadcast_to(bound.reshape(-1, *ones), (shape[0], *ones)))
