"""An LSTM as every exporter writes it: its scores and gradient are those of numpy, and relevance adds up to the score.

Reported of shap/shap (issues 930, 2173, 3949) and meta-pytorch/captum (issue 143): zeros, or sums that
do not fit.
"""

from __future__ import annotations

import numpy as np
import onnx

import onnxlrp
from support.numpy_nets import model, near, node


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_an_lstm() -> None:
    rng = np.random.default_rng(0)
    length, width, hidden = 4, 2, 3
    w, r, v = rng.normal(size=(1, 12, width)), rng.normal(size=(1, 12, hidden)), rng.normal(size=(hidden, 2))
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        onnx.helper.make_node("LSTM", ["t", "w", "r"], ["", "h"], hidden_size=hidden, name="lstm"),
        node("Squeeze", "h zero", "s"), node("MatMul", "s v", "y"),
    ]  # fmt: skip
    proto = model(nodes, (length, width), {"w": w, "r": r, "v": v, "zero": np.array([0])})

    def f(x: np.ndarray) -> np.ndarray:
        h = c = np.zeros(hidden)
        for one in x:
            i, o, g, n = np.split(w[0] @ one + r[0] @ h, 4)  # input, output, forget, cell
            c = sigmoid(g) * c + sigmoid(i) * np.tanh(n)
            h = sigmoid(o) * np.tanh(c)
        return h @ v

    x = rng.normal(size=(2, length, width)).astype(np.float32)
    loaded = onnxlrp.load(proto, engine="reference")
    slope = loaded.explain(x, target=1, method="gradient").relevance
    step = rng.normal(size=x.shape)
    moved = [np.array([f(one) for one in x + sign * 1e-5 * step])[:, 1] for sign in (1, -1)]
    near((slope * step).sum(axis=(1, 2)), (moved[0] - moved[1]) / 2e-5, 1e-5)
    heat = loaded.explain(x, target=1, method="epsilon")
    near(heat.relevance.sum(axis=(1, 2)), [f(one)[1] for one in x], 1e-3)  # there are no biases
    made = loaded.explain(x, target=1, method="occlusion", window=1, stride=1, baseline="zero", score="logit")
    near(made.output, [f(one) for one in x])
    assert made.relevance.shape == x.shape
    assert np.abs(made.relevance).max() > 0
