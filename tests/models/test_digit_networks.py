"""The networks that draw digits: the decoder's pictures are near the originals, the generator's are digits."""

from __future__ import annotations

import json
from typing import Any

import handwriting
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from support.paths import MODELS

RESULTS = json.loads((MODELS / "results.json").read_text())


def run(name: str, output: str, x: Any) -> Any:
    """A tensor of a shipped model, by onnxruntime alone."""
    model = onnx.load(MODELS / name)
    if output not in {one.name for one in model.graph.output}:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: x})[0]


def result(layer: str) -> str:
    """The tensor that a module of digits.onnx computes."""
    nodes = onnx.load(MODELS / "digits.onnx").graph.node
    return next(n.output[0] for n in nodes if any(f"'{layer}'" in one.value for one in n.metadata_props))


@pytest.fixture(scope="module")
def held_out() -> Any:
    pictures, labels = handwriting.digits(held_out=True)
    return (pictures[:, None] / 255).astype(np.float32), labels


@pytest.mark.parametrize("kind", ["decoder", "generator"])
def test_pictures_are_nearer_than_the_mean_picture(kind: str, held_out: Any) -> None:
    x, labels = held_out
    facts = RESULTS[f"digits_{kind}"]
    stated = json.loads(onnx.load(MODELS / f"digits_{kind}.onnx").metadata_props[0].value)
    assert stated == {"layer": facts["layer"], "pixels": [0, 1]}
    drawn = run(f"digits_{kind}.onnx", "image", run("digits.onnx", result(facts["layer"]), x))
    error = np.square(drawn - x).mean()
    assert error == pytest.approx(facts["mean_squared_error"], rel=1e-2)
    assert error < facts["mean_squared_error_of_the_mean_picture"] / 3
    called = run("digits.onnx", "logits", drawn).argmax(axis=1)
    assert (called == labels).mean() > 0.95


def test_the_digits_are_those_that_the_samples_come_from(held_out: Any) -> None:
    from PIL import Image

    x, labels = held_out
    trained, _ = handwriting.digits(held_out=False)
    assert (len(x), len(trained)) == (360, 1437)
    for digit in range(10):
        sample = np.asarray(Image.open(MODELS / "samples" / f"digit_{digit}.png"), np.float32) / 255
        same = np.abs(x[:, 0] - sample).max(axis=(1, 2)) < 1e-6
        assert labels[same].tolist() == [digit]


def test_readme_quotes_the_measured_numbers() -> None:
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    decoder, generator = RESULTS["digits_decoder"], RESULTS["digits_generator"]
    assert f"error is {decoder['mean_squared_error']:.4f}" in text
    assert f"is {decoder['mean_squared_error_of_the_mean_picture']:.4f}." in text
    assert f"{100 * generator['class_kept']:.1f} % keep their class" in text
