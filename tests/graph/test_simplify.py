"""What conversion to a newer opset must keep: the meaning that an operator had when the model was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import conv, model, node, values


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample_inside_a_model_samples_from_the_origin(mode: str) -> None:
    """The converter renames what Upsample wrote, unless it is an output of the model."""
    scales = np.array([1, 1, 2, 2], "f")
    nodes = [node("Upsample", ["x", "s"], ["u"], mode=mode), node("Relu", ["u"], ["y"])]
    source = model(nodes, {"s": scales}, opset=9)
    graph = load(source)
    assert verify(graph, source) < 1e-5


@pytest.mark.parametrize("opset", [9, 13])
def test_statistics_that_a_batch_norm_gives_to_nobody(opset: int) -> None:
    """Older exports in training mode have them, as BiT's of its weights; onnxruntime does not update them either."""
    outputs = ["normal", "mean", "variance", "saved_mean", "saved_variance"]
    flat = 3 * values(1, 6, 36) + 1
    nodes = [
        node("BatchNormalization", ["flat", "one", "zero", "m", "v"], outputs, epsilon=1e-3, momentum=0.9),
        node("Reshape", ["normal", "shape"], ["w"]),
        conv("x", "c", "w", pads=[1] * 4),
        node("Relu", ["c"], ["y"]),
    ]
    constants = {
        "flat": flat, "one": np.ones(6, "f"), "zero": np.zeros(6, "f"), "m": flat.mean((0, 2)), "v": flat.var((0, 2)),
        "shape": np.array([6, 4, 3, 3]),
    }  # fmt: skip
    source = model(nodes, constants, opset=opset)
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Conv", "Relu"]
    weight = graph.constants[graph.layers[0].inputs[1]]
    np.testing.assert_allclose(weight.mean((1, 2, 3)), 0, atol=1e-6)
    assert verify(graph, source) < 1e-5


OPSETS = range(7, 24)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("listed", [False, True], ids=["initialisers", "listed as inputs"])
def test_a_classifier_of_every_opset(opset: int, listed: bool) -> None:
    """Operators whose attributes became inputs: Clip, Pad, Dropout, Squeeze, ReduceMean; Softmax that flattened."""
    constants = {"w": values(6, 4, 3, 3), "b": values(6), "v": values(6, 1, 3, 3), "fc": values(6, 5), "c": values(5)}
    nodes = [conv("x", "a", "w", "b", name="one", auto_pad="SAME_UPPER")]

    def over(op: Any, source: Any, target: Any, inputs: Any = (), **attributes: Any) -> None:
        """An operator whose attributes are inputs from some opset on: (name, since, value)."""
        names = [source]
        for name, since, value in inputs:
            if opset < since:
                attributes[name] = value.tolist()
            else:
                constants[f"{target}/{name}"] = value
                names.append(f"{target}/{name}")
        nodes.append(node(op, names, [target], **attributes))

    over("Clip", "a", "r", [("min", 11, np.array(0.0, "f")), ("max", 11, np.array(6.0, "f"))])
    over("Pad", "r", "p", [("pads", 11, np.array([0, 0, 1, 1, 0, 0, 1, 1]))])
    nodes.append(conv("p", "d", "v", name="two", group=6))
    over("Dropout", "d", "e", [("ratio", 12, np.array(0.5, "f"))])
    over("ReduceMean", "e", "m", [("axes", 18, np.array([2, 3]))], keepdims=1)
    over("Squeeze", "m", "s", [("axes", 13, np.array([2, 3]))])
    nodes.append(node("Gemm", ["s", "fc", "c"], ["logits"]))
    nodes.append(node("Softmax", ["logits"], ["y"], axis=1))
    source = model(nodes, constants, opset=opset, listed=listed)
    graph = load(source)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    kept = [layer.op for layer in graph.layers if layer.op not in ("ReduceMean", "Squeeze", "Reshape")]
    assert kept == ["Conv", "Clip", "Conv", "Gemm", "Softmax"]
    assert verify(graph, source) < 1e-5


