"""A Softmax or Sigmoid that says 1.0000000 has no gradient; the logit before it has.

Reported of keras-team/keras (issue 5881), albermax/innvestigate (issue 168) and meta-pytorch/captum (issues 617, 1060,
1225): maps of zeros.
"""

from __future__ import annotations

import numpy as np
import pytest

from support.numpy_nets import check, model, node, relu


@pytest.mark.parametrize("head", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_the_logit_is_explained(head: str) -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(4, 6)), 400 * rng.normal(size=(6, 3))
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", "z"), node(head, "z", "y")]
    x = rng.normal(size=(3, 4))
    check(model(nodes, (4,), {"w": w, "v": v}), lambda one: relu(one @ w) @ v, x, target=2)
