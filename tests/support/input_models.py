"""Small models of inputs of every kind: dense layers and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)


def model(shape: tuple[int, ...], nodes: list[Any], **weights: np.ndarray[Any, Any]) -> Any:
    """A model of input x [N, *shape] and output y [N, 2]."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def weight(*shape: int) -> np.ndarray[Any, Any]:
    """Random numbers, the same for one shape whatever test came before."""
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


def dense(shape: tuple[int, ...]) -> Any:
    """All values flattened, two dense layers."""
    node = helper.make_node
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    return model(shape, nodes, w=weight(int(np.prod(shape)), 6), v=weight(6, 2))


def convolution(shape: tuple[int, ...], kernel: tuple[int, ...]) -> Any:
    """A convolution, its mean, a dense layer."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "k"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "v"], ["y"]),
    ]
    return model(shape, nodes, k=weight(5, shape[0], *kernel), v=weight(5, 2))


def in_other_units(file: Any, units: np.ndarray[Any, Any]) -> Any:
    """The same function of a model's input in other units: y(x) of x · units is what it was of x.

    Args:
        file: A model of this module.
        units: Broadcasts over a sample [*shape]; powers of two, so that nothing is rounded.
    """
    made = type(file)()
    made.CopyFrom(file)
    for node in made.graph.node:
        node.input[:] = ["own" if name == "x" else name for name in node.input]
    made.graph.node.insert(0, helper.make_node("Mul", ["x", "inverse"], ["own"]))
    made.graph.initializer.append(numpy_helper.from_array((1 / units).astype(np.float32), "inverse"))
    return made


def embedding(length: int = 4, words: int = 9) -> Any:
    """The mean of the embeddings of token ids [N, length], a dense layer."""
    node = helper.make_node
    nodes = [
        node("Gather", ["t", "x"], ["e"]),
        node("ReduceMean", ["e"], ["m"], axes=[1], keepdims=0),
        node("MatMul", ["m", "v"], ["y"]),
    ]
    made = model((length,), nodes, t=weight(words, 6), v=weight(6, 2))
    made.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return made
