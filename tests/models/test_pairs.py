"""detector.onnx and segmenter.onnx: what counts for a shape lies in it, and not in the other one of the scene."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import CLASSES, HELD_OUT, render_pair

import onnxlrp
from support.paths import ROOT

SCENES = 8


@pytest.mark.slow
def test_relevance_of_a_box_lies_in_its_shape() -> None:
    model = onnxlrp.load(ROOT / "models" / "detector.onnx")
    own, other, found = [], [], 0
    for seed in range(HELD_OUT, HELD_OUT + SCENES):
        image, masks, labels = render_pair(seed)
        x = ((image.transpose(2, 0, 1) / 255 - 0.5) / 0.25).astype(np.float32)
        one = model.explain(x[np.newaxis], "box:1", "epsilon_plus_flat", boxes="score=0.1")
        assert one.boxes is not None
        box = one.boxes[0].box
        if box.id not in labels:
            continue
        n = labels.tolist().index(box.id)
        assert box.label == CLASSES[box.id]
        y, x_ = (np.flatnonzero(masks[n].any(axis=axis)) for axis in (1, 0))
        np.testing.assert_allclose(box[:4], [y[0], x_[0], y[-1] + 1, x_[-1] + 1], atol=8)
        heat = np.abs(one.kind.summed(one.relevance)[0])
        own.append((heat * masks[n]).sum() / heat.sum())
        other.append((heat * masks[1 - n]).sum() / heat.sum())
        found += 1
    assert found >= SCENES - 1
    assert np.mean(own) > 4 * np.mean(other)


@pytest.mark.slow
def test_relevance_of_a_class_lies_where_it_is_predicted() -> None:
    model = onnxlrp.load(ROOT / "models" / "segmenter.onnx")
    own, other, right = [], [], []
    for seed in range(HELD_OUT, HELD_OUT + SCENES):
        image, masks, labels = render_pair(seed)
        x = ((image.transpose(2, 0, 1) / 255 - 0.5) / 0.25).astype(np.float32)[np.newaxis]
        for n in (0, 1):
            one = model.explain(x, CLASSES[labels[n]], "epsilon_plus_flat")
            assert one.shares is not None
            right.append(abs(one.shares[0, 1 + labels[n]] - masks[n].mean()) < 0.05)
            heat = np.abs(one.kind.summed(one.relevance)[0])
            own.append((heat * masks[n]).sum() / heat.sum())
            other.append((heat * masks[1 - n]).sum() / heat.sum())
    assert np.mean(right) > 0.8
    assert np.mean(own) > 8 * np.mean(other)
