"""Parameterisations: gradients by finite differences, and what each keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis.ascent import colours, spectra
from onnxlrp.analysis.ascent.parameterisations import Fourier, Maco, Pixels

SHAPES = [(3, 6, 7), (1, 8, 8), (2, 11), (1, 12), (4, 3, 4, 5), (13, 5, 6)]


def statistics(shape: Any) -> Any:
    rng = np.random.default_rng(5)
    pictures = np.clip(0.5 + 0.2 * rng.standard_normal((6, *shape)).cumsum(axis=-1), 0, 1)
    return colours.estimated(pictures, "test")


def made(kind: str, shape: Any) -> Any:
    if kind == "pixels":
        return Pixels(shape)
    return (Fourier if kind == "fourier" else Maco)(shape, statistics(shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["pixels", "fourier", "maco"])
def test_gradients_are_finite_differences(kind: str, shape: Any) -> None:
    rng = np.random.default_rng(2)
    parameterisation = made(kind, shape)
    p = parameterisation.start(2, rng)
    assert p.dtype == np.float32
    s, direction = rng.standard_normal((2, *shape)), rng.standard_normal(p.shape)
    x, pullback = parameterisation.image(p)
    assert x.shape == (2, *shape)
    assert x.dtype == np.float32
    slope = (pullback(s.astype(np.float32)) * direction).sum()
    step = 1e-2 / (1 if kind != "fourier" else max(1.0, float(parameterisation.scale.max())))
    ends = [parameterisation.image((p + sign * step * direction).astype(np.float32))[0] for sign in (1, -1)]
    found = ((ends[0].astype(float) - ends[1]) * s).sum() / (2 * step)
    assert slope == pytest.approx(found, rel=5e-3, abs=5e-3)


@pytest.mark.parametrize("space", [(8, 9), (7, 6), (11,), (12,), (3, 4, 5)], ids=str)
def test_the_transform_is_unitary_with_an_exact_adjoint(space: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, *space)).astype(np.float32)
    c = spectra.from_pairs(rng.standard_normal((*spectra.forward(x).shape, 2)))
    np.testing.assert_allclose(spectra.inverse(spectra.forward(x), space), x, atol=1e-5)
    left = (spectra.inverse(c, space) * x).sum()
    right = (spectra.pairs(c) * spectra.pairs(spectra.inverse_adjoint(x))).sum()
    assert left == pytest.approx(right, rel=1e-4)
    full = np.fft.fftn(x, axes=range(2, x.ndim), norm="ortho")
    np.testing.assert_allclose(spectra.forward(x), full[..., : space[-1] // 2 + 1], atol=1e-5)


def test_a_start_from_a_picture_is_the_picture() -> None:
    picture = np.random.default_rng(0).uniform(0.1, 0.9, (3, 8, 8)).astype(np.float32)
    fourier = Fourier((3, 8, 8), statistics((3, 8, 8)), noise=0.0, first=picture)
    x, _ = fourier.image(fourier.start(2, np.random.default_rng(0)))
    np.testing.assert_allclose(x, np.stack([picture] * 2), atol=1e-4)


def test_maco_keeps_the_magnitudes_of_the_pictures() -> None:
    found = statistics((1, 8, 8))
    maco = Maco((1, 8, 8), found)
    x, _ = maco.image(maco.start(1, np.random.default_rng(0)))
    u = found.whitened(colours.logit(x[0]))[None] / (4 * found.contrast)
    inner = np.s_[..., :, 1:-1]  # the first and the last column of a half spectrum are mirrored in themselves
    np.testing.assert_allclose(np.abs(spectra.forward(u))[0][inner], found.magnitude[inner], rtol=1e-3, atol=1e-4)


def test_estimated_colours_have_the_covariance_of_the_pictures() -> None:
    rng = np.random.default_rng(0)
    root = np.array([[0.1, 0, 0], [0.08, 0.02, 0], [0.05, 0, 0.04]])
    pictures = 0.5 + np.einsum("ij,njyx->niyx", root, rng.standard_normal((20, 3, 16, 16)))
    found = colours.estimated(pictures, "test")
    covariance = (found.mixing @ found.mixing.T) * found.contrast**2
    np.testing.assert_allclose(covariance, root @ root.T, atol=5e-4)


def test_bgr_turns_the_constants() -> None:
    rgb, bgr = (colours.assumed(3, (8, 8), order) for order in ("RGB", "BGR"))
    np.testing.assert_allclose((rgb.mixing @ rgb.mixing.T)[::-1, ::-1], bgr.mixing @ bgr.mixing.T, atol=1e-12)
    np.testing.assert_array_equal(rgb.mean[::-1], bgr.mean)
    assert "independent" in colours.assumed(13, (8, 8)).source
