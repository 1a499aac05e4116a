"""`onnxlrp explain`: engines, rules, options of methods, preprocessing and the look of the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from support.command_line import DIGITS, SCENE, SEVEN, SHAPES, written


def test_the_look_of_the_picture(run: Any) -> None:
    run(0, "explain", DIGITS, SEVEN, "-o", "a.png")
    run(0, "explain", DIGITS, SEVEN, "-o", "b.png", "--cmap", "coldnhot", "--clip", "90", "--space", "original")
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


def test_engines_and_providers_agree(run: Any) -> None:
    run(0, "explain", DIGITS, SEVEN, "-o", "ort.npz", "--engine", "ort", "--providers", "cpu")
    run(0, "explain", DIGITS, SEVEN, "-o", "reference.npz", "--engine", "reference")
    fast, exact = (np.load(f"{name}.npz")["relevance"] for name in ("ort", "reference"))
    np.testing.assert_allclose(fast, exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.slow
def test_rules_and_options_of_methods_change_the_map(run: Any) -> None:
    def relevance(*words: object) -> np.ndarray[Any, Any]:
        run(0, "explain", DIGITS, SEVEN, "-o", "map.npz", "-q", *words)
        return np.asarray(np.load("map.npz")["relevance"])

    plain = relevance("-m", "epsilon_gamma_box")
    by_words = [
        relevance("-m", "epsilon_gamma_box", "--gamma", "0.5"),
        relevance("-m", "epsilon_gamma_box", "--epsilon", "0.1", "--stabilizer", "1e-5"),
        relevance("-m", "epsilon_gamma_box", "--low", "-1", "--high", "2"),
        relevance("-m", "epsilon_gamma_box", "--rule", "first=flat", "--rule", "Conv=gamma(gamma=0.1)"),
    ]
    for changed in by_words:
        assert np.abs(changed - plain).max() > 1e-4 * np.abs(plain).max()
    np.testing.assert_array_equal(relevance("-m", "epsilon_gamma_box", "--low", "0", "--high=1"), plain)
    np.testing.assert_array_equal(
        relevance("--rule", "Gemm=epsilon", "--rule", "convolution=zplus(1e-6)", "-m", "epsilon_plus"),
        relevance("-m", "epsilon_plus"),
    )


@pytest.mark.slow
@pytest.mark.skipif(not SCENE, reason="models/samples holds no scene")
def test_bounds_for_each_channel(run: Any) -> None:
    run(0, "explain", SHAPES, SCENE, "-m", "epsilon_gamma_box", "-o", "stated.npz")
    run(0, "explain", SHAPES, SCENE, "-m", "epsilon_gamma_box", "-o", "typed.npz", "--low", "-2,-2,-2", "--high", "2")
    run(0, "explain", SHAPES, SCENE, "-m", "epsilon_gamma_box", "-o", "other.npz", "--low", "-2,-2,-3", "--high", "2")
    stated, typed, other = (np.load(f"{name}.npz")["relevance"] for name in ("stated", "typed", "other"))
    np.testing.assert_array_equal(stated, typed)
    assert np.abs(stated - other).max() > 1e-6


def test_preprocessing_by_flags(run: Any) -> None:
    Path("names.txt").write_text("\n".join(f"digit {i}" for i in range(10)))
    out, err = run(
        0, "explain", DIGITS, SEVEN, "--mean", "0.5", "--std", "0.25", "--scale", "1/255", "--color", "grey",
        "--layout", "NCHW", "--size", "28x28", "--resize", "shorter-crop", "--crop", "1", "--interpolation", "box",
        "--labels", "names.txt", "-t", "digit 7", "--strict",
    )  # fmt: skip
    (note,) = err.splitlines()
    assert "model metadata states mean 0, std 1, resize stretch" in note
    assert "flags states mean 0.5, std 0.25, resize shorter-crop" in note
    assert "−0.5 ÷0.25" in out
    assert "[flags" in out
    assert written() == ["digit_7.7.png", "names.txt"]
    out, _ = run(0, "explain", DIGITS, SEVEN, "--prep", "-1-1")
    assert "−0.5 ÷0.5" in out


def test_assumed_preprocessing_is_said_and_stamped(run: Any, refused: Any) -> None:
    bare = onnx.load(DIGITS)
    del bare.metadata_props[:]
    onnx.save(bare, "bare.onnx")
    out, err = run(0, "explain", "bare.onnx", SEVEN, "--format", "png,json")
    assert "[ASSUMED]" in out
    assert "ASSUMED" in err
    assert "--prep 0-1" in err
    with Image.open("digit_7.7.png") as picture:
        assert "mean" in picture.text["ASSUMED"]  # type: ignore[attr-defined]
    assert "mean" in json.loads(Path("digit_7.7.json").read_text())["ASSUMED"]
    _, fix = refused(4, "explain", "bare.onnx", SEVEN, "--strict")
    assert fix == "if it is right, add --prep 0-1 --resize shorter-crop --crop 1"
    Path("bare.prep.toml").write_text('preset = "0-1"\nresize = "shorter-crop"\n')
    out, err = run(0, "explain", "bare.onnx", SEVEN, "--strict")
    assert "[bare.prep.toml]" in out
    assert not err