# How a weight may be stored: the nodes that give "w" (6, 4, 3, 3), the constants they read, opset, and its value.
def stored() -> Iterator[tuple[Any, ...]]:
    weight = values(6, 4, 3, 3)
    integers = np.round(weight * 40).clip(-128, 127).astype(np.int8)
    flat, scales = integers.reshape(6, 36), np.linspace(0.01, 0.06, 6, dtype=np.float32)
    zeros = np.arange(-3, 3, dtype=np.int8)
    per_axis = (integers - zeros[:, None, None, None].astype("f")) * scales[:, None, None, None]
    blocks = np.random.default_rng(1).uniform(0.01, 0.05, (6, 3)).astype(np.float32)
    yield "Identity", [node("Identity", ["a"], ["w"])], {"a": weight}, 17, weight
    yield "Constant", [node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(weight))], {}, 17, weight
    yield (
        "Reshape",
        [node("Reshape", ["a", "s"], ["w"])],
        {"a": weight.reshape(6, -1), "s": np.array([6, 4, 3, 3])},
        7,
        weight,
    )
    yield "Unsqueeze", [node("Unsqueeze", ["a", "s"], ["w"])], {"a": weight[0], "s": np.array([0])}, 13, weight[:1]
    yield (
        "Transpose",
        [node("Transpose", ["a"], ["w"], perm=[3, 2, 0, 1])],
        {"a": weight.transpose(2, 3, 1, 0)},
        9,
        weight,
    )
    yield "Cast", [node("Cast", ["a"], ["w"], to=1)], {"a": weight.astype(np.float16)}, 17, weight.astype(np.float16)
    yield "Concat", [node("Concat", ["a", "b"], ["w"], axis=0)], {"a": weight[:2], "b": weight[2:]}, 11, weight
    yield (
        "Slice",
        [node("Slice", ["a", "b", "e"], ["w"])],
        {"a": np.tile(weight, (2, 1, 1, 1)), "b": np.array([6]), "e": np.array([12])},
        13,
        weight,
    )
    yield (
        "Mul",
        [node("Mul", ["a", "b"], ["w"])],
        {"a": weight, "b": values(6, 1, 1, 1)},
        17,
        weight * values(6, 1, 1, 1),
    )
    yield (
        "ConstantOfShape",
        [node("ConstantOfShape", ["s"], ["w"], value=helper.make_tensor("v", 1, [1], [0.25]))],
        {"s": np.array([6, 4, 3, 3])},
        9,
        np.full((6, 4, 3, 3), 0.25),
    )
    yield (
        "int8",
        [node("DequantizeLinear", ["q", "s"], ["w"])],
        {"q": integers, "s": np.array(0.02, "f")},
        13,
        integers * 0.02,
    )
    yield (
        "uint8",
        [node("DequantizeLinear", ["q", "s", "z"], ["w"])],
        {"q": (integers.astype(int) + 128).astype(np.uint8), "s": np.array(0.02, "f"), "z": np.array(128, np.uint8)},
        10,
        integers * 0.02,
    )
    yield (
        "int8 per channel",
        [node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0)],
        {"q": integers, "s": scales, "z": zeros},
        13,
        per_axis,
    )
    yield (
        "int8 in blocks",
        [node("DequantizeLinear", ["q", "s"], ["d"], axis=1, block_size=12), node("Reshape", ["d", "t"], ["w"])],
        {"q": flat, "s": blocks, "t": np.array([6, 4, 3, 3])},
        21,
        (flat * np.repeat(blocks, 12, 1)).reshape(6, 4, 3, 3),
    )
    yield (
        "quantised and back",
        [node("QuantizeLinear", ["a", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["w"])],
        {"a": weight, "s": np.array(0.02, "f"), "z": np.array(0, np.int8)},
        13,
        np.round(weight / np.float32(0.02)).clip(-128, 127) * 0.02,
    )


@pytest.mark.parametrize(
    ("nodes", "constants", "opset", "value"), [pytest.param(*case[1:], id=case[0]) for case in stored()]
)
def test_weights_behind_other_operators(nodes: Any, constants: Any, opset: Any, value: Any) -> None:
    bias = np.arange(len(value), dtype=np.int32)
    given = (
        {**constants, "bq": bias, "bs": np.array(0.1, "f")}
        if opset >= 10
        else {**constants, "bb": 0.1 * bias.astype("f")}
    )
    extra = [node("DequantizeLinear", ["bq", "bs"], ["bb"])] if opset >= 10 else []
    source = model([*nodes, *extra, conv("x", "y", "w", "bb")], given, opset=opset)
    graph = load(source)
    (layer,) = graph.layers
    assert layer.op == "Conv"
    np.testing.assert_allclose(graph.constants[layer.inputs[1]], value, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(graph.constants[layer.inputs[2]], 0.1 * bias, rtol=1e-5)
    assert verify(graph, source) < 1e-5


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE])
def test_files_of_other_floating_types(kind: Any) -> None:
    """Weights are widened, never rounded; the forward pass and the relevance are computed in float32."""
    tensors = [helper.make_tensor(name, kind, array.shape, array.reshape(-1).tolist())
               for name, array in (("w", values(3, 4, 3, 3)), ("b", values(3)), ("f", values(3, 5)))]  # fmt: skip
    nodes = [conv("x", "c", "w", "b", name="c"), node("Relu", ["c"], ["r"]), node("GlobalAveragePool", ["r"], ["g"]),
             node("Flatten", ["g"], ["h"]), node("MatMul", ["h", "f"], ["y"])]  # fmt: skip
    source = model(nodes, opset=17, kind=kind)
    source.graph.initializer.extend(tensors)
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    for tensor in tensors:
        stored = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        np.testing.assert_array_equal(graph.constants[tensor.name], stored)
    if kind == onnx.TensorProto.FLOAT16:
        assert verify(graph, source, tolerance=1e-2) < 1e-2


def test_an_operator_that_onnx_does_not_have_is_named() -> None:
    """What tf2onnx leaves of Keras's GELU."""
    source = model([node("Erfc", ["x"], ["y"], name="gelu/Erfc")], opset=15)
    with pytest.raises(UnsupportedError, match='"gelu/Erfc" is a Erfc, which is no operator of ONNX'):
        load(source)
