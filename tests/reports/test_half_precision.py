"""Weights and activations of 16 bits: finite maps, as close to exact ones as 16 bits are.

Reported of meta-pytorch/captum (issue 835) and inseq-team/inseq (issue 268): NaN where single precision has none.
"""

from __future__ import annotations

import numpy as np

import onnxlrp
from support.numpy_nets import model, near, node, relu, slope


def test_a_model_of_float16() -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(6, 8)).astype(np.float16), rng.normal(size=(8, 3)).astype(np.float16)
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", "z"), node("Softmax", "z", "y")]
    x = rng.normal(size=(3, 6)).astype(np.float16)
    proto = model(nodes, (6,), {"w": w, "v": v}, dtype=10)
    wide = [np.asarray(a, np.float64) for a in (w, v)]
    wanted = [slope(lambda p: (relu(p @ wide[0]) @ wide[1])[1], one) for one in x.astype(np.float64)]
    for engine in ("ort", "reference"):
        loaded = onnxlrp.load(proto, engine=engine)
        near(loaded.explain(x, target=1, method="gradient").relevance, wanted, 1e-2)
        found = loaded.explain(np.zeros_like(x), target=1, method="epsilon").relevance
        assert np.isfinite(found).all()
