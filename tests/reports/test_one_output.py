"""A classifier with a single output: its logit, and the sign of it.

Reported of jacobgil/pytorch-grad-cam (issues 325, 428), sicara/tf-explain (issue 73), Project-MONAI/MONAI (issue 5530)
and itdxer/neupy (issue 246): an index out of range, or the map of the other class.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxlrp
from support.numpy_nets import check, model, near, node, relu


@pytest.mark.parametrize("head", [[], [node("Sigmoid", "z", "y")]])
def test_one_logit(head: list[onnx.NodeProto]) -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(4, 6)), rng.normal(size=(6, 1))
    last = "z" if head else "y"
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", last), *head]
    proto = model(nodes, (4,), {"w": w, "v": v})
    x = rng.normal(size=(6, 4))
    logits = (relu(x @ w) @ v)[:, 0]
    assert (logits > 0).any()
    assert (logits < 0).any()
    check(proto, lambda one: relu(one @ w) @ v, x)
    made = onnxlrp.load(proto).explain(x, method="epsilon")
    near(made.logit, logits)
    near(made.relevance.sum(axis=1), logits, 1e-3)
