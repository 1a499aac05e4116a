"""What values tell of a detector's outputs: how boxes are written, and which class stands for no object."""

from __future__ import annotations

import numpy as np

from ..graph import Array
from .detections import wrong_way
from .detectors import Detector
from .places import BOX_FORMATS, OFFSETS
from .scores import softmax

_WRONG_WAY = 0.02  # of the boxes, by rounding
_NEARLY_ALL = 0.8  # of the boxes: the share of a class that stands for no object


def told(detector: Detector, boxes: Array, values: Array) -> dict[str, str]:
    """Return what values contradict of what was assumed, as the options of `places.BoxOptions` that state it.

    Of an assumed format whose boxes are the wrong way round the one that fits; "offsets" where none does: distances
    from anchors, which the file does not hold. The first or last class, where it wins at nearly all boxes with a
    positive logit, stands for no object; then the classes share a Softmax.

    Args:
        detector: How the outputs are read.
        boxes: The tensor with the coordinates [N, …].
        values: The tensor with the scores of classes [N, …].
    """
    assumed = {word.partition("=")[0] for word in detector.guesses}
    found: dict[str, str] = {}
    four = np.moveaxis(boxes, 1 + detector.box_axis, 0).reshape(boxes.shape[1 + detector.box_axis], -1)
    if "format" in assumed and wrong_way(detector.format, four) > _WRONG_WAY:
        fits = (form for form in BOX_FORMATS if form != OFFSETS and wrong_way(form, four) <= _WRONG_WAY)
        found["format"] = next(fits, OFFSETS)
    if not assumed & {"activation", "background"} or detector.classes < 2:
        return found
    rows = np.moveaxis(values, 1 + detector.class_axis, -1).reshape(-1, values.shape[1 + detector.class_axis])
    none = _none(rows[:, detector.first : detector.first + detector.classes].astype(np.float64), detector.kind)
    if none is not None and none != detector.background:
        found["background"] = str(none)
        if "activation" in assumed:
            found["activation"] = "softmax"
    return found


def _none(rows: Array, kind: str) -> int | None:
    """The first or last class, where it wins at nearly all boxes; of separate logits where it is above 0 there."""
    best = rows.argmax(axis=1)
    for k in (0, rows.shape[1] - 1):
        wins = best == k
        if kind not in ("LogSoftmax", "Scores"):
            wins &= (rows[:, k] > 0) & (softmax(rows)[:, k] > 0.5)
        if wins.mean() >= _NEARLY_ALL:
            return k
    return None
