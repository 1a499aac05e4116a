"""Sums of a branch and its input: relevance is shared by what each gave.

Reported of meta-pytorch/captum (issue 546), albermax/innvestigate (issue 192), moboehle/Pytorch-LRP (issue 5) and
fhvilshoj/TorchLRP (issue 4): skip connections were not supported, or the order of the branches mattered.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import check, conv, model, near, node, relu


@pytest.mark.parametrize("order", [("a", "x"), ("x", "a")])
def test_a_skip_connection(order: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    w, u, v = rng.normal(size=(2, 2, 3, 3)), rng.normal(size=(2, 2, 1, 1)), rng.normal(size=(32, 3))
    nodes = [
        node("Conv", "x w", "b", pads=[1] * 4), node("Relu", "b", "c"), node("Conv", "c u", "a"),
        node("Add", " ".join(order), "d"), node("Relu", "d", "e"), node("Flatten", "e", "f"),
        node("MatMul", "f v", "y"),
    ]  # fmt: skip

    def f(x: np.ndarray) -> np.ndarray:
        return relu(conv(relu(conv(x, w, pad=1)), u) + x).reshape(-1) @ v

    check(model(nodes, (2, 4, 4), {"w": w, "u": u, "v": v}), f, rng.normal(size=(2, 2, 4, 4)), target=2)


def test_two_branches_and_their_biases() -> None:
    """ΣR is the logit less what the biases give: f(x) = w(x) + c, in numbers that can be counted by hand."""
    nodes = [node("Gemm", "x w c", "a"), node("Relu", "a", "b"), node("Add", "b x", "d"), node("MatMul", "d v", "y")]
    constants = {"w": np.eye(2), "c": np.array([1.0, -1.0]), "v": np.array([[1.0, 0.0], [2.0, 1.0]])}
    made = onnxlrp.load(model(nodes, (2,), constants)).explain(np.array([[3.0, 4.0]]), target=0, method="epsilon")
    near(made.logit, [3 + 1 + 3 + 2 * (4 - 1 + 4)])
    near(made.relevance, [[3 + 3, 2 * (4 + 4)]])  # the biases' 1 and 2 · −1 are absorbed
