"""Figures of concepts: scores lie where their numbers say, and bars are as long as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis.concepts import figure
from onnxlrp.analysis.concepts.figure import Detector
from onnxlrp.analysis.concepts.significance import Verdict
from onnxlrp.analysis.concepts.tcav import ConceptTest, TcavOptions


def verdict_on(score: float, null: Any, name: str) -> ConceptTest:
    verdict = Verdict(score, (score - 1, score + 0.5), np.asarray(null, float), 0.05)
    facts = (verdict, verdict, "magnitude", "", (10, 10, 10), np.zeros(3, np.float32), TcavOptions())
    return ConceptTest(name, "zebra", "layer3", *facts)


def columns(picture: Any, colour: Any, least: int) -> Any:
    """The columns that have a colour in at least so many rows."""
    return np.flatnonzero((np.asarray(picture) == colour).all(axis=-1).sum(axis=0) >= least)


@pytest.mark.parametrize(("effect", "found"), [(8.0, True), (-6.5, True), (0.5, False)])
def test_the_line_lies_at_the_effect(effect: float, found: bool) -> None:
    null = np.random.default_rng(0).normal(size=999)
    null = 3 + 2 * (null - null.mean()) / null.std()
    one = verdict_on(3 + 2 * effect, null, "stripes")
    assert one.verdict.effect == pytest.approx(effect)
    assert one.significant == found
    picture = figure.of_tests([one])
    line = columns(picture, figure._FOUND if found else figure._NOT, 50)
    ends = [(v - 3) / 2 for v in (null.min(), null.max(), one.verdict.score, *one.verdict.interval)]
    low, high = min(*ends, -3), max(*ends, 3)
    margin = (picture.width - figure._WIDTH) // 2
    assert line.mean() == pytest.approx(margin + 8 + (effect - low) / (high - low) * (figure._WIDTH - 16), abs=1.5)
    grey = columns(picture, figure._NULL, 1)
    zero = margin + 8 - low / (high - low) * (figure._WIDTH - 16)
    assert grey.min() < zero < grey.max()
    assert len(columns(picture, figure._NULL, 60)) < len(grey) / 3  # highest in the middle


def test_sets_of_one_score_have_no_deviations() -> None:
    one = verdict_on(0.0, np.zeros(99), "dots")
    other = verdict_on(4.0, np.random.default_rng(0).normal(size=99), "stripes")
    assert np.isfinite(one.verdict.effect)
    assert figure.of_tests([one, other]).height > figure.of_tests([one]).height + figure._ROW


def test_bars_are_as_long_as_iou_and_auc() -> None:
    found = [Detector("layer3", n, "dots", iou, auc, True) for n, (iou, auc) in enumerate([(0.25, 0.5), (0.75, 1.0)])]
    picture = np.asarray(figure.of_units(found))
    whole = figure._WIDTH - 60 - 300
    for colour, values in ((figure._IOU, (0.75, 0.25)), (figure._AUC, (1.0, 0.5))):
        runs = (picture == colour).all(axis=-1).sum(axis=1)
        lengths = runs[runs > 0]
        assert lengths[0] == pytest.approx(values[0] * whole, abs=3)  # the best unit is first
        assert lengths[-1] == pytest.approx(values[1] * whole, abs=3)
    many = [Detector("layer3", n, "dots", None, 0.5 + n / 200, n > 50) for n in range(60)]
    assert figure.of_units(many).height == figure.of_units(many[-figure.SHOWN :]).height
