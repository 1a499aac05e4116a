"""Which factor of a product is the activation of a gated linear unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from support.tiny_models import model, node, values

ACTIVATIONS = {
    "SiLU": [node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["g"])],
    "Gelu": [node("Gelu", ["a"], ["g"])],
    "ReLU": [node("Relu", ["a"], ["g"])],
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("order", [("g", "b"), ("b", "g")])
def test_the_other_factor_takes_all(activation: str, order: tuple[str, str]) -> None:
    """Under `attention` the relevance is that of the layer behind the other factor; under `attnlrp` half of it."""
    found, x, b, w = shares([*ACTIVATIONS[activation], node("Mul", list(order), ["h"], name="glu")])
    values_of = np.einsum("ni,ik,nk->ni", x, w, b["h"] / b["b"])
    np.testing.assert_allclose(found["attention"], values_of, rtol=1e-3, atol=1e-5)
    assert np.abs(found["attnlrp"] - values_of).max() > 1e-2
    np.testing.assert_allclose(found["attnlrp"].sum(axis=1), b["h"].sum(axis=1), rtol=1e-3)


def test_two_activations_are_alike() -> None:
    nodes = [node("Relu", ["a"], ["g"]), node("Relu", ["b"], ["r"]), node("Mul", ["g", "r"], ["h"], name="glu")]
    found, _, _, _ = shares(nodes)
    np.testing.assert_allclose(found["attention"], found["attnlrp"], rtol=1e-3, atol=1e-5)


def shares(nodes: list[Any]) -> tuple[dict[str, Any], Any, dict[str, Any], Any]:
    """Relevance of Σ h by method, the sample, tensors of its forward pass, and the weights of the factor b."""
    import onnxruntime as ort

    held = {"u": values(3, 4, seed=1), "w": values(3, 4, seed=2), "one": np.ones((4, 1), np.float32)}
    before = [node("MatMul", ["x", "u"], ["a"]), node("MatMul", ["x", "w"], ["b"])]
    proto = model([*before, *nodes, node("MatMul", ["h", "one"], ["y"])], held, shape=("N", 3), opset=20)
    x = values(2, 3, seed=3)
    seen = model([*before, *nodes], held, shape=("N", 3), opset=20, outputs=("b", "h"))
    b, h = ort.InferenceSession(seen.SerializeToString()).run(None, {"x": x})
    loaded = onnxlrp.load(proto.SerializeToString(), engine="reference")
    options: dict[str, dict[str, Any]] = {"attention": {"gamma": 0.0, "first_gamma": 0.0}, "attnlrp": {}}
    found = {m: loaded.explain(x, 0, method=m, task="regression", **o).relevance for m, o in options.items()}
    return found, x.astype(float), {"b": b.astype(float), "h": h.astype(float)}, held["w"].astype(float)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("mask", ["comparison", "indices"])
def test_a_factor_of_steps_is_a_gate(mask: str, turned: bool) -> None:
    """Where b > 0, or where the largest of it is not the first, x passes: the product is x of those, linear in it."""
    steps = {
        "comparison": [node("Greater", ["b", "zero"], ["t"]), node("Cast", ["t"], ["m"], to=1)],
        "indices": [node("ArgMax", ["b"], ["t"], axis=1, keepdims=1), node("Cast", ["t"], ["s"], to=1),
                    node("Mul", ["s", "two"], ["m"])],
    }[mask]  # fmt: skip
    held = {"u": values(3, 4, seed=1), "w": values(3, 4, seed=2), "one": np.ones((4, 1), np.float32)}
    held |= {"zero": np.zeros(1, np.float32), "two": np.full(1, 2, np.float32)}
    nodes = [node("MatMul", ["x", "u"], ["a"]), node("MatMul", ["x", "w"], ["b"]), *steps]
    nodes += [node("Mul", ["m", "a"] if turned else ["a", "m"], ["h"]), node("MatMul", ["h", "one"], ["y"])]
    loaded = onnxlrp.load(model(nodes, held, shape=("N", 3), opset=20).SerializeToString(), engine="reference")
    x = values(4, 3, seed=3)
    b = x @ held["w"]
    m = (b > 0) * 1.0 if mask == "comparison" else 2.0 * b.argmax(axis=1, keepdims=True) * np.ones((1, 4))
    assert 0 < np.count_nonzero(m) < m.size
    found = loaded.explain(x, 0, method="epsilon", epsilon=1e-12, task="regression").relevance
    np.testing.assert_allclose(found, x * (m @ held["u"].T), rtol=1e-4, atol=1e-5)
