"""The transparency of pictures: right by hand, and clear where a class looks at nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.analysis.ascent.optimize import Direct, optimize
from onnxlrp.analysis.ascent.optimizers import Momentum
from onnxlrp.analysis.ascent.transformations import Affine
from onnxlrp.analysis.ascent.transparency import cutout, opacity
from support.paths import MODELS


def test_opacity_is_the_share_of_a_percentile_of_the_places_that_were_reached() -> None:
    slopes = np.zeros((3, 2, 2, 3))
    slopes[0, 0] = [[1, 2, 3], [4, 0, 0]]
    slopes[0, 1] = [[0, 0, 1], [1, 0, 1]]
    slopes[2, 1, 0, 0] = 1e-30  # a place alone
    cut = 4 + 0.2 * (5 - 4)  # of the sums 1, 2, 4, 5, 1: place .8 · 4 = 3.2 among the sorted five
    expected = [[1 / cut, 2 / cut, 4 / cut], [1, 0, 1 / cut]]
    found = opacity(slopes)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    assert not found[1].any()
    assert found[2, 0, 0] == 1
    assert found[2].sum() == 1
    assert opacity(np.ones((1, 5))).tolist() == [1]  # a vector has no places


@pytest.mark.parametrize("moved", [False, True])
def test_slopes_are_the_sum_of_the_gradients_sizes_before_transformations(moved: bool) -> None:
    """The sum over steps of |Aᵀ s|, computed beside the loop from the same draws."""
    sizes: list[Any] = []
    s = np.random.default_rng(0).standard_normal((2, 1, 6, 6)).astype(np.float32)
    moves = Affine(0.2, (0.8, 1.2), 20)

    def objective(x: Any) -> Any:
        return (x * s).reshape(len(x), -1).sum(axis=1), s.copy()

    found = optimize(objective, Direct(np.zeros((1, 6, 6))), [moves] if moved else (), Momentum(0.1), 5, n=2, seed=3)
    for step in range(5):
        adjoint = moves.draw(2, np.random.default_rng((3, step)))[1] if moved else np.asarray
        sizes.append(np.abs(adjoint(s)))
    np.testing.assert_allclose(found.slopes, np.sum(sizes, axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_cutout_has_the_pictures_pixels_and_the_opacity_behind_them(mode: str) -> None:
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).convert(mode)
    alpha = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    made = cutout(picture, alpha)
    np.testing.assert_array_equal(np.asarray(made)[..., :-1].squeeze(), np.asarray(picture))
    np.testing.assert_allclose(np.asarray(made)[..., -1] / 255, alpha, atol=0.5 / 255 + 1e-6)


def test_what_a_unit_does_not_see_is_clear() -> None:
    """A unit at one place: outside of its receptive field there is no gradient, and nothing is opaque."""
    model = onnxlrp.load(MODELS / "digits.onnx")
    layer = next(layer for layer in model.graph.layers if layer.op == "Conv")
    found = model.prototype(unit=f"{layer.outputs[0]}:0@14,14", style="maco", steps=6)
    height, width = found.opacity.shape[1:]
    rows, columns = np.nonzero(found.opacity[0])
    assert found.opacity.max() == 1
    assert 0 < len(rows) < height * width / 2
    assert np.ptp(rows) < height / 2
    assert np.ptp(columns) < width / 2
