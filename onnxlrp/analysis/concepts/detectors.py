"""Which units detect which concepts: Network Dissection by masks, INVERT by labels."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from ...errors import InputError, NothingToDo, UsageError, at_least, one_of
from ...preprocessing.samples import Samples
from ...streaming.sources import Source
from .labels import Labels, Masks
from .layer import Array, LayerView, Reader
from .quantiles import TopQuantile

DETECTOR = 0.04  # IoU of a detector
SHARE = 0.005  # of a unit's values above its threshold
POOLS = ("mean", "max")
LEAST = 10  # samples
_PIECE = 1 << 22  # upsampled values at a time


@dataclass(frozen=True, eq=False)
class Dissection:
    """How well the units of a layer, thresholded, cover concepts.

    Attributes:
        iou: Intersection over union over all samples [units, concepts].
        thresholds: The threshold of each unit [units].
        pixels: The pixels of each concept over all samples [concepts].
        samples: The number of samples.
    """

    iou: Array
    thresholds: Array
    pixels: Array
    samples: int

    def is_detector(self) -> Array:
        """Return which units detect a concept [units]: their best IoU is at least .04."""
        return np.asarray(self.iou.max(axis=1) >= DETECTOR)


def dissect(reader: Reader, source: Source, view: LayerView, masks: Masks, share: float = SHARE) -> Dissection:
    """Dissect a layer (Network Dissection).

    T_k is the value that a share of .005 of unit k's activations exceeds, over all samples and positions, found exactly
    by two to three passes. In the last pass each map is enlarged to the masks' grid (bilinearly, between the centres of
    its cells), and IoU_kc = Σ |M_k ∩ L_c| / Σ |M_k ∪ L_c| with M_k = A_k > T_k.

    Args:
        reader: Reads the samples.
        source: The samples.
        view: The layer.
        masks: The masks.
        share: The share of values above a threshold.

    Raises:
        InputError: Masks of another size, a concept without a mask, or too few samples.

    References:
        Bau, Zhou et al. 2017, "Network Dissection: Quantifying Interpretability of Deep Visual Representations".
    """
    check(share)
    height, width = view.grid()
    quantile = TopQuantile(view.unit.channels, share)
    known = False
    while not known:
        count = 0
        for samples in reader(source):
            quantile.add(view.images(view.activations(samples.values)).reshape(len(samples), view.unit.channels, -1))
            count += len(samples)
        _enough(count)
        known = quantile.end_pass()
    thresholds = quantile.thresholds()
    k, c = view.unit.channels, len(masks.concepts)
    both, active, pixels, there = np.zeros((k, c)), np.zeros(k), np.zeros(c), np.zeros(c, int)
    for samples in reader(source):
        inside, given = masks.read(samples, view.model)
        there += given.sum(axis=0)
        pixels += inside.sum(axis=(0, 2, 3))
        rows, columns = enlarging(height, inside.shape[2]), enlarging(width, inside.shape[3])
        for maps, mask in zip(view.images(view.activations(samples.values)), inside, strict=True):
            flat = mask.reshape(c, -1).T.astype(np.float32)
            for part, above in _above(maps, rows, columns, thresholds):
                both[part] += above @ flat
                active[part] += above.sum(axis=1, dtype=np.float64)
    if (there == 0).any():
        name = masks.names[int(np.argmin(there))]
        raise InputError(f"{name}: no sample has a mask of it", "name a mask like its sample: NAME.png")
    union = active[:, None] + pixels[None] - both
    return Dissection(both / np.maximum(union, 1), thresholds, pixels, count)


def enlarging(short: int, long: int) -> Array:
    """Return the matrix [long, short] of bilinear interpolation between the centres of cells, the ends repeated."""
    at = np.clip((np.arange(long) + 0.5) * short / long - 0.5, 0, short - 1)
    low = np.minimum(np.floor(at).astype(int), short - 1)
    high = np.minimum(low + 1, short - 1)
    matrix = np.zeros((long, short), np.float64)
    np.add.at(matrix, (np.arange(long), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(long), high), at - low)
    return matrix


def _above(maps: Array, rows: Array, columns: Array, thresholds: Array) -> Iterator[tuple[slice, Array]]:
    """Some units at a time, where their enlarged maps [units, pixels] are above their thresholds."""
    step = max(1, _PIECE // (len(rows) * len(columns)))
    for start in range(0, len(maps), step):
        part = slice(start, start + step)
        large = rows @ maps[part].astype(np.float64) @ columns.T
        yield part, (large > thresholds[part, None, None]).reshape(len(large), -1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Inversion:
    """How well the units of a layer tell samples with a label from others.

    Attributes:
        auc: The area under the ROC curve [units, labels].
        p: Two-sided p of the AUC, of the Mann-Whitney test's normal approximation with ties [units, labels].
        positives: The samples of each label [labels].
        samples: The number of samples.
    """

    auc: Array
    p: Array
    positives: Array
    samples: int

    def significant(self, alpha: float = 0.05) -> Array:
        """Return which AUCs differ from 1/2 at a level corrected for their number (Bonferroni) [units, labels]."""
        return np.asarray(self.p <= alpha / self.p.size)


@dataclass(eq=False)
class _Spilled:
    """Rows of numbers in a temporary file, so that memory does not grow with them."""

    columns: int
    file: BinaryIO = field(default_factory=tempfile.TemporaryFile)
    rows: int = 0

    def add(self, rows: Array) -> None:
        self.file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        self.rows += len(rows)

    def column(self, n: int) -> Array:
        self.file.flush()
        mapped = np.memmap(self.file, np.float32, "r", shape=(self.rows, self.columns))
        return np.array(mapped[:, n])


def invert(
    reader: Reader,
    source: Source,
    view: LayerView,
    shown: Callable[[Samples], Array],
    labels: int,
    pool: str = "mean",
    alone: bool = True,
) -> Inversion:
    """Find the labels that units tell apart (INVERT).

    A unit's value of a sample is the mean or the maximum of its map. Its AUC for a label is the chance that a sample
    with the label has a higher value than one without, ties counting half.

    Args:
        reader: Reads the samples.
        source: The samples.
        view: The layer.
        shown: Returns which samples have which labels [n, labels].
        labels: The number of labels.
        pool: "mean" or "max".
        alone: Whether nothing else is asked of the labels, which must tell samples apart then. A label that all or
            none of the samples have has an AUC of 1/2, and p = 1.

    Raises:
        InputError: Too few samples, or all labels are such, and nothing else is asked of them.

    References:
        Bykov et al. 2023, "Labeling Neural Representations with Inverse Recognition".
    """
    check(pool=pool)
    at_least(1, labels=labels)
    values, marks = _Spilled(view.unit.channels), list[Array]()
    for samples in reader(source):
        maps = view.activations(samples.values)
        values.add(maps.mean(axis=2) if pool == "mean" else maps.max(axis=2))
        marks.append(shown(samples))
    _enough(values.rows)
    inside = np.concatenate(marks)
    positives = inside.sum(axis=0)
    if alone and not ((positives > 0) & (positives < len(inside))).any():
        raise InputError("every label belongs to all samples or to none", "give samples with and without a concept")
    pairs = [ranked_auc(values.column(n), inside) for n in range(view.unit.channels)]
    values.file.close()
    return Inversion(np.stack([auc for auc, _ in pairs]), np.stack([p for _, p in pairs]), positives, len(inside))


def ranked_auc(values: Array, inside: Array) -> tuple[Array, Array]:
    """Compute the AUC of values [n] for labels [n, labels], and its two-sided p; 1/2 and 1 for all or none."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]
    n = len(values)
    ones = inside.sum(axis=0).astype(np.float64)
    pairs = ones * (n - ones)
    wins = ranks @ inside - ones * (ones + 1) / 2
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    variance = pairs / 12 * ((n + 1) - ties / (n * (n - 1)))
    safe = (pairs > 0) & (variance > 0)
    auc = np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1), 0.5)
    z = np.where(safe, np.abs(wins - pairs / 2) / np.sqrt(np.where(safe, variance, 1)), 0.0)
    return auc, np.array([math.erfc(one / math.sqrt(2)) for one in z])


def check(share: float = 0.5, pool: str = "mean") -> None:
    """Raise UsageError for a share of values above a threshold, or a way to pool, that is none."""
    if not 0 < share < 1:
        raise UsageError(f"share={share}", "give a share such as 0.005")
    one_of(POOLS, pool=pool)


def shown_by(labels: Labels | Masks, model: Any) -> Callable[[Samples], Array]:
    """Return what tells which samples show which concepts; of masks, those with a pixel of it."""
    if isinstance(labels, Labels):
        return labels.read
    return lambda samples: np.asarray(labels.read(samples, model)[0].any(axis=(2, 3)))


def _enough(count: int) -> None:
    if not count:
        raise NothingToDo("no samples", "give pictures")
    if count < LEAST:
        raise InputError(f"{count} samples: {LEAST} or more are needed", "give more pictures")
