"""Transformations: exact adjoints, and the maps that they claim to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis.ascent.transformations import Affine, Crop, Noise
from onnxlrp.errors import UsageError

KINDS: dict[str, Any] = {
    "shift": Affine(shift=0.2),
    "scale": Affine(scale=(0.7, 1.4)),
    "rotate": Affine(rotation=30),
    "flip": Affine(flip=True),
    "all": Affine(0.1, (0.8, 1.2), 15, True, fill=0.3),
    "crop": Crop(0.4, 0.1),
    "noise": Noise(0.3),
}


@pytest.mark.parametrize("space", [(17,), (9, 12), (1, 6), (5, 6, 7)])
@pytest.mark.parametrize("kind", KINDS)
def test_adjoints_are_exact(kind: str, space: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    apply, adjoint = KINDS[kind].draw(3, rng)
    x, s = (rng.standard_normal((3, 2, *space)).astype(np.float32) for _ in range(2))
    if kind == "noise":
        np.testing.assert_array_equal(adjoint(s), s)
        return
    linear = apply(x).astype(np.float64) - apply(np.zeros_like(x))
    left, right = ((a * b).sum(axis=tuple(range(1, a.ndim))) for a, b in ((linear, s), (x.astype(float), adjoint(s))))
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


def direct(x: Any, points: Any, fill: float) -> Any:
    """Bilinear interpolation of a picture [H, W] at points [2, ...], written pixel by pixel."""
    found = np.empty(points.shape[1:])
    for place in np.ndindex(*points.shape[1:]):
        total = 0.0
        py, px = points[(slice(None), *place)]
        for y in (int(np.floor(py)), int(np.floor(py)) + 1):
            for x0 in (int(np.floor(px)), int(np.floor(px)) + 1):
                inside = 0 <= y < x.shape[0] and 0 <= x0 < x.shape[1]
                total += (x[y, x0] if inside else fill) * (1 - abs(py - y)) * (1 - abs(px - x0))
        found[place] = total
    return found


def test_an_affine_map_is_rotation_scale_shift_and_fill() -> None:
    class Fixed:
        def uniform(self, low: float, high: float, size: Any = None) -> Any:
            return np.array([0.1, -0.05, 0.0]) if size else high

        def random(self) -> float:
            return 0.0

    x = np.random.default_rng(0).random((1, 1, 10, 14)).astype(np.float32)
    apply, _ = Affine(0.1, (0.8, 1.25), 20, True, fill=0.7).draw(1, Fixed())  # type: ignore[arg-type]
    angle, centre = np.deg2rad(20), np.array([4.5, 6.5])
    grid = np.array(np.mgrid[:10, :14], float) - centre[:, None, None]
    grid /= 1.25
    grid[1] *= -1
    turned = np.einsum("ij,jyx->iyx", [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], grid)
    turned += (centre + np.array([1.0, -0.7]))[:, None, None]
    np.testing.assert_allclose(apply(x)[0, 0], direct(x[0, 0], turned, 0.7), atol=1e-5)


def test_nothing_to_do_is_the_identity() -> None:
    x = np.random.default_rng(0).random((2, 3, 8, 9)).astype(np.float32)
    apply, _ = Affine().draw(2, np.random.default_rng(0))
    np.testing.assert_array_equal(apply(x), x)


def test_each_picture_has_a_draw_of_its_own() -> None:
    x = np.repeat(np.random.default_rng(0).random((1, 1, 8, 8)), 2, axis=0).astype(np.float32)
    apply, _ = Affine(shift=0.3).draw(2, np.random.default_rng(0))
    assert not np.array_equal(*apply(x))


@pytest.mark.parametrize("wrong", [{"scale": (0.0, 1.0)}, {"scale": (1.2, 0.8)}, {"shift": -1.0}])
def test_impossible_maps_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        Affine(**wrong)
