"""Two nonlinear layers that follow each other: pooling and ReLU, ReLU6 and ReLU, ReLU twice.

Reported of meta-pytorch/captum (issue 1104): attributions of stale gradients; ReLU6 before ReLU as in
edvardHua/PoseEstimationForMobile (issue 12).
"""

from __future__ import annotations

import numpy as np
import pytest

from support.numpy_nets import check, conv, model, node, relu, windows

ROWS = {
    "pool, relu": ([node("MaxPool", "a", "p", kernel_shape=[2, 2]), node("Relu", "p", "z")],
                   lambda a: relu(windows(a, 2, 1, np.max))),
    "relu6, relu": ([node("Clip", "a low high", "p"), node("Relu", "p", "z")], lambda a: np.clip(a, 0, 6)),
    "relu, relu": ([node("Relu", "a", "p"), node("Relu", "p", "z")], relu),
    "pool, pool": ([node("MaxPool", "a", "p", kernel_shape=[2, 2]), node("AveragePool", "p", "z", kernel_shape=[2, 2])],
                   lambda a: windows(windows(a, 2, 1, np.max), 2, 1, np.mean)),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_row(name: str) -> None:
    rng = np.random.default_rng(3)
    inner, g = ROWS[name]
    w, b = 3 * rng.normal(size=(2, 1, 2, 2)), rng.normal(size=2)
    x = rng.normal(size=(2, 1, 5, 5))
    size = g(conv(x[0], w, b)).size
    v = rng.normal(size=(size, 2))
    nodes = [node("Conv", "x w b", "a"), *inner, node("Flatten", "z", "f"), node("MatMul", "f v", "y")]
    constants = {"w": w, "b": b, "v": v, "low": np.float32(0), "high": np.float32(6)}
    ceiling = "relu6" in name  # where it is reached, LRP passes relevance on and the gradient does not
    check(model(nodes, (1, 5, 5), constants), lambda one: g(conv(one, w, b)).reshape(-1) @ v, x, linear=not ceiling)
