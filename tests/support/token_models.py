"""Models of token ids whose relevance is known: sums of weighted embeddings, as exporters look them up."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS, WIDTH, LENGTH, CLASSES = 7, 3, 5, 2
CHAINS = ("plain", "int32", "from the end", "offset", "bounded", "reshaped", "float")


class Bag:
    """Logits Σ_t p_t · e(id_t) W + b, of a table e with seven rows.

    Args:
        chain: What stands between the ids and the table, of CHAINS.
        more: Names of further inputs [N, L], whose sum is multiplied in as a mask.
        tokens: The words, for the metadata.
        length: The length; None leaves it open.
    """

    def __init__(
        self, chain: str = "plain", more: tuple[str, ...] = (), tokens: str = "", length: int | None = LENGTH
    ) -> None:
        rng = np.random.default_rng(3)
        self.table = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
        self.places = rng.normal(size=(1, LENGTH, 1)).astype(np.float32) if length else np.ones((1, 1, 1), np.float32)
        self.weights = rng.normal(size=(WIDTH, CLASSES)).astype(np.float32)
        self.bias = rng.normal(size=CLASSES).astype(np.float32)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        kind = {"int32": TensorProto.INT32, "float": TensorProto.FLOAT}.get(chain, TensorProto.INT64)
        size = LENGTH if length else "L"
        shape = ["N", size]
        ids, table = self._chain(chain), self.table
        if chain == "offset":
            table = np.concatenate([np.full((2, WIDTH), 9, np.float32), table])
        rows = self._op("Gather", self._constant("table", table), ids)
        if chain == "reshaped":
            rows = self._op("Squeeze", rows, self._constant("one", np.array([1])))
        rows = self._op("Mul", rows, self._constant("places", self.places))
        for name in more:
            mask = self._op("Cast", name, to=TensorProto.FLOAT)
            rows = self._op("Mul", rows, self._op("Unsqueeze", mask, self._constant("last", np.array([2]))))
        pooled = self._op("ReduceSum", rows, self._constant("along", np.array([1])), keepdims=0)
        self._nodes.append(
            helper.make_node(
                "Gemm",
                [pooled, self._constant("w", self.weights), self._constant("b", self.bias)],
                ["logits"],
                name="head",
            )
        )
        inputs = [helper.make_tensor_value_info("ids", kind, shape)]
        inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in more]
        graph = helper.make_graph(
            self._nodes,
            "bag",
            inputs,
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        self.proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if tokens:
            onnx.helper.set_model_props(self.proto, {"onnxlrp.tokens": tokens})
        self.file: bytes = self.proto.SerializeToString()

    def shares(self, ids: Any, target: int) -> Any:
        """The part of the logit that is each token's, [N, L]."""
        return (self.table[ids] @ self.weights[:, target]) * self.places[..., 0]

    def slopes(self, target: int) -> Any:
        """The gradient of the logit by the embeddings, [L, width]."""
        return self.places[0] * self.weights[:, target]

    def _chain(self, chain: str) -> str:
        if chain == "from the end":
            below = self._op("Less", "ids", self._constant("none", np.array(0)))
            up = self._op("Add", "ids", self._constant("rows", np.array(ROWS)))
            return self._op("Where", below, up, "ids")
        if chain == "offset":
            return self._op("Add", "ids", self._constant("two", np.array(2)))
        if chain == "bounded":
            low, high = self._constant("low", np.array(0)), self._constant("high", np.array(ROWS - 1))
            return self._op("Clip", "ids", low, high)
        if chain == "reshaped":
            return self._op("Unsqueeze", "ids", self._constant("first", np.array([1])))
        return self._op("Cast", "ids", to=TensorProto.INT64) if chain in ("int32", "float") else "ids"

    def _op(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def _constant(self, name: str, array: Any) -> str:
        self._constants[name] = np.asarray(array)
        return name
