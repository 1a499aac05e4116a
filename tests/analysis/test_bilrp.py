"""BiLRP: against matrices that numpy computes of a linear model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import OnnxLrpError, UnsupportedError, UsageError
from support.arrays import Array
from support.paths import ROOT
from support.small_nets import Net

SAMPLES = ROOT / "models" / "samples"


def linear(path: Path) -> tuple[onnxlrp.Model, Array]:
    """An embedding of five values of pictures of 6 x 8, and its matrix [5, 3, 6, 8]."""
    n = Net(3, 6, 8, seed=3)
    weights = n.rng.normal(size=(144, 5)).astype(np.float32)
    file = n.model(n.op("MatMul", n.op("Flatten", "x"), weights))
    path.write_bytes(file.SerializeToString())
    prep = {"scale": "1/255", "mean": "0.5,0.5,0.5", "std": "0.3,0.2,0.25", "size": "6x8", "resize": "stretch"}
    return onnxlrp.load(path, engine="reference", prep=prep), weights.T.reshape(5, 3, 6, 8)


def pictures(folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(5)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(folder / f"{name}.png")
    return folder / "a.png", folder / "b.png"


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_pairs_share_the_similarity_of_a_linear_model(kind: str, tmp_path: Path) -> None:
    model, w = linear(tmp_path / "model.onnx")
    paths = pictures(tmp_path)
    x, y = (model.read(path).values[0].astype(np.float64) for path in paths)
    z, other = (np.einsum("mchw,chw->m", w, one) for one in (x, y))
    # z·z' = Σ_ij x_i x'_j Σ_m w_mi w_mj, summed over channels and over cells of 2 x 2 values.
    full = np.einsum("mchw,chw,mdij,dij->hwij", w, x, w, y)
    cells = full.reshape(3, 2, 4, 2, 3, 2, 4, 2).sum(axis=(1, 3, 5, 7)).reshape(12, 12)
    norm = np.linalg.norm(z) * np.linalg.norm(other) if kind == "cosine" else 1.0
    found = model.bilrp(*paths, "epsilon", similarity=kind, grid=4, epsilon=1e-12)
    assert found.grids == ((3, 4), (3, 4))
    np.testing.assert_allclose(found.relevance, cells / norm, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.similarity, z @ other / norm, rtol=1e-4)
    np.testing.assert_allclose(found.relevance.sum(), found.similarity, rtol=1e-3)
    (a, b, value), *_ = found.strongest(3)
    place = np.unravel_index(np.abs(cells).argmax(), (3, 4, 3, 4))
    assert (*a, *b) == place
    np.testing.assert_allclose(value, (cells / norm).reshape(3, 4, 3, 4)[place], rtol=1e-3)


def test_random_sums_come_near(tmp_path: Path) -> None:
    model, _ = linear(tmp_path / "model.onnx")
    paths = pictures(tmp_path)
    exact = model.bilrp(*paths, "epsilon", similarity="dot", grid=4)
    mean = np.mean(
        [model.bilrp(*paths, "epsilon", similarity="dot", grid=4, projections=4, seed=n).relevance for n in range(60)],
        axis=0,
    )
    assert np.corrcoef(mean.ravel(), exact.relevance.ravel())[0, 1] > 0.9


def test_files(tmp_path: Path) -> None:
    model, _ = linear(tmp_path / "model.onnx")
    found = model.bilrp(*pictures(tmp_path), "epsilon", grid=4)
    assert Image.open(found.save(tmp_path / "lines.png")).size == found.figure().size
    assert np.load(found.save(tmp_path / "lines.npz"))["relevance"].shape == (12, 12)
    data = json.loads(found.save(tmp_path / "lines.json", count=5).read_text())
    assert len(data["pairs"]) == 5
    assert data["names"] == ["a", "b"]
    with pytest.raises(UsageError, match="no such kind"):
        found.save(tmp_path / "lines.gif")


def test_what_is_refused(tmp_path: Path) -> None:
    model, _ = linear(tmp_path / "model.onnx")
    a, b = pictures(tmp_path)
    with pytest.raises(UsageError, match="gives gradients"):
        model.bilrp(a, b, "gradient")
    with pytest.raises(OnnxLrpError, match="one by one"):
        model.bilrp([a, a], b, "epsilon")
    with pytest.raises(UsageError):
        model.bilrp(a, b, "occlusion")
    with pytest.raises(UsageError, match="positions is not for it"):
        model.bilrp(a, b, "epsilon", positions=True)
    x = model.read(a).values[0]
    for pair, said in (
        ((x, x), "the first .* and the second .* are"),
        ((a, x), "and the second .* is"),
        ((x, b), "and the first .* is"),
    ):
        with pytest.raises(UnsupportedError, match=f"{said} no picture file") as caught:
            model.bilrp(pair[0], pair[1], "epsilon")
        assert "similar_to" in caught.value.fix


def test_of_what_is_no_image_there_are_no_lines() -> None:
    n = Net(6, seed=1)
    model = onnxlrp.load(n.model(n.op("MatMul", "x", n.rng.normal(size=(6, 5)).astype(np.float32))))
    x = np.ones((1, 6), np.float32)
    with pytest.raises(UnsupportedError, match="the model reads vector") as caught:
        model.bilrp(x, x, "epsilon")
    assert caught.value.command.startswith("leave out --lines")
    assert model.explain(x, similar_to=x, method="epsilon").relevance.shape == x.shape


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", str(ROOT / "models" / "shapes.onnx"), str(SAMPLES / "scene_star.png"), "--output", "pool"]
    words += ["-o", str(tmp_path / "out.png"), "--lines", str(tmp_path / "lines.png")]
    assert main(words) == 2
    assert "--similar-to" in capsys.readouterr().err
    assert main([*words, "--similar-to", str(SAMPLES / "marked_star.png")]) == 0
    assert (tmp_path / "lines.png").exists()
