"""Figures of concepts: scores beside those of random sets, and the units that detect concepts best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...pictures import lettering
from ...pictures.figure import FAINT, INK, figure
from ...pictures.style import Style
from .layer import Array
from .tcav import ConceptTest

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SHOWN = 20  # units
_WIDTH, _ROW, _LINE, _BAR = 720, 96, 20, 26
_GROUND, _NULL = (246, 246, 246), (176, 186, 198)
_FOUND, _NOT = (178, 24, 43), (90, 90, 90)  # the score, where it is significant and where it is not
_IOU, _AUC = (33, 102, 172), (146, 197, 222)
_BINS = 60


class Detector(NamedTuple):
    """A unit and the concept that it detects best.

    Attributes:
        layer: The layer.
        unit: The channel.
        concept: The concept.
        iou: Intersection over union, None without masks.
        auc: Area under the ROC curve.
        significant: Whether the AUC differs from 1/2 at the corrected level.
    """

    layer: str
    unit: int
    concept: str
    iou: float | None
    auc: float
    significant: bool


def of_tests(tests: Sequence[ConceptTest]) -> Image:
    """Draw each test: the histogram of its random sets' scores, and the concept's own score with its interval.

    All are drawn in standard deviations of the random sets from their mean, on one axis.

    Args:
        tests: The tests, of one statistic.
    """
    first = tests[0]
    ends = np.concatenate([_deviations(one, _extremes(one)) for one in tests])
    low, high = float(min(ends.min(), -3)), float(max(ends.max(), 3))
    panels = [_test(one, low, high) for one in tests]
    word = "mean derivative" if first.statistic == "magnitude" else "share of positive derivatives"
    title = f"Sensitivity of classes to concepts: {word} (TCAV)"
    caption = (
        f"grey: {len(first.verdict.null)} random sets, in their standard deviations; "
        f"line: concept, 95 %; red: p <= {first.verdict.level:.2g}"
    )
    return figure(panels, None, Style(title=title, caption=caption), stacked=True)


def of_units(detectors: Sequence[Detector]) -> Image:
    """Draw the units that detect a concept best, by IoU where there are masks, else by AUC.

    Args:
        detectors: Units with their best concept.
    """
    cut = any(one.iou is not None for one in detectors)
    best = sorted(detectors, key=lambda one: -(one.iou or 0.0) if cut else -one.auc)[:SHOWN]
    words = "dark bar and number: IoU, light: AUC" if cut else "AUC"
    more = f"; the best {len(best)} of {len(detectors)} units" if len(best) < len(detectors) else ""
    caption = f"{words}; from 0 to 1; faint name: AUC not significant{more}"
    panels = [_units(best, cut)]
    return figure(panels, None, Style(title="Units that detect concepts", caption=caption), stacked=True)


def _extremes(one: ConceptTest) -> Array:
    """What has to lie on the axis."""
    return np.array([one.verdict.null.min(), one.verdict.null.max(), one.verdict.score, *one.verdict.interval])


def _deviations(one: ConceptTest, scores: Array) -> Array:
    """Scores in standard deviations of random sets from their mean; 0 where all sets have one score."""
    spread = float(one.verdict.null.std())
    return (scores - one.verdict.centre) / spread if spread else np.zeros(len(scores))


def _test(one: ConceptTest, low: float, high: float) -> Image:
    verdict, (panel, pen) = one.verdict, _panel(_LINE + _ROW + 16)
    small = lettering.font(14)
    said = f"effect {verdict.effect:.1f}, p {verdict.p:.2g}{'' if one.significant else ', not significant'}"
    said = said if float(verdict.null.std()) else "all random sets have the same score"
    room = _WIDTH - int(small.getlength(said)) - 24
    pen.text(
        (6, 2), lettering.fitted(f"{one.concept} for {one.target}, {one.layer}", small, room), font=small, fill=INK
    )
    pen.text((_WIDTH - 6 - small.getlength(said), 2), said, font=small, fill=_FOUND if one.significant else _NOT)

    def at(deviations: float) -> int:
        return round(8 + (deviations - low) / (high - low) * (_WIDTH - 16))

    floor = _LINE + _ROW
    counts, edges = np.histogram(_deviations(one, verdict.null), _BINS, (low, high))
    for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        top = floor - round(count / max(1, int(counts.max())) * (_ROW - 14))
        if count:
            pen.rectangle([at(left), min(top, floor - 1), max(at(left), at(right) - 1), floor], fill=_NULL)
    pen.line([8, floor, _WIDTH - 8, floor], fill=FAINT)
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000, 10**9) if (high - low) / n <= 16)
    for tick in range(int(np.ceil(low / step)) * step, int(high) + 1, step):
        word = f"{tick:+d}" if tick else "0"
        pen.line([at(tick), floor, at(tick), floor + 3], fill=FAINT)
        tiny = lettering.font(11)
        pen.text((at(tick) - tiny.getlength(word) / 2, floor + 3), word, font=tiny, fill=FAINT)
    score, left, right = _deviations(one, np.array([verdict.score, *verdict.interval])).tolist()
    colour = _FOUND if one.significant else _NOT
    pen.line([at(left), _LINE + 8, at(right), _LINE + 8], fill=colour, width=3)
    pen.line([at(score), _LINE + 4, at(score), floor], fill=colour, width=3)
    return panel


def _units(best: Sequence[Detector], cut: bool) -> Image:
    panel, pen = _panel(12 + _BAR * len(best))
    small, left = lettering.font(14), 300
    right = _WIDTH - 60
    for n, one in enumerate(best):
        y = 6 + n * _BAR
        name = lettering.fitted(f"{one.concept}  {one.layer}:{one.unit}", small, left - 16)
        pen.text((8, y + 3), name, font=small, fill=INK if one.significant else FAINT)
        bars = [(one.iou or 0.0, _IOU), (one.auc, _AUC)] if cut else [(one.auc, _IOU)]
        high = (_BAR - 4) // len(bars)
        for k, (value, colour) in enumerate(bars):
            top = y + k * high
            pen.rectangle([left, top, left + max(1, round(value * (right - left))), top + high - 1], fill=colour)
        pen.text((right + 8, y + 3), f"{one.iou if cut else one.auc:.2f}", font=small, fill=INK)
    middle = (left + right) // 2
    pen.line([middle, 4, middle, panel.height - 4], fill=FAINT)
    return panel


def _panel(height: int) -> tuple[Image, ImageDraw]:
    from PIL import Image as pillow
    from PIL import ImageDraw

    panel = pillow.new("RGB", (_WIDTH, height), _GROUND)
    return panel, ImageDraw.Draw(panel)
