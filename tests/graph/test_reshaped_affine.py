"""What is affine per channel is folded into a linear layer through a reshape, where its channels allow it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.graph.canonical.merge_affine import _before_reshape
from support.small_nets import Net

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.normal(size=(5, 12)), RNG.normal(size=12)
HEAD = RNG.normal(size=(12, 3))
X = RNG.normal(size=(4, 5)).astype(np.float32)


def statistics(channels: int) -> list[Any]:
    rng = np.random.default_rng(1)
    return [*rng.normal(size=(3, channels)), rng.uniform(0.5, 2, channels)]


def network(shape: list[int], channels: int) -> Any:
    n = Net(5)
    y = n.op("Add", n.op("MatMul", "x", WEIGHT), BIAS)
    y = n.op("BatchNormalization", n.op("Reshape", y, np.array(shape)), *statistics(channels))
    return n.model(n.op("MatMul", n.relu(n.op("Reshape", y, np.array([-1, 12]))), HEAD))


@pytest.mark.parametrize(
    ("shape", "channels"),
    [([-1, 3, 2, 2], 3), ([-1, 12, 1], 12), ([-1, 6, 2], 6)],
)
def test_a_normalisation_behind_a_reshape(shape: list[int], channels: int) -> None:
    """By hand: scale and shift of a feature are those of the channel that it comes to lie in; R = w⊙x of each layer."""
    model = onnxlrp.load(network(shape, channels))
    assert "BatchNormalization" not in [layer.op for layer in model.graph.layers]
    gain, shift, mean, variance = (np.repeat(v, 12 // channels) for v in statistics(channels))
    factor = gain / np.sqrt(variance + 1e-5)
    weight, bias = WEIGHT * factor, (BIAS - mean) * factor + shift
    found = model.explain(X, target=1, method="epsilon")
    z = X @ weight + bias
    active = np.maximum(z, 0)
    np.testing.assert_allclose(found.output, active @ HEAD, rtol=1e-4, atol=1e-4)
    share = active * HEAD[:, 1] / np.where(z == 0, 1, z)
    np.testing.assert_allclose(found.relevance, X * (share @ weight.T), rtol=1e-3, atol=1e-4)


def test_a_feature_that_lies_in_several_channels_is_not_folded() -> None:
    """Two samples side by side: the first feature of each is in another channel."""
    graph: Any = SimpleNamespace(shapes={"y": (2, 4), "r": (1, 8)})
    one = np.ones(8)
    assert _before_reshape(graph, (np.arange(8.0), one), "y", "r", False) is None
    same = _before_reshape(graph, (np.tile(np.arange(4.0), 2), one), "y", "r", False)
    assert same is not None
    assert same[0].tolist() == [0, 1, 2, 3]
