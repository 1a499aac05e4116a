"""One convolution, one pooling and one activation that stand at two places of the network.

Reported of meta-pytorch/captum (issues 857, 200, 578, 934) and shap/shap (issue 3725): an error, or relevance of the
wrong call. In a file, weights that are shared are read twice.
"""

from __future__ import annotations

import numpy as np
import pytest

from support.numpy_nets import check, conv, model, node, relu, windows


@pytest.mark.slow
def test_shared_weights_and_pooling() -> None:
    rng = np.random.default_rng(0)
    w, b, v = rng.normal(size=(2, 2, 3, 3)) / 3, rng.normal(size=2), rng.normal(size=(8, 3))
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", "x w b", "a", pads=[1] * 4), node("Relu", "a", "c"), node("MaxPool", "c", "d", **pool),
        node("Conv", "d w b", "e", pads=[1] * 4), node("Relu", "e", "f"), node("MaxPool", "f", "g", **pool),
        node("Flatten", "g", "h"), node("MatMul", "h v", "y"),
    ]  # fmt: skip

    def f(x: np.ndarray) -> np.ndarray:
        for _ in range(2):
            x = windows(relu(conv(x, w, b, pad=1)), 2, 2, np.max)
        return x.reshape(-1) @ v

    check(model(nodes, (2, 8, 8), {"w": w, "b": b, "v": v}), f, rng.normal(size=(2, 2, 8, 8)), target=1)


def test_one_dense_layer_three_times() -> None:
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(5, 5)), rng.normal(size=5)
    names = ["x", "a", "b1", "c", "d", "e", "f"]
    nodes = []
    for i in range(0, 6, 2):
        nodes += [node("Gemm", f"{names[i]} w b", names[i + 1]), node("Relu", names[i + 1], names[i + 2])]
    nodes += [node("MatMul", "f w", "y")]

    def f(x: np.ndarray) -> np.ndarray:
        for _ in range(3):
            x = relu(x @ w + b)
        return x @ w

    check(model(nodes, (5,), {"w": w, "b": b}), f, rng.normal(size=(3, 5)), target=2)
