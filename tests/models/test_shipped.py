"""The shipped models: heatmaps hit what was planted, and stop to do so when the network is ruined."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from scenes import HELD_OUT, render

import onnxlrp
from support.paths import MODELS

SCENES = 200


@pytest.fixture(scope="module")
def scenes() -> Any:
    """200 held-out scenes: pictures [N, H, W, 3] uint8, masks [N, H, W], classes [N]."""
    made = [render(HELD_OUT + n) for n in range(SCENES)]
    return tuple(np.stack([scene[i] for scene in made]) for i in range(3))


def localisation(model: Any, scenes: Any) -> tuple[Any, Any]:
    """Share of heatmaps whose maximum lies in the mask, and the mask's share of Σ|R| over its share of the area."""
    pictures, masks, classes = scenes
    x = np.concatenate([model.preprocessing.apply(picture) for picture in pictures])
    relevance = model.explain(x, target=classes, batch_size=50).relevance.sum(axis=1)
    flat, inside = relevance.reshape(SCENES, -1), masks.reshape(SCENES, -1)
    pointing = inside[np.arange(SCENES), flat.argmax(axis=1)].mean()
    energy = (np.abs(flat) * inside).sum(axis=1) / np.abs(flat).sum(axis=1)
    return pointing, (energy / inside.mean(axis=1)).mean()


@pytest.mark.slow
def test_heatmaps_of_shapes_hit_the_shape(scenes: Any) -> None:
    pointing, energy = localisation(onnxlrp.load(MODELS / "shapes.onnx"), scenes)
    assert pointing >= 0.9
    assert energy >= 2.0


@pytest.mark.slow
def test_heatmaps_of_a_randomised_network_do_not(scenes: Any) -> None:
    # Adebayo et al. 2018: an explanation that survives the loss of the weights explains the picture, not the model.
    # Convolution and dense weights are drawn anew at their own scale; normalisation stays.
    model = onnx.load(MODELS / "shapes.onnx")
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim >= 2:
            tensor.CopyFrom(numpy_helper.from_array(rng.normal(0, array.std(), array.shape).astype("f"), tensor.name))
    pointing, energy = localisation(onnxlrp.load(model), scenes)
    assert pointing < 0.9
    assert energy < 2.0


@pytest.mark.parametrize("digit", range(10))
def test_digits_are_recognised_from_their_pictures(digit: int) -> None:
    e = onnxlrp.load(MODELS / "digits.onnx").explain(MODELS / "samples" / f"digit_{digit}.png", ledger=True)
    assert e.target.tolist() == [digit]
    assert e.preprocessing.source == "model metadata"
    assert not e.preprocessing.assumed
    assert max(row.error for row in e.ledger) < 1e-4


def test_shipped_files_are_small() -> None:
    files = [path for path in MODELS.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 4.5e6
