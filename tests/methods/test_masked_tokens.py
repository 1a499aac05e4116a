"""Tokens that a mask hides get no relevance, whichever number masks them; rows that see nothing are named."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError

TOKENS, WIDTH, SEEN = 5, 4, 3
LOWEST = float(np.finfo(np.float32).min)


def network(number: float, spelling: str = "Add", blind: bool = False, guarded: bool = False) -> onnx.ModelProto:
    """One layer of attention, read at its first token.

    Args:
        number: What masks a token.
        spelling: "Add" adds the mask to the scores, "Where" puts the number in their place.
        blind: The last token sees nothing.
        guarded: Weights that are NaN become 0, as torch writes attention.
    """
    rng = np.random.default_rng(0)
    hidden = np.zeros((TOKENS, TOKENS), bool)
    hidden[:, SEEN:] = True
    hidden[-1] |= blind
    held: dict[str, Any] = {name: rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) for name in "qkv"}
    held |= {"head": rng.normal(size=(WIDTH, 3)).astype(np.float32), "zero": np.array(0)}
    held |= {"mask": np.where(hidden, number, 0).astype(np.float32), "seen": ~hidden}
    held |= {"low": np.array(number, np.float32), "none": np.array(0, np.float32)}
    nodes: list[Any] = []

    def op(name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(name, list(inputs), [f"t{len(nodes)}"], name=f"n{len(nodes)}", **attributes))
        return str(nodes[-1].output[0])

    q, k, v = (op("MatMul", "x", name) for name in "qkv")
    scores = op("MatMul", q, op("Transpose", k, perm=[0, 2, 1]))
    scores = op("Where", "seen", scores, "low") if spelling == "Where" else op("Add", scores, "mask")
    weights = op("Softmax", scores, axis=-1)
    if guarded:
        weights = op("Where", op("IsNaN", weights), "none", weights)
    y = op("Gather", op("Add", op("MatMul", weights, v), "x"), "zero", axis=1)
    nodes.append(helper.make_node("Gemm", [y, "head"], ["y"], name="head"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "masked",
        [value("x", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


X = np.random.default_rng(1).normal(size=(2, TOKENS, WIDTH)).astype(np.float32)
CASES = {
    "added": (-np.inf, "Add", False, False),
    "in their place": (-np.inf, "Where", False, False),
    "lowest": (LOWEST, "Add", True, False),
    "guarded": (-np.inf, "Where", True, True),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["attention", "attnlrp", "gradient", "integrated_gradients", "chefer", "occlusion"])
def test_hidden_tokens_have_none(case: str, method: str) -> None:
    found = onnxlrp.load(network(*CASES[case])).explain(X, 1, method=method).relevance
    tokens = np.abs(found).reshape(2, TOKENS, -1).max(axis=2)
    assert np.isfinite(found).all()
    assert (tokens[:, SEEN:] < 1e-12).all()
    assert (tokens[:, :SEEN] > 0).any()


@pytest.mark.parametrize("spelling", ["Add", "Where"])
def test_a_row_that_sees_nothing_is_named(spelling: str) -> None:
    """-inf alone is a mask; a softmax of nothing but -inf is NaN, in the file as in the explanation."""
    with pytest.raises(UnsupportedError, match="2 rows of the Softmax node n6 are NaN") as caught:
        onnxlrp.load(network(-np.inf, spelling, blind=True)).explain(X, 1, method="attention")
    assert "torch.finfo(dtype).min" in str(caught.value)
