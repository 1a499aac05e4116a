"""ReLU6 beyond its ceiling: no gradient there, and the neurons below it keep theirs.

Reported of tensorflow/lucid (issue 68, pull request 56: optimisation that never starts) and onnx/keras-onnx (pull
request 326); exporters write Clip, Min and Max, or Relu and Clip.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import check, model, near, node

SPELLINGS = {
    "clip": [node("Clip", "a zero six", "r")],
    "relu, clip": [node("Relu", "a", "p"), node("Clip", "p zero six", "r")],
    "max, min": [node("Max", "a zero", "p"), node("Min", "p six", "r")],
    "min, max": [node("Min", "a six", "p"), node("Max", "zero p", "r")],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling(name: str) -> None:
    rng = np.random.default_rng(0)
    w, v = 5 * rng.normal(size=(4, 12)), rng.normal(size=(12, 3))
    nodes = [node("MatMul", "x w", "a"), *SPELLINGS[name], node("MatMul", "r v", "y")]
    proto = model(nodes, (4,), {"w": w, "v": v, "zero": np.float32(0), "six": np.float32(6)})
    x = rng.normal(size=(4, 4))
    assert (x @ w > 6).any()
    check(proto, lambda one: np.clip(one @ w, 0, 6) @ v, x, target=1, linear=False)
    for engine in ("ort", "reference"):
        made = onnxlrp.load(proto, engine=engine).explain(x, target=1, method="epsilon", epsilon=1e-9)
        near(made.relevance.sum(axis=1), made.logit, 1e-3)
