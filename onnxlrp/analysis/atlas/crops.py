"""Pictures of units: the receptive field of each hit, cut out of its sample, and the relevance within it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import UnsupportedError
from ...graph.outputs.units import Start
from ...graph.recognition.receptive_field import Box
from ...inputs import InputKind
from ...pages import pictures as encode
from ...preprocessing.samples import Samples
from .atlas import AtlasData, LayerUnits
from .source import Pictures
from .tops import Array

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 72  # pixels of a picture on the page
HEAT_SIDE = 40
_BATCH = 8
RANKS = 3
MOST = 900  # heatmaps where nobody says how many: minutes of a large model


class Place(NamedTuple):
    """What a unit saw of a sample.

    Attributes:
        layer: The number of the layer.
        channel: The channel.
        sample: The number of the sample.
        flat: The flat position of the largest element.
    """

    layer: int
    channel: int
    sample: int
    flat: int


@dataclass(eq=False)
class Pieces:
    """Encoded pictures in a file without a name, so that memory holds none of them."""

    file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    index: dict[tuple[Place, str], tuple[int, int]] = field(default_factory=dict)

    def put(self, place: Place, kind: str, text: str) -> None:
        """Keep a picture."""
        data = text.encode()
        self.index[place, kind] = (self.file.seek(0, io.SEEK_END), len(data))
        self.file.write(data)

    def get(self, place: Place, kind: str) -> str | None:
        """Return a picture, None where there is none."""
        found = self.index.get((place, kind))
        if found is None:
            return None
        self.file.seek(found[0])
        return self.file.read(found[1]).decode()


class Heated(NamedTuple):
    """Which units have heatmaps, each of which takes a pass through the model.

    Attributes:
        ranks: Of so many of the first samples of a unit, by each order.
        units: The number of units of a layer, those that matter most; None for all.
        left: Where these are some of the units alone: what all of them would take.
    """

    ranks: int
    units: int | None = None
    left: int = 0

    @classmethod
    def of(cls, atlas: AtlasData, asked: int | None) -> Heated:
        """Decide it: as asked; else of all units of a small model, of the chief units of a large one."""
        orders = sum(len(layer.tops) for layer in atlas.layers)
        whole = RANKS * sum(layer.unit.channels * len(layer.tops) for layer in atlas.layers)
        if asked is not None or whole <= MOST:
            return cls(RANKS if asked is None else asked)
        return cls(RANKS, max(1, MOST // (RANKS * orders)), whole)

    def describe(self) -> str:
        """Return which these are in words."""
        whose = "each unit" if self.units is None else f"the {self.units} units of each layer that matter most"
        return f"of the first {self.ranks} samples of {whose}"


def places(atlas: AtlasData, heated: Heated) -> dict[int, dict[Place, bool]]:
    """Return what is shown of each sample, by its number, and whether a heatmap is asked for."""
    shown: dict[int, dict[Place, bool]] = {}
    for n, layer in enumerate(atlas.layers):
        chief = set(range(layer.unit.channels)) if heated.units is None else set(atlas.chief(n, heated.units))
        for top in layer.tops.values():
            for channel, rank in np.argwhere(top.samples >= 0).tolist():
                place = Place(n, channel, int(top.samples[channel, rank]), int(top.positions[channel, rank]))
                here = shown.setdefault(place.sample, {})
                here[place] = here.get(place, False) or (rank < heated.ranks and channel in chief)
    return shown


@dataclass(eq=False)
class Painter:
    """Draws what units saw.

    Attributes:
        atlas: The units.
        model: The model.
        source: The samples.
        rules: Gives the composite of heatmaps; told whether samples are pictures.
        pieces: The pictures.
        refused: Why there are no heatmaps, where the method has no rule for a layer.
    """

    atlas: AtlasData
    model: Any
    source: Pictures
    rules: Callable[[bool], Any]
    pieces: Pieces = field(default_factory=Pieces)
    refused: UnsupportedError | None = None
    _composites: dict[bool, Any] = field(default_factory=dict)
    _read: tuple[str, Samples] | None = None
    _items: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._items = {item.origin: item for item in self.source.items}

    def draw(self, heated: Heated) -> Iterator[tuple[int, int]]:
        """Draw everything; yields (done, of) between samples, and between batches of heatmaps.

        Heatmaps are drawn layer by layer: each has a program of its own, which is compiled once and then let go.

        Args:
            heated: The units whose relevance is drawn.
        """
        shown = places(self.atlas, heated)
        warm: dict[int, list[Place]] = {}
        for number in sorted(shown):
            for place in (place for place, hot in shown[number].items() if hot):
                warm.setdefault(place.layer, []).append(place)
        parts = [places[n : n + _BATCH] for _, places in sorted(warm.items()) for n in range(0, len(places), _BATCH)]
        total = len(shown) + len(parts)
        for done, number in enumerate(sorted(shown)):
            yield done, total
            self._crops(self._sample(number), shown[number])
        at, model = -1, self.model
        for done, part in enumerate(parts, len(shown)):
            yield done, total
            if part[0].layer != at:
                at, model = part[0].layer, self.model.apart()
            self._heatmaps(model, part)
            if self.refused is not None:
                return

    def _sample(self, number: int) -> Samples:
        """Read a sample; the file that was read last is at hand."""
        row = self.atlas.names[number]
        if self._read is None or self._read[0] != row["file"]:
            self._read = row["file"], self._items[row["file"]].read(self.model)
        sample = self._read[1][row["start"] : row["start"] + 1]
        self.model = self.model.at(sample.kind.shape, sample.own_size)
        return sample

    def _crops(self, sample: Samples, shown: dict[Place, bool]) -> None:
        whole = picture_of(sample)
        drawn: dict[Box, str | None] = {}  # units of deep layers see the same: all of the picture
        for place in shown:
            box = self.atlas.layers[place.layer].box(place.flat)
            if box not in drawn:
                piece = cut(whole, sample, box)
                drawn[box] = None if piece is None else encoded(piece)
            if (text := drawn[box]) is not None:
                self.pieces.put(place, "picture", text)

    def _heatmaps(self, model: Any, places: Sequence[Place]) -> None:
        """The relevance that starts at units of a layer, each at the place where it is largest."""
        samples = [self._sample(place.sample) for place in places]
        for pictures in (True, False):
            rows = [
                (place, sample.values[0])
                for place, sample in zip(places, samples, strict=True)
                if sample.kind.is_image and sample.pictures == pictures
            ]
            if rows and self.refused is None:
                self._started(model, rows, pictures)

    def _started(self, model: Any, rows: Sequence[tuple[Place, Array]], pictures: bool) -> None:
        if pictures not in self._composites:
            self._composites[pictures] = self.rules(pictures)
        layer = self.atlas.layers[rows[0][0].layer]
        start = Start(layer.unit.tensor, "activation", np.stack([_one_hot(layer, place) for place, _ in rows]))
        x = np.stack([values for _, values in rows])
        own_rows = any(len(array) > 1 for array in model.given.values())
        at = np.array([place.sample for place, _ in rows]) if own_rows else None
        try:
            relevance = model.outputs(x, self._composites[pictures], starts=[start], at=at)["relevance"]
        except UnsupportedError as error:
            if "relevance" in layer.tops:
                raise
            self.refused = error  # activations are shown all the same
            return
        for (place, _), one in zip(rows, relevance, strict=True):
            self._heat(place, one, layer)

    def _heat(self, place: Place, relevance: Array, layer: LayerUnits) -> None:
        kind = self.model.kind
        drawn = kind.to_drawing(relevance)
        rows, columns = window(kind, layer.box(place.flat))
        inside = drawn[slice(*rows), slice(*columns)]
        if inside.size and np.isfinite(inside).all() and (most := float(np.abs(inside).max())):
            self.pieces.put(place, "heat", encode.heat(inside, most, False, HEAT_SIDE))


def _one_hot(layer: LayerUnits, place: Place) -> Array:
    values = np.zeros(layer.unit.shape, np.float32)
    index = list(layer.position(place.flat))
    if layer.unit.shape:
        index.insert(layer.unit.axis, place.channel)
    values[tuple(index)] = 1
    return values


def window(kind: InputKind, box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and columns of an image that a box spans."""
    y, x = kind.spatial_axes[-2:]
    return box[y], box[x]


