"""Signs, logits, first layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxlrp.graph.facts import first_layers, nonnegative, relevant
from onnxlrp.graph.load import load
from onnxlrp.graph.outputs.heads import head
from onnxlrp.graph.writing.to_onnx import emit
from support.tiny_models import conv, model, node, values

W = {"w": values(4, 4, 3, 3)}
PAD = {"pads": [1, 1, 1, 1]}


def facts(nodes: Any, constants: Any = None, **options: Any) -> Any:
    return load(model(nodes, constants or {}, **options))


NONNEGATIVE = {
    "relu, pool, concat, reshape": (
        [node("Relu", ["x"], ["r"]), node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2]),
         node("Concat", ["p", "p"], ["c"], axis=1), node("Flatten", ["c"], ["y"])], {}, {"r", "p", "c", "y"}),
    "a sum of relus": (
        [node("Relu", ["x"], ["r"]), node("Sigmoid", ["x"], ["s"]), node("Add", ["r", "s"], ["y"])], {},
        {"r", "s", "y"}),
    "a difference is unknown": ([node("Relu", ["x"], ["r"]), node("Sub", ["r", "r"], ["y"])], {}, {"r"}),
    "a residual is unknown": ([node("Relu", ["x"], ["r"]), node("Add", ["r", "x"], ["y"])], {}, {"r"}),
    "clip from 0": (
        [node("Clip", ["x", "lo", "hi"], ["y"])], {"lo": np.zeros((), "f"), "hi": np.full((), 6, "f")}, {"y"}),
    "clip from -1": ([node("Clip", ["x", "lo"], ["y"])], {"lo": np.full((), -1, "f")}, set()),
    "a square": ([node("Mul", ["x", "x"], ["y"])], {}, {"y"}),
    "times a negative constant": (
        [node("Relu", ["x"], ["r"]), node("Mul", ["r", "k"], ["y"])], {"k": np.full((), -1, "f")}, {"r"}),
    "gelu of a relu": ([node("Relu", ["x"], ["r"]), node("Gelu", ["r"], ["y"])], {}, {"r", "y"}),
    "a p-norm": ([node("LpPool", ["x"], ["y"], kernel_shape=[2, 2], p=3)], {}, {"y"}),
    "a threshold below zero is unknown": (
        [node("ThresholdedRelu", ["x"], ["t"], alpha=-0.5), node("ThresholdedRelu", ["x"], ["s"], alpha=0.5),
         node("Sub", ["s", "t"], ["y"])], {}, {"s"}),
    "a convolution is unknown": ([node("Relu", ["x"], ["r"]), conv("r", "y", "w")], W, {"r"}),
    "padding with -1": (
        [node("Relu", ["x"], ["r"]), node("Pad", ["r", "p", "v"], ["y"])],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": np.full((), -1, "f")}, {"r"}),
}  # fmt: skip


@pytest.mark.parametrize("case", NONNEGATIVE)
def test_nonnegative(case: str) -> None:
    nodes, constants, expected = NONNEGATIVE[case]
    graph = facts(nodes, constants, opset=20)
    assert nonnegative(graph) == expected
    import onnxruntime as ort

    session = ort.InferenceSession(emit(graph, outputs=sorted(expected)).SerializeToString())
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"x": values(4, 4, 8, 8, seed=7)}), strict=True))
    assert all((found[name] >= 0).all() for name in expected)


def test_bytes_are_nonnegative() -> None:
    source = model([node("Cast", ["x"], ["f"], to=1), node("Sub", ["f", "m"], ["y"])], {"m": np.array([3], "f")})
    source.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    assert nonnegative(load(source)) == {"x", "f"}


FLAT = [node("GlobalAveragePool", ["x"], ["g"]), node("Flatten", ["g"], ["f"]), node("Gemm", ["f", "w"], ["logits"])]
HEADS = {
    "none": [node("Relu", ["logits"], ["y"])],
    "softmax": [node("Softmax", ["logits"], ["y"])],
    "log softmax": [node("LogSoftmax", ["logits"], ["y"])],
    "sigmoid": [node("Sigmoid", ["logits"], ["y"])],
    "argmax of softmax": [node("Softmax", ["logits"], ["p"]), node("ArgMax", ["p"], ["a"], axis=1),
                          node("Cast", ["a"], ["y"], to=1)],
    "softmax, reshaped": [node("Softmax", ["logits"], ["p"]), node("Reshape", ["p", "s"], ["y"])],
    "reshaped alone": [node("Reshape", ["logits", "s"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("case", HEADS)
def test_head(case: str) -> None:
    graph = facts([*FLAT, *HEADS[case]], {"w": values(4, 5), "s": np.array([0, 5, 1])})
    assert head(graph, "y") == ("y" if case in ("none", "reshaped alone") else "logits")


def test_first_layers_behind_preprocessing() -> None:
    nodes = [
        node("Sub", ["x", "m"], ["a"]), node("Transpose", ["a"], ["b"], perm=[0, 1, 3, 2]),
        conv("b", "c", "w", name="left", **PAD),
        conv("a", "d", "w", name="right", **PAD), node("Add", ["c", "d"], ["e"]), conv("e", "y", "w", name="deep"),
    ]  # fmt: skip
    graph = facts(nodes, W | {"m": values(4, 1, 1)})
    assert first_layers(graph, "x") == {"left", "right"}


def test_relevant_layers_lie_between_input_and_target() -> None:
    nodes = [
        node("Relu", ["x"], ["r"], name="on"), conv("r", "y", "w", name="also"),
        node("Sigmoid", ["r"], ["z"], name="beside"), node("Tanh", ["y"], ["t"], name="behind"),
    ]  # fmt: skip
    graph = facts(nodes, W, outputs=["y", "z", "t"])
    assert relevant(graph, ["x"], "y") == {"on", "also"}
    assert relevant(graph, ["x"], "t") == {"on", "also", "behind"}
