"""Token ids that a file declares as floats (tf2onnx): they look up a table through a Cast and bounds.

Oracles: embeddings by numpy, slopes in closed form, for the model is linear in its embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.errors import InputError, UsageError

RNG = np.random.default_rng(5)
TABLE, KINDS, WEIGHTS = (RNG.normal(size=shape).astype(np.float32) for shape in ((9, 4), (3, 4), (6, 4)))
NUMBER = onnx.TensorProto.FLOAT


def two_tables(bounds: bool, ids: int = NUMBER) -> onnx.ModelProto:
    """Words and their kinds, both [N, 6], embedded and weighted by place, summed; negative ids from the end."""
    constants = {
        "words": TABLE, "types": KINDS, "w": WEIGHTS.reshape(24, 1), "flat": np.array([-1, 24]),
        "zero": np.array(0, np.int32), "rows": np.array(9, np.int32),
    }  # fmt: skip
    nodes = [helper.make_node("Cast", [n], [f"{n}/i"], to=onnx.TensorProto.INT32) for n in ("x", "kind")]
    if bounds:
        nodes += [
            helper.make_node("Less", ["x/i", "zero"], ["below"]),
            helper.make_node("Cast", ["below"], ["m"], to=onnx.TensorProto.INT32),
            helper.make_node("Not", ["below"], ["above"]),
            helper.make_node("Cast", ["above"], ["k"], to=onnx.TensorProto.INT32),
            helper.make_node("Add", ["x/i", "rows"], ["turned"]),
            helper.make_node("Mul", ["turned", "m"], ["a"]),
            helper.make_node("Mul", ["x/i", "k"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["rows/of"]),
        ]
    nodes += [
        helper.make_node("Gather", ["words", "rows/of" if bounds else "x/i"], ["e"]),
        helper.make_node("Gather", ["types", "kind/i"], ["t"]),
        helper.make_node("Add", ["e", "t"], ["s"]),
        helper.make_node("Reshape", ["s", "flat"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, ids, ["N", 6]) for n in ("x", "kind")]
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    out = [helper.make_tensor_value_info("y", 1, None)]
    return helper.make_model(
        helper.make_graph(nodes, "g", ends, out, weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


X, KIND = np.array([[1, 5, 8, 0, 3, 3]]), np.array([[0, 1, 2, 2, 1, 0]])
GIVEN: Any = {"kind": KIND[0].astype(np.float32)}


@pytest.mark.parametrize("bounds", [False, True])
def test_embeddings_are_explained(bounds: bool) -> None:
    model = onnxlrp.load(two_tables(bounds))
    assert model.kind.name == "tokens"
    e = model.explain(X.astype(np.float32), method="gradient_x_input", given=GIVEN)
    np.testing.assert_allclose(e.output, [[((TABLE[X[0]] + KINDS[KIND[0]]) * WEIGHTS).sum()]], rtol=1e-5)
    np.testing.assert_allclose(e.relevance, [(TABLE[X[0]] * WEIGHTS).sum(axis=1)], rtol=1e-5)


def test_the_slope_of_an_id_is_refused() -> None:
    with pytest.raises(UsageError, match="token ids have none"):
        onnxlrp.load(two_tables(True)).explain(X.astype(np.float32), method="gradient", given=GIVEN)


@pytest.mark.parametrize("ids", [NUMBER, onnx.TensorProto.INT64])
def test_an_id_of_another_input_that_its_table_lacks_is_named(ids: int) -> None:
    dtype: Any = np.float32 if ids == NUMBER else np.int64
    wrong = np.array([0, 1, 2, 7, 1, 0], dtype)
    with pytest.raises(InputError, match=r'token id 7 of input "kind": the table .* has 3 rows'):
        onnxlrp.load(two_tables(False, ids)).explain(X.astype(dtype), given={"kind": wrong})
