"""The default method: by the kind of input, in one place, and said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.methods.default import CANDIDATES, DEFAULTS, HIDING, TREES
from onnxlrp.methods.registry import METHODS
from support.input_models import RNG, convolution, dense
from support.small_nets import Net


def neighbours(beside: bool) -> Any:
    """The mean of the three nearest of ten rows, as skl2onnx writes it but for its Scan; or with a linear part."""
    n = Net(4)
    rows = n.rng.normal(size=(10, 4))
    difference = n.op("Sub", n.op("Unsqueeze", "x", np.array([1])), rows[None])
    squares = n.op("ReduceSum", n.op("Mul", difference, difference), np.array([2]), keepdims=0)
    _, places = n.ops("TopK", squares, np.array([3]), results=2, axis=1, largest=0)
    voted = n.op("ReduceMean", n.op("Gather", n.rng.normal(size=10), places), np.array([1]), keepdims=1)
    return n.model(n.op("Add", voted, n.op("MatMul", "x", n.rng.normal(size=(4, 1)))) if beside else voted)


def process() -> Any:
    """A Gaussian process, as skl2onnx writes it but for its Scan: Σ α exp(−½ ‖x − c‖²)."""
    n = Net(4)
    difference = n.op("Sub", n.op("Unsqueeze", "x", np.array([1])), n.rng.normal(size=(10, 4))[None])
    squares = n.op("ReduceSumSquare", difference, np.array([2]), keepdims=0)
    kernels = n.op("Exp", n.op("Mul", squares, np.array(-0.5)))
    return n.model(n.op("MatMul", kernels, n.rng.normal(size=(10, 1))))


CASES = [
    (process(), "epsilon", "a vector"),
    (dense((7,)), "epsilon", "a vector"),
    (dense((12, 50)), "epsilon", "one row of values"),
    (dense((1, 9, 9)), "epsilon", "one row of values"),
    (convolution((3, 9, 9), (3, 3)), "epsilon_plus_flat", "an image"),
    (convolution((3, 9, 9), (9, 9)), "epsilon", "one row of values"),
    (convolution((2, 6, 6, 6), (3, 3, 3)), "epsilon_plus_flat", "a volume"),
    (convolution((4, 30), (5,)), "gamma", "a signal of 4 channels"),
    (convolution((1, 30), (5,)), "epsilon_plus_flat", "a signal of one channel"),
]


def transformer(image: bool) -> Any:
    """Attention over the patches of an image, or over tokens."""
    n = Net(3, 4, 4) if image else Net(16, 4)
    x = "x"
    if image:
        x = n.op("Reshape", n.op("Conv", x, n.rng.normal(size=(4, 3, 1, 1))), np.array([0, 4, 16]))
        x = n.op("Transpose", x, perm=[0, 2, 1])
    scores = n.op("MatMul", x, n.op("Transpose", x, perm=[0, 2, 1]))
    y = n.op("ReduceMean", n.op("MatMul", n.op("Softmax", scores, axis=-1), x), np.array([1]), keepdims=0)
    return n.model(n.op("MatMul", y, n.rng.normal(size=(4, 3))))


@pytest.mark.parametrize("image", [True, False])
def test_a_model_with_attention_has_its_own_default(image: bool) -> None:
    loaded = onnxlrp.load(transformer(image))
    assert (loaded.default_method.name, loaded.default_method.reason) == ("attention", "a model with attention")
    x = np.random.default_rng(5).normal(size=(2, *loaded.graph.inputs[0].shape)).astype(np.float32)
    found = loaded.explain(x, ledger=True)
    assert found.method == "attention"
    assert max(row.error for row in found.ledger) < 1e-4


@pytest.mark.parametrize(("file", "name", "reason"), CASES)
def test_default_follows_the_input(file: Any, name: str, reason: str) -> None:
    loaded = onnxlrp.load(file)
    assert loaded.default_method.name == name
    assert reason in loaded.default_method.reason
    x = RNG.normal(size=(2, *loaded.graph.inputs[0].shape)).astype(np.float32)
    chosen, named = loaded.explain(x), loaded.explain(x, method=name)
    assert chosen.method == name
    np.testing.assert_array_equal(chosen.relevance, named.relevance)
    assert chosen.provenance["default_for"] == loaded.default_method.reason
    assert "default_for" not in named.provenance


def test_features_of_a_table_keep_their_own_values() -> None:
    """By the epsilon rule, written out: R = x ⊙ W (g ⊙ v) with LRP-0 through a ReLU network without biases."""
    file = dense((7,))
    w, v = (numpy_helper.to_array(t) for t in file.graph.initializer)
    x = np.random.default_rng(7).normal(size=(3, 7)).astype(np.float32)
    expected = x * (((x @ w > 0) * v[:, 1]) @ w.T)
    found = onnxlrp.load(file).explain(x, target=1).relevance
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["auto", "gamma_flat_in_channels"])
def test_leads_of_a_signal_keep_their_own_values(method: str) -> None:
    """A lead that is silent gets nothing; with the rule flat in all leads it gets as much as the others."""
    x = RNG.normal(size=(1, 4, 30)).astype(np.float32)
    x[:, 2] = 0
    loaded = onnxlrp.load(convolution((4, 30), (5,)))
    assert np.abs(loaded.explain(x, method=method).relevance[0, 2]).max() == 0
    flat = loaded.explain(x, method="epsilon_plus_flat").relevance[0]
    np.testing.assert_allclose(flat[2], flat[0], rtol=1e-5)


def test_every_default_is_a_composite() -> None:
    assert all(METHODS[name].is_composite for name in CANDIDATES if name != TREES)
    assert set(DEFAULTS) == {"image", "signal", "volume", "tokens", "vector"}


def test_votes_of_neighbours_have_a_method_that_hides() -> None:
    """No rule passes a selection; where other layers give relevance too, the default is that of the kind."""
    loaded = onnxlrp.load(neighbours(False))
    assert (loaded.default_method.name, loaded.graph.opaque) == (HIDING, None)
    assert "nearest neighbours" in loaded.default_method.reason
    x = RNG.normal(size=(1, 4)).astype(np.float32)
    found = loaded.explain(x)
    scores = [loaded.outputs(v.astype(np.float32))["scores"].item() for v in (x, np.zeros_like(x))]
    np.testing.assert_allclose(found.total, scores[0] - scores[1], atol=1e-5)
    assert onnxlrp.load(neighbours(True)).default_method.name == "epsilon"


def test_steps_alone_are_explained_by_coalitions() -> None:
    """Two thresholds and a vote, which nothing has a slope in: Shapley values of two features by hand."""
    n = Net(2)
    votes = n.op("Cast", n.op("Greater", "x", np.array(0.5)), to=1)
    loaded = onnxlrp.load(n.model(n.op("MatMul", votes, np.array([[2.0, 0.0], [-3.0, 1.0]]))))
    assert loaded.default_method.name == HIDING
    assert "steps alone" in loaded.default_method.reason
    found = loaded.explain(np.array([[1.0, 2.0], [0.0, 1.0]], np.float32), target=0)
    np.testing.assert_allclose(found.relevance, [[2.0, -3.0], [0.0, -3.0]], atol=1e-5)
