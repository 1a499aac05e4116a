"""Guided backpropagation masks by the signs of input and gradient, at every ReLU; deconvnet by that of the gradient.

Reported of utkuozbulak/pytorch-cnn-visualizations (issues 36, 59, 46: the classifier's ReLUs were left out),
kazuto1011/grad-cam-pytorch (issue 34) and jacobgil/pytorch-grad-cam (issue 58).
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import model, near, node, relu


@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_by_the_papers(method: str) -> None:
    rng = np.random.default_rng(0)
    w, u, v = (rng.normal(size=shape) for shape in ((5, 7), (7, 6), (6, 3)))
    nodes = [
        node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b u", "c"), node("Relu", "c", "d"),
        node("MatMul", "d v", "y"),
    ]  # fmt: skip
    x = rng.normal(size=(4, 5))
    a = x @ w
    c = relu(a) @ u
    r = np.broadcast_to(v[:, 1], c.shape)
    for z, weight in ((c, u), (a, w)):
        r = relu(r) * ((z > 0) if method == "guided_backprop" else 1) @ weight.T
    for engine in ("ort", "reference"):
        loaded = onnxlrp.load(model(nodes, (5,), {"w": w, "u": u, "v": v}), engine=engine)
        near(loaded.explain(x, target=1, method=method).relevance, r)
