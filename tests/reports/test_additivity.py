"""Integrated gradients and Shapley values add up to the difference of the scores, whatever lies between.

Reported of shap/shap (issues 1015, 3612, 3348, 3476, 3918): explanations that do not sum to the model's output,
where an operator was not known.
"""

from __future__ import annotations

import numpy as np

import onnxlrp
from support.numpy_nets import model, near, node, softmax


def test_layers_that_were_not_known() -> None:
    """Softmax inside, a product of two activations, a mean and a maximum over axes."""
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(4, 4)), rng.normal(size=(4, 2))
    nodes = [
        node("MatMul", "x w", "a"), node("Softmax", "a", "p", axis=-1), node("Mul", "p x", "m"),
        node("ReduceMax", "m", "u", axes=[1], keepdims=0), node("ReduceMean", "m", "t", axes=[1], keepdims=0),
        node("Add", "u t", "s"), node("MatMul", "s v", "y"),
    ]  # fmt: skip

    def f(x: np.ndarray) -> np.ndarray:
        m = softmax(x @ w) * x
        return (m.max(axis=0) + m.mean(axis=0)) @ v

    x = rng.normal(size=(3, 5, 4))
    loaded = onnxlrp.load(model(nodes, (5, 4), {"w": w, "v": v}), kind="vector")
    drop = [f(one)[1] - f(np.zeros_like(one))[1] for one in x]
    found = loaded.explain(x, target=1, method="integrated_gradients", steps=600, baseline="zero")
    near(found.relevance.sum(axis=(1, 2)), drop, 1e-2)
    found = loaded.explain(x, target=1, method="kernel_shap", samples=300, baseline="zero", score="logit")
    near(found.relevance.sum(axis=(1, 2)), drop, 1e-4)
