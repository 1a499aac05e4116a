"""Tiny ONNX models for the tests of the loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

node = helper.make_node
IR_OF_OPSET = {6: 3, 7: 3, 8: 3, 9: 4, 10: 5, 11: 6, 12: 7}


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: Sequence[int | str] = ("N", 4, 8, 8),
    opset: int = 17,
    outputs: Sequence[str] = ("y",),
    kind: int = onnx.TensorProto.FLOAT,
    listed: bool = False,
) -> onnx.ModelProto:
    """Nodes from the input "x" to the outputs; `listed` names the initialisers as inputs too, as IR 3 does."""
    constants = constants or {}
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    if listed:
        inputs = [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in constants.items()
        ] + inputs
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_OF_OPSET.get(opset, 8)
    )


def norm(channels: int, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """The parameters of a BatchNormalization: s, b, m, v."""
    return {
        "s": values(channels, seed=seed),
        "b": values(channels, seed=seed + 1),
        "m": values(channels, seed=seed + 2),
        "v": np.abs(values(channels, seed=seed + 3)) + 0.1,
    }


def batch_norm(source: str, target: str, **attributes: Any) -> onnx.NodeProto:
    return node("BatchNormalization", [source, "s", "b", "m", "v"], [target], name="bn", **attributes)


def conv(source: str, target: str, *operands: str, name: str = "conv", **attributes: Any) -> onnx.NodeProto:
    return node("Conv", [source, *operands], [target], name=name, **attributes)
