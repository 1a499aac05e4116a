"""InputKind: the kind of an input, and its axes of channels and space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MANY_CHANNELS = 8  # drawn as rows of a map; fewer are summed into bars

KINDS = ("image", "signal", "volume", "tokens", "vector")


@dataclass(frozen=True)
class InputKind:
    """The kind of the explained input; decided once, by `onnxlrp.inputs.decide`.

    Attributes:
        name: image (height and width), signal (values along one axis, such as time), volume (three axes of space or
            more), tokens (whole numbers that stand for words) or vector (features without neighbours).
        shape: the input's shape per sample, without the batch; the axes below count its axes.
        channel_axis: the axis of colours, bands or leads; None without one.
        spatial_axes: the axes of places, in order; () for a vector.
        source: who decided, such as "graph: conv1 takes axis 0 as channels", "--kind" or
            "assumed from the shape [3, 224, 224]".
    """

    name: str
    shape: tuple[int, ...]
    channel_axis: int | None
    spatial_axes: tuple[int, ...]
    source: str

    @property
    def is_image(self) -> bool:
        """True for an image: its maps have height and width."""
        return self.name == "image"

    @property
    def is_told(self) -> bool:
        """True where the user or the graph tells the axes; else they are guessed from the shape."""
        return self.source.startswith(("--kind", "graph"))

    @property
    def is_assumed(self) -> bool:
        """True where nobody states it, so that it is guessed from the shape."""
        return self.source.startswith("assumed")

    @property
    def channels(self) -> int:
        """The number of channels, 1 without an axis of them."""
        return 1 if self.channel_axis is None else self.shape[self.channel_axis]

    @property
    def layout(self) -> str | None:
        """NCHW, NHWC or NHW of an image with these axes and no others, else None."""
        if not self.is_image:
            return None
        axes = {None: "NHW", 0: "NCHW", 2: "NHWC"}
        fits = len(self.shape) == (2 if self.channel_axis is None else 3)
        return axes.get(self.channel_axis) if fits else None

    @property
    def has_rows(self) -> bool:
        """True for a signal whose channels are many enough that a map of them, a row each, is drawn."""
        return self.name == "signal" and math.prod(self.shape) >= _MANY_CHANNELS * self.shape[self.spatial_axes[-1]]

    # -- maps: one value a place

    @property
    def map_axes(self) -> tuple[int, ...]:
        """Axes of masks and maps.

        They are the axes of space of an image or a volume, whose channels belong together at a place, those of tokens
        that are embeddings, and all axes of other inputs, whose channels (leads, features) are told apart.
        """
        together = self.name in ("image", "volume") or (self.name == "tokens" and self.channel_axis is not None)
        return self.spatial_axes if together else tuple(range(len(self.shape)))

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape of a map: (height, width) of an image, (depth, height, width) of a volume, else the input's."""
        return tuple(self.shape[axis] for axis in self.map_axes)

    @property
    def other_axes(self) -> tuple[int, ...]:
        """The axes that maps leave out: channels of images, volumes and embeddings, and axes of length 1 beside."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.map_axes)

    def summed(self, x: Array) -> Array:
        """Sum arrays [N, *shape] over the axes that maps leave out: [N, *grid], in the arrays' own type."""
        return np.asarray(x.sum(axis=tuple(1 + axis for axis in self.other_axes)))

    def expanded(self, maps: Array) -> Array:
        """Maps [N, *grid] with axes of length 1 for those that they leave out: they broadcast over [N, *shape]."""
        return np.expand_dims(maps, tuple(1 + axis for axis in self.other_axes))

    def shared(self, maps: Array) -> Array:
        """Maps [N, *grid] as relevance [N, *shape], the same share for each channel."""
        count = math.prod(self.shape[axis] for axis in self.other_axes)
        wide = np.broadcast_to(self.expanded(maps / count), (len(maps), *self.shape))
        return np.array(wide) if self.other_axes else maps

    def channels_last(self, x: Array) -> Array:
        """Arrays [N, *shape] as [N, *grid, channels]."""
        order = (0, *(1 + axis for axis in (*self.map_axes, *self.other_axes)))
        return x.transpose(order).reshape(len(x), *self.grid, -1)

    def from_channels_last(self, x: Array) -> Array:
        """Arrays [N, *grid, channels] as [N, *shape]: the inverse of `channels_last`."""
        order = (0, *(1 + axis for axis in (*self.map_axes, *self.other_axes)))
        others = [self.shape[axis] for axis in self.other_axes]
        return x.reshape(len(x), *self.grid, *others).transpose(np.argsort(order))

    def to_maps(self, relevance: Array) -> Array:
        """Maps [N, H, W] in float64 of relevance [N, *shape].

        Of an image the sum over channels; of a signal [N, channels, length]; of other inputs a row [N, 1, places],
        summed over the channels of a volume and the width of embeddings.
        """
        values = np.asarray(relevance)
        if self.is_image:
            return np.asarray(values.sum(axis=tuple(1 + axis for axis in self.other_axes), dtype=np.float64))
        if self.name == "signal":
            values = np.moveaxis(values, 1 + self.spatial_axes[-1], -1)
            return values.reshape(len(values), -1, values.shape[-1]).astype(np.float64)
        return self.summed(values.astype(np.float64)).reshape(len(values), 1, -1)

    def to_drawing(self, relevance: Array) -> Array | None:
        """Reduce the relevance [*shape] of one sample to what is drawn.

        Returns:
            A map [H, W] of an image or of a signal of many channels, a row [L] of other signals, tokens and vectors;
            None of a volume.
        """
        if self.name == "volume":
            return None
        drawn = np.asarray(self.to_maps(relevance[np.newaxis])[0])
        return drawn if self.is_image or self.has_rows else np.asarray(drawn.sum(axis=0))

    # -- words

    def describe(self) -> str:
        """`image, channels axis 0 of [3, 224, 224]`."""
        words = [self.name]
        if self.channel_axis is not None:
            words.append(f"channels axis {self.channel_axis}")
        elif self.name != "vector":
            words.append("no channels")
        return f"{', '.join(words)} of {list(self.shape)}"

    def to_dict(self) -> dict[str, Any]:
        """JSON's types."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "channel_axis": self.channel_axis,
            "spatial_axes": list(self.spatial_axes),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> InputKind:
        """The inverse of `to_dict`; raises KeyError, TypeError or ValueError for what is none."""
        channel = stored["channel_axis"]
        shape = tuple(int(n) for n in stored["shape"])
        axes = tuple(int(n) for n in stored["spatial_axes"])
        rank = range(len(shape))
        if stored["name"] not in KINDS or not {*axes, *([] if channel is None else [channel])} <= {*rank}:
            raise ValueError(f"no kind of input: {stored['name']}")
        return cls(str(stored["name"]), shape, channel, axes, str(stored["source"]))