def picture_of(sample: Samples) -> Array | None:
    """Return what the model sees of one sample as pixels [H, W, 3] (uint8); None of what is no image."""
    if sample.views[0] is not None:
        return np.asarray(sample.views[0].convert("RGB"))
    kind = sample.kind
    if not kind.is_image:
        return None
    values = sample.values[0].astype(np.float64)
    if kind.channel_axis is not None:
        values = np.moveaxis(values, kind.channel_axis, -1)
    values = values.reshape(*kind.grid, -1)
    if values.shape[-1] != 3:
        values = values.mean(axis=-1, keepdims=True)
    low, high = values.min(), values.max()
    levels = np.rint(255 * (values - low) / (high - low or 1)).astype(np.uint8)
    return np.broadcast_to(levels, (*levels.shape[:2], 3))


def cut(whole: Array | None, sample: Samples, box: Box) -> Image | None:
    """Cut a receptive field out: pixels of an image, a stretch of a signal's curves; None of other kinds."""
    from PIL import Image as pillow

    kind = sample.kind
    if whole is not None:
        (top, bottom), (left, right) = window(kind, box)
        piece = whole[top:bottom, left:right]
        return pillow.fromarray(np.ascontiguousarray(piece)) if piece.size else None
    if kind.name == "signal" and kind.spatial_axes:
        axis = kind.spatial_axes[0]
        curves = np.moveaxis(sample.values[0].astype(np.float64), axis, -1).reshape(-1, kind.shape[axis])
        return curve(curves, *box[axis])
    return None


def curve(values: Array, start: int, stop: int) -> Image:
    """Draw a stretch of curves [C, L], at most eight of them, on the scale of the whole."""
    from PIL import Image as pillow
    from PIL import ImageDraw

    width, height = 2 * SIDE, SIDE
    made = pillow.new("RGB", (width, height), "white")
    low, high = float(values.min()), float(values.max())
    drawing = ImageDraw.Draw(made)
    for line in values[:8, start:stop]:
        x = np.linspace(1, width - 2, max(2, len(line)))
        y = height - 2 - (line - low) / (high - low or 1) * (height - 4)
        points = list(zip(x.tolist(), y.tolist(), strict=False))
        drawing.line(points if len(points) > 1 else [*points, (width - 2, points[0][1])], fill=(33, 80, 140), width=1)
    return made


def encoded(piece: Image) -> str:
    """Return a picture as a data URI: small ones without loss, which the page enlarges."""
    return str(encode.thumbnail(piece, SIDE))
