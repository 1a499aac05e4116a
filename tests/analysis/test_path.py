"""The path: Spearman's correlation against scipy's definition, and curves of pictures that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from scenes import CLASSES, render

import onnxlrp
from onnxlrp.analysis.ascent import domain
from onnxlrp.analysis.prototypes import path
from support.paths import MODELS


def spearman(a: Any, b: Any) -> float:
    """Pearson's correlation of mean ranks, written out."""

    def ranks(v: Any) -> Any:
        return np.array([(v < one).sum() + ((v == one).sum() - 1) / 2 for one in v])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def test_products_of_ranks_are_spearmans_correlation() -> None:
    rows = np.random.default_rng(0).integers(0, 5, (4, 30)).astype(float)
    found = path._ranks(rows) @ path._ranks(rows).T
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx(spearman(rows[i], rows[j]))


@pytest.mark.slow
def test_real_pictures_are_1_and_noise_is_0() -> None:
    """Made are real pictures of the class: both curves lie near 1; noise has no likeness."""
    model = onnxlrp.load(MODELS / "shapes.onnx")
    where = domain.decide(model)
    found = [render(n) for n in range(2_000_000, 2_000_090)]
    labels = np.array([label for _, _, label in found])
    x = np.concatenate([model.read(Image.fromarray(image)).values for image, _, _ in found])
    star = CLASSES.index("star")
    own, others = x[labels == star], x[labels != star]
    made, real = own[:5], np.concatenate([own[5:], others])
    folders = [CLASSES[k] for k in [star] * (len(own) - 5) + labels[labels != star].tolist()]
    curves = path.measure(model, where, made, star, real, folders)
    assert isinstance(curves, path.Path)
    assert curves.labelled == "the names of folders"
    last = [value for value in curves.separation if value is not None][-1]
    assert last == pytest.approx(1, abs=0.3)
    likeness = [value for value in curves.likeness if value is not None]
    assert np.mean(likeness) == pytest.approx(1, abs=0.3)
    noise = where.to_input(np.random.default_rng(5).random((5, *where.shape), np.float32))
    blank = path.measure(model, where, noise, star, real, folders)
    assert isinstance(blank, path.Path)
    assert np.mean([value for value in blank.likeness if value is not None]) == pytest.approx(0, abs=0.1)
    assert len(curves.layers) == len(curves.likeness) <= 24
    json_ready = curves.to_dict()
    assert json_ready["own"] == len(own) - 5


def test_too_few_pictures_are_said() -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    x = np.zeros((3, 3, 64, 64), np.float32)
    assert "two of each" in str(path.measure(model, domain.decide(model), x[:1], 0, x, ["circle", "star", "star"]))
