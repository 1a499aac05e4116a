"""A batch of one that the exporter wrote into Reshape, Expand and Gather, in a file that states any batch.

Reported of microsoft/onnxruntime (issues 10463, 2779), pytorch/pytorch (issues 99613, 43795) and onnx/onnx (issue
5171): only the size of the example runs. Every sample is explained as it is alone.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import UnsupportedError
from support.numpy_nets import model, near, node, relu, slope


@pytest.mark.parametrize("batch", [1, "N"])
def test_one_in_the_target_of_a_reshape(batch: int | str) -> None:
    """A file that states any batch, and runs with one alone, is refused by the node; its scores are its own."""
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(6, 4)), rng.normal(size=(8, 3))
    nodes = [
        node("Reshape", "x two", "a"), node("MatMul", "a w", "b"), node("Relu", "b", "c"),
        node("Reshape", "c flat", "d"), node("MatMul", "d v", "y"),
    ]  # fmt: skip
    constants = {"w": w, "v": v, "two": np.array([1, 2, 6]), "flat": np.array([1, 8])}
    loaded = onnxlrp.load(model(nodes, (3, 4), constants, batch=batch))
    x = rng.normal(size=(3, 3, 4))

    def f(p: np.ndarray) -> np.ndarray:
        return relu(p.reshape(2, 6) @ w).reshape(8) @ v

    if batch == 1:
        wanted = [slope(lambda p: f(p)[1], one) for one in x]
        near(loaded.explain(x, target=1, method="gradient").relevance, wanted)
        return
    with pytest.raises(UnsupportedError, match='Reshape node "a"'):
        loaded.explain(x, target=1, method="gradient")
    near(loaded.explain(x, target=1, method="occlusion").output, [f(one) for one in x])
