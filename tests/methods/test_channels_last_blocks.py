"""Blocks that take the channels of a picture last, as ConvNeXt's do, get the maps of their convolutions of width 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.graph.load import load
from onnxlrp.graph.recognition.pointwise import is_pointwise

WIDTH, SIZE = 4, 6


def network(last: bool, response: bool = False, windows: bool = False, pooled: bool = False) -> onnx.ModelProto:
    """A stem, a block of a depthwise convolution, a normalisation and two maps over channels, a mean and a head.

    Args:
        last: The maps over channels are products with a matrix on channels that stand last, else convolutions.
        response: Global response normalisation between them (ConvNeXt V2).
        windows: In the place of the depthwise convolution values go to other places by a Reshape and a Transpose.
        pooled: The block has no other branch, and ends in the mean over places without a Transpose.
    """
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    held: dict[str, Any] = {}

    def weight(*shape: int, scale: float = 1.0) -> str:
        held[f"w{len(held)}"] = (rng.normal(size=shape) * scale).astype(np.float32)
        return f"w{len(held) - 1}"

    def op(name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(name, list(inputs), [f"t{len(nodes)}"], name=f"n{len(nodes)}", **attributes))
        return str(nodes[-1].output[0])

    def ints(*values: int) -> str:
        held[f"w{len(held)}"] = np.array(values, np.int64)
        return f"w{len(held) - 1}"

    def over_channels(t: str, inner: int, outer: int) -> str:
        matrix, bias = rng.normal(size=(inner, outer)).astype(np.float32), rng.normal(size=outer).astype(np.float32)
        name = f"m{len(held)}"
        if last:
            held[name], held[f"{name}.b"] = matrix, bias
            return op("Add", op("MatMul", t, name), f"{name}.b")
        held[name], held[f"{name}.b"] = np.ascontiguousarray(matrix.T)[:, :, None, None], bias
        return op("Conv", t, name, f"{name}.b")

    def turned(t: str, to_last: bool) -> str:
        return op("Transpose", t, perm=[0, 2, 3, 1] if to_last else [0, 3, 1, 2])

    x = op("Conv", "x", weight(WIDTH, 3, 2, 2), strides=[2, 2])
    t = turned(x, True)
    if windows:
        t = op("Transpose", op("Reshape", t, ints(0, 9, 1, WIDTH)), perm=[0, 2, 1, 3])
        t = op("Reshape", t, ints(0, 3, 3, WIDTH))
    else:
        t = turned(op("Conv", x, weight(WIDTH, 1, 3, 3), pads=[1, 1, 1, 1], group=WIDTH), True)
    t = op("LayerNormalization", t, weight(WIDTH), weight(WIDTH))
    t = over_channels(t if last else turned(t, False), WIDTH, 2 * WIDTH)
    t = op("Relu", t)
    if response:
        axes, channels = ([1, 2], -1) if last else ([2, 3], 1)
        norms = op("ReduceL2", t, ints(*axes), keepdims=1)
        ratio = op("Div", norms, op("ReduceMean", norms, ints(channels), keepdims=1))
        t = op("Add", t, op("Mul", t, ratio))
    t = over_channels(t, 2 * WIDTH, WIDTH)
    if pooled:
        t = op("ReduceMean", t, ints(*([1, 2] if last else [2, 3])), keepdims=0)
    else:
        t = op("Add", x, turned(t, False) if last else t)
        t = op("ReduceMean", t, ints(2, 3), keepdims=0)
    nodes.append(helper.make_node("Gemm", [t, weight(WIDTH, 3)], ["y"], name="head"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "block",
        [value("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [value("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v, name) for name, v in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", [{}, {"response": True}, {"pooled": True}])
@pytest.mark.parametrize("method", ["epsilon_plus_flat", "epsilon_alpha2_beta1", "attention", "gradient"])
def test_equal_functions_have_equal_maps(kind: dict[str, bool], method: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)
    last, first = (onnxlrp.load(network(turned, **kind)).explain(x, 1, method=method) for turned in (True, False))
    np.testing.assert_allclose(last.output, first.output, rtol=1e-4, atol=1e-5)
    error = np.abs(last.relevance - first.relevance).max() / np.abs(first.relevance).max()
    assert error < 1e-4


def test_what_moves_values_is_no_such_block() -> None:
    """Products stay dense where values of one place go to others on the way, as in windows of tokens."""

    def found(**options: bool) -> list[bool]:
        graph = load(network(True, **options))
        return [is_pointwise(graph, layer) for layer in graph.layers if layer.op == "MatMul"]

    assert found() == [True, True]
    assert found(windows=True) == [False, False]
