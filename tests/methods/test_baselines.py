"""Baselines of every kind of input: computed by hand for a function whose features have different units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import InputError, UsageError
from onnxlrp.methods.registry import METHODS
from support.input_models import convolution, weight

X = np.array([[0.5, 1000.0, -20.0]], np.float32)
GAINS = np.array([1.0, 0.001, 0.1])


@pytest.fixture(scope="module")
def table() -> Any:
    """f(x) = [tanh(x₀) + 0.001 x₁ + 0.1 x₂, 0]."""
    node = helper.make_node
    nodes = [
        node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        node("Tanh", ["a"], ["t"]),
        node("Concat", ["t", "b"], ["c"], axis=1),
        node("MatMul", ["c", "w"], ["y"]),
    ]
    nodes[0] = node("Split", ["x", "sizes"], ["a", "b"], axis=1)
    weights = {"w": np.stack([GAINS, np.zeros(3)], axis=1).astype(np.float32), "sizes": np.array([1, 2])}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return onnxlrp.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def parts(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What each feature adds to f."""
    return np.concatenate([np.tanh(x[:, :1]), x[:, 1:] * GAINS[1:]], axis=1)


HIDING: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 400},
    "kernel_shap": {},
    "occlusion": {"score": "logit"},
}


@pytest.mark.parametrize("method", HIDING)
def test_features_are_hidden_by_zero_or_by_a_sample(table: Any, method: str, tmp_path: Path) -> None:
    """f is a sum over features: every one of these methods gives f_j(x) − f_j(x₀)."""
    plain = table.explain(X, 0, method, **HIDING[method])
    np.testing.assert_allclose(plain.relevance, parts(X), rtol=2e-3, atol=1e-4)
    assert plain.notes["baseline"] == "zero"
    rows = np.array([[0.1, 900.0, 5.0], [0.3, 700.0, -5.0]], np.float32)
    np.save(tmp_path / "train.npy", rows)
    for asked, name in ((rows, "the given array"), (str(tmp_path / "train.npy"), "train.npy")):
        found = table.explain(X, 0, method, baseline=asked, **HIDING[method])
        expected = parts(X) - parts(rows.mean(axis=0, keepdims=True))
        np.testing.assert_allclose(found.relevance, expected, rtol=2e-3, atol=1e-4)
        assert found.notes["baseline"] == f"mean of 2 samples of {name}"


def test_every_method_that_hides_names_its_baseline(table: Any) -> None:
    for name, entry in METHODS.items():
        if "baseline" in entry.options:
            assert table.explain(X, 0, name).notes["baseline"] == "zero", name
    assert table.explain(X, 0, "expected_gradients").notes["baselines"] == "zero"


def test_the_columns_of_a_background_are_found_by_their_names(table: Any, tmp_path: Path) -> None:
    rows, order = np.random.default_rng(0).normal(size=(9, 3)), [2, 0, 1]
    names = np.array(["age", "height", "weight"])
    for file, header, values in (("x", names, X), ("same", names, rows), ("turned", names[order], rows[:, order])):
        np.savetxt(tmp_path / f"{file}.csv", values, delimiter=",", header=",".join(header), comments="")
    found = {
        name: table.explain(
            str(tmp_path / "x.csv"), 0, "expected_gradients", background=str(tmp_path / f"{name}.csv"), samples=2000
        )
        for name in ("same", "turned")
    }
    np.testing.assert_array_equal(found["turned"].relevance, found["same"].relevance)
    expected = np.mean([parts(X) - parts(row[None]) for row in rows], axis=0)
    np.testing.assert_allclose(found["turned"].relevance, expected, rtol=0.05, atol=0.02)
    (tmp_path / "other.csv").write_text("age,height,salary\n1,2,3\n")
    with pytest.raises(InputError, match=r"no column for weight.* knows no salary.*the samples' header"):
        table.explain(str(tmp_path / "x.csv"), 0, "expected_gradients", background=str(tmp_path / "other.csv"))


def test_expected_gradients_take_the_samples_of_a_background(table: Any) -> None:
    rows = np.array([[0.1, 900.0, 5.0], [0.3, 700.0, -5.0], [-0.2, 0.0, 1.0]], np.float32)
    found = table.explain(X, 0, "expected_gradients", background=rows, samples=3000)
    expected = np.mean([parts(X) - parts(row[None]) for row in rows], axis=0)
    np.testing.assert_allclose(found.relevance, expected, rtol=0.02, atol=0.01)
    assert found.notes["baselines"] == "3 samples of the given array"


def test_noise_of_a_vector_is_absolute_or_by_feature(table: Any) -> None:
    """The mean of 1 − tanh² under normal noise, by quadrature."""
    rows = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 1.0]], np.float32)  # deviation 1 of the first feature
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    for options, sigma, said in (
        ({}, 0.15, "0.15, absolute"),
        ({"background": rows, "sigma": 0.5}, 0.5, "0.5 of each feature's deviation in the given array"),
    ):
        found = table.explain(X, 0, "smooth_grad", samples=4000, **options)
        slope = (1 - np.tanh(X[0, 0] + sigma * points) ** 2) @ weights / weights.sum()
        np.testing.assert_allclose(found.relevance[0], [slope, *GAINS[1:]], rtol=0.03)
        assert found.notes["noise"] == said


def test_a_signal_is_hidden_by_zero_and_its_noise_follows_each_channel() -> None:
    model = onnxlrp.load(convolution((4, 30), (5,)))
    x = weight(1, 4, 30) + 5
    assert model.explain(x, 0, "integrated_gradients").notes["baseline"] == "zero"
    assert model.explain(x, 0, "smooth_grad", samples=2).notes["noise"] == "0.15 of the range of each channel"


def test_pictures_keep_black() -> None:
    model = onnxlrp.load(convolution((3, 9, 9), (3, 3)))
    x = weight(1, 3, 9, 9)
    named = model.explain(x, 0, "integrated_gradients", baseline="black")
    found = model.explain(x, 0, "integrated_gradients")
    np.testing.assert_array_equal(found.relevance, named.relevance)
    assert found.notes["baseline"] == "black (by the sample's own range)"


def test_what_is_no_baseline(table: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros(4))
    with pytest.raises(InputError, match="shape"):
        table.explain(X, 0, "occlusion", baseline=str(tmp_path / "wide.npy"))
    with pytest.raises(UsageError, match="no baseline"):
        table.explain(X, 0, "occlusion", baseline="median")
    with pytest.raises(UsageError, match="several"):
        table.explain(X, 0, "smooth_grad", background=X)
