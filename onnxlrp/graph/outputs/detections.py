"""Boxes of a sample: those of a detector's outputs that pass a threshold, without their duplicates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...errors import UsageError
from ..graph import Array
from .detectors import Detector
from .places import OFFSETS, Place
from .scores import probabilities

_NORMALISED = 2.0  # coordinates up to here are shares of the picture; a box may reach over its edge
_WRONG_WAY = 0.02  # of the boxes, by rounding
_MOST = 30_000  # candidates of a sample, best first


class Detections(NamedTuple):
    """The boxes of a sample, best first.

    Attributes:
        corners: y0, x0, y1, x1 in pixels of the input, [n, 4].
        scores: The score of each, [n].
        classes: The class of each, [n].
        anchors: The entry of the output that each is, [n].
        chosen: Which of them is explained.
        ranking: By which classes are the best at that box, [C]: its own first, one that means no object last.
    """

    corners: Array
    scores: Array
    classes: Array
    anchors: Array
    chosen: int = 0
    ranking: Array = np.zeros(0)

    def ranked(self, scores: Array, detector: Detector) -> Detections:
        """Return the boxes with the scores of the one that is explained; its own class first, whatever the others have.

        Args:
            scores: The score of every class at every anchor [A, C] (`class_scores`).
            detector: How they are read.
        """
        row = scores[self.anchors[self.chosen]].copy()
        if detector.background is not None:
            row[detector.background] = -1
        row[self.classes[self.chosen]] = np.inf
        return self._replace(ranking=row)


def detections(
    detector: Detector, boxes: Array, values: Array, size: tuple[int, int], never_none: bool = False
) -> Detections:
    """Return the boxes of one sample: above the threshold of scores, each class without what overlaps a better one.

    Offsets of anchors tell no overlap: all boxes above the threshold are returned, with corners that are NaN.

    Args:
        detector: How the outputs are read, and its thresholds.
        boxes: The tensor with the coordinates, of one sample.
        values: The tensor with the scores of classes, of one sample.
        size: Height and width of the input in pixels.
        never_none: Where no score passes the threshold, return the best box.

    Raises:
        UsageError: Coordinates that are not what they are read as.
    """
    corners = _corners(detector, np.moveaxis(boxes, detector.box_axis, 0).reshape(boxes.shape[detector.box_axis], -1))
    if np.abs(corners[np.isfinite(corners)]).max(initial=0) <= _NORMALISED:
        corners = corners * (np.array([size[0], size[1]] * 2))
    scores = class_scores(detector, values)
    if detector.background is not None:
        scores[:, detector.background] = -1
    anchors, classes = np.nonzero(scores > detector.score)
    if not len(anchors) and never_none:
        anchors, classes = (np.atleast_1d(place) for place in np.unravel_index(np.argmax(scores), scores.shape))
    order = np.argsort(-scores[anchors, classes], kind="stable")[:_MOST]
    anchors, classes = anchors[order], classes[order]
    if detector.format != OFFSETS:
        kept = _without_duplicates(corners[anchors], classes, detector.iou)
        anchors, classes = anchors[kept], classes[kept]
    return Detections(corners[anchors], scores[anchors, classes], classes, anchors)


def class_scores(detector: Detector, values: Array) -> Array:
    """Return the score of every class at every anchor of one sample, [A, C], by which boxes are ranked."""
    rows = np.moveaxis(values, detector.class_axis, -1).reshape(-1, values.shape[detector.class_axis])
    own = rows[:, detector.first : detector.first + detector.classes].astype(np.float64)
    scores = own if detector.kind == "Scores" else probabilities(own, detector.kind)
    return scores if detector.objectness is None else scores * rows[:, detector.objectness, np.newaxis]


def chosen(found: Detections, place: Place, name: str, threshold: float) -> Detections:
    """Return the boxes with the one that a place names.

    Args:
        found: The boxes.
        place: A place of the kind "box": the N-th best, from 1, or the best that covers a point y, x of the input.
        name: The name of the sample.
        threshold: The score that boxes pass, for the error.

    Raises:
        UsageError: There is no such box.
    """
    count = len(found.scores)
    if len(place.numbers) == 1:
        at = place.numbers[0] - 1
        if not 0 <= at < count:
            say = "no box passes" if not count else f"{count} boxes pass" if count > 1 else "one box passes"
            raise UsageError(
                f"{name}: {place}: {say} the score of {threshold:g}",
                "boxes count from 1, best first"
                if at < 0
                else "lower it, --boxes score=0.05, or say how the output is read, --boxes layout=…,format=…",
            )
        return found._replace(chosen=at)
    if count and np.isnan(found.corners).all():
        raise UsageError(
            f"{name}: {place}: the boxes are offsets of anchors that the file does not hold: no point is known to be "
            "in one",
            "-t box:1 explains the best box; --boxes format=cxcywh, xyxy or yxyx if they are none",
        )
    y, x = place.numbers
    y0, x0, y1, x1 = found.corners.T
    inside = np.flatnonzero((y0 <= y) & (y < y1) & (x0 <= x) & (x < x1))
    if not len(inside):
        raise UsageError(
            f"{name}: {place}: none of the {count} boxes above the score of {threshold:g} covers the point",
            "points are y,x in pixels of the model's input; -t box:1 explains the best box",
        )
    return found._replace(chosen=int(inside[0]))


def wrong_way(form: str, coordinates: Array) -> float:
    """Return the share of boxes, as coordinates [4 or more, A], that are none: sizes below 0, or corners turned round.

    Args:
        form: How they are read (`Detector.format`).
        coordinates: The coordinates.
    """
    a, b, c, d = coordinates[:4]
    return float(((c < 0) | (d < 0) if form == "cxcywh" else (c < a) | (d < b)).mean())


def _corners(detector: Detector, coordinates: Array) -> Array:
    """The corners y0, x0, y1, x1 of boxes as coordinates [4 or more, A]; raises UsageError where they are none."""
    a, b, c, d = coordinates[:4].astype(np.float64)
    if detector.format == OFFSETS:
        return np.full((len(a), 4), np.nan)
    made = {
        "cxcywh": (b - d / 2, a - c / 2, b + d / 2, a + c / 2),
        "xyxy": (b, a, d, c),
        "yxyx": (a, b, c, d),
    }[detector.format]
    if (wrong := wrong_way(detector.format, coordinates)) > _WRONG_WAY:
        what = "widths and heights" if detector.format == "cxcywh" else "second corners"
        below = "negative" if detector.format == "cxcywh" else "above or left of the first"
        raise UsageError(
            f"boxes read as {detector.format}: {wrong:.0%} of the {what} are {below}",
            "state how they are written: --boxes format=cxcywh, format=xyxy or format=yxyx",
        )
    return np.stack(made, axis=1)


def _without_duplicates(corners: Array, classes: Array, iou: float) -> Array:
    """Which boxes stay, of those in order: none that overlaps a better one of its class by more than `iou`."""
    kept: list[int] = []
    alive = np.ones(len(corners), bool)
    areas = np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0), axis=1)
    for i in range(len(corners)):
        if not alive[i]:
            continue
        kept.append(i)
        low, high = np.maximum(corners[i, :2], corners[:, :2]), np.minimum(corners[i, 2:], corners[:, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        overlap = shared / np.maximum(areas[i] + areas - shared, 1e-12)
        alive &= ~((overlap > iou) & (classes == classes[i]))
    return np.asarray(kept, np.int64)
