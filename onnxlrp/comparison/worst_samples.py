"""The least similar samples of a comparison, kept while all of them pass, and saved beside its result."""

from __future__ import annotations

import heapq
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import InputError
from ..explanation.figures import Drawn
from ..inputs import InputKind
from .similarity import METRICS

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class WorstSample:
    """A sample with the heatmaps of both models.

    Attributes:
        row: The measurements of the sample, as in the result.
        maps: The heatmaps [H, W] of A and B.
        views: The picture as each model sees it, None for arrays.
        drawn: What the figures of a sample that is no image show, None for an image.
    """

    row: Mapping[str, Any]
    maps: tuple[Array, Array]
    views: tuple[Image | None, Image | None]
    drawn: tuple[Drawn | None, Drawn | None] = (None, None)


@dataclass(eq=False)
class WorstSamples:
    """Keeps the least similar samples by one measure; of equal ones the first.

    Attributes:
        measure: The name of the measure; a sample without a value is the worst.
        most: How many are kept.
        seen: How many samples were added.
    """

    measure: str
    most: int
    seen: int = 0
    _heap: list[tuple[float, int, WorstSample]] = field(default_factory=list)

    def add(self, samples: Sequence[WorstSample]) -> None:
        """Add samples."""
        metric = METRICS.get(self.measure)
        sign = -1 if metric is not None and metric.higher else 1
        for one in samples:
            value = one.row[self.measure]
            heapq.heappush(self._heap, (np.inf if value is None else sign * value, -self.seen, one))
            self.seen += 1
            if len(self._heap) > self.most:
                heapq.heappop(self._heap)

    def kept(self) -> list[WorstSample]:
        """Return the kept samples, worst first."""
        return [one for _, _, one in sorted(self._heap, key=lambda item: item[:2], reverse=True)]


def beside(path: str | Path) -> Path:
    """Return the file of heatmaps beside a result."""
    return Path(path).with_suffix(".npz")


def save(kept: Sequence[WorstSample], result: Mapping[str, Any], path: str | Path) -> Path:
    """Write the heatmaps and views of the kept samples as an .npz file beside the result."""
    places = {id(row): n for n, row in enumerate(result["samples"])}
    arrays: dict[str, Array] = {"row": np.array([places[id(one.row)] for one in kept], np.int64)}
    arrays["models"] = _models(result)
    for n, one in enumerate(kept):
        for side, values, view, drawn in zip("ab", one.maps, one.views, one.drawn, strict=True):
            arrays[f"{side}{n}"] = values.astype(np.float32)
            if view is not None:
                arrays[f"{side}{n}.view"] = np.asarray(view.convert("RGB"))
            if drawn is not None:
                arrays |= {f"{side}{n}.{key}": value for key, value in _packed(drawn).items()}
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return files.replace(beside(path), stream.getvalue())


def read(result: Mapping[str, Any], path: str | Path) -> list[WorstSample]:
    """Read the samples that `save` wrote beside a result; empty where there is no file. Raises InputError."""
    path, rows = beside(path), result["samples"]
    if not path.exists():
        return []
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not np.array_equal(stored["models"], _models(result)):
                raise ValueError("of other models")
            return [_sample(stored, n, rows[int(row)]) for n, row in enumerate(stored["row"])]
    except Exception as error:  # zipfile and numpy raise anything from BadZipFile to KeyError on a damaged file
        fix = "compute it again: onnxlrp compare A B IMAGES --save FILE"
        raise InputError(f"{path}: not the heatmaps of a comparison ({files.reason(error)})", fix) from None


def _models(result: Mapping[str, Any]) -> Array:
    return np.array([str(result[side]["sha256"]) for side in "ab"])


def _sample(stored: Mapping[str, Array], n: int, row: Mapping[str, Any]) -> WorstSample:
    from PIL import Image as pillow

    maps, views, drawn = [], [], []
    for side in "ab":
        values, view = stored[f"{side}{n}"], stored.get(f"{side}{n}.view")
        if values.ndim != 2 or values.dtype.kind != "f" or not values.size:
            raise ValueError(f"a map of shape {values.shape}")
        maps.append(values.astype(np.float64))
        views.append(None if view is None else pillow.fromarray(view))
        drawn.append(_unpacked(stored, f"{side}{n}.") if f"{side}{n}.kind" in stored else None)
    return WorstSample(row, (maps[0], maps[1]), (views[0], views[1]), (drawn[0], drawn[1]))


def _packed(drawn: Drawn) -> dict[str, Array]:
    """A figure's numbers as arrays, its kind and names as JSON."""
    arrays: dict[str, Array] = {"kind": np.array(json.dumps(asdict(drawn.kind))), "relevance": drawn.relevance}
    if drawn.x is not None:
        arrays["x"] = drawn.x
    if drawn.names is not None:
        arrays["names"] = np.array(json.dumps(list(drawn.names)))
    return arrays


def _unpacked(stored: Mapping[str, Array], prefix: str) -> Drawn:
    words = {key: json.loads(str(stored[prefix + key])) for key in ("kind", "names") if prefix + key in stored}
    told = words["kind"]
    kind = InputKind(**{**told, "shape": tuple(told["shape"]), "spatial_axes": tuple(told["spatial_axes"])})
    relevance, x = stored[prefix + "relevance"], stored.get(prefix + "x")
    for values in (relevance, *([] if x is None else [x])):
        if values.dtype.kind not in "fiub" or not values.size:
            raise ValueError(f"relevance of shape {values.shape}")
    return Drawn(kind, relevance, x, words.get("names"))
