"""Every rewrite computes what the untouched model computes; float64 where weights are folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import batch_norm, conv, model, node, norm, values

W = {"w": values(6, 4, 3, 3)}
DENSE = [node("GlobalAveragePool", ["x"], ["g"]), node("Flatten", ["g"], ["f"])]

# name: (nodes, constants, the operators that remain)
MERGED = {
    "conv bn": ([conv("x", "c", "w"), batch_norm("c", "y", epsilon=1e-3)], W | norm(6), ["Conv"]),
    "conv with bias, bn": ([conv("x", "c", "w", "d"), batch_norm("c", "y")], W | norm(6) | {"d": values(6)}, ["Conv"]),
    "grouped transposed conv, bn": (
        [node("ConvTranspose", ["x", "t"], ["c"], group=2, strides=[2, 2]), batch_norm("c", "y")],
        {"t": values(4, 3, 3, 3)} | norm(6), ["ConvTranspose"],
    ),
    "gemm bn": (
        [*DENSE, node("Gemm", ["f", "w", "d"], ["h"], transB=1), batch_norm("h", "y")],
        {"w": values(5, 4), "d": values(5)} | norm(5), ["GlobalAveragePool", "Flatten", "Gemm"],
    ),
    "gemm with alpha, beta": (
        [*DENSE, node("Gemm", ["f", "w", "d"], ["y"], alpha=0.5, beta=2.0)],
        {"w": values(4, 5), "d": values(1)}, ["GlobalAveragePool", "Flatten", "Gemm"],
    ),
    "matmul, add, bn": (
        [*DENSE, node("MatMul", ["f", "w"], ["h"]), node("Add", ["d", "h"], ["a"]), batch_norm("a", "y")],
        {"w": values(4, 5), "d": values(5)} | norm(5), ["GlobalAveragePool", "Flatten", "Gemm"],
    ),
    "matmul of rows and arithmetic": (
        [node("MatMul", ["x", "w"], ["h"]), node("Add", ["d", "h"], ["a"]), node("Mul", ["a", "k"], ["y"])],
        {"w": values(8, 5), "d": values(5), "k": values(1, 1, 1, 5)}, ["MatMul"],
    ),
    "conv and arithmetic": (
        [conv("x", "c", "w"), node("Mul", ["k", "c"], ["a"]), node("Add", ["a", "d"], ["b"]),
         node("Sub", ["two", "b"], ["e"]), node("Sub", ["e", "d"], ["h"]), node("Div", ["h", "two"], ["y"])],
        W | {"k": values(6, 1, 1), "d": values(1, 6, 1, 1), "two": np.array([2], np.float32)}, ["Conv"],
    ),
    "bn and arithmetic": (
        [node("Relu", ["x"], ["r"]), batch_norm("r", "n"), node("Mul", ["n", "k"], ["a"]),
         node("Add", ["a", "k"], ["y"])],
        norm(4) | {"k": values(4, 1, 1)}, ["Relu", "BatchNormalization"],
    ),
    "padded conv": (
        [node("Pad", ["x", "p"], ["q"]), conv("q", "y", "w", strides=[2, 2], pads=[0, 1, 1, 0])],
        W | {"p": np.array([0, 0, 0, 2, 0, 0, 1, 1])}, ["Conv"],
    ),
    "padded average": (
        [node("Pad", ["x", "p"], ["q"]), node("AveragePool", ["q"], ["y"], kernel_shape=[3, 3])],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, ["AveragePool"],
    ),
    "hard swish": ([node("HardSwish", ["x"], ["y"])], {}, ["HardSwish"]),
    "mish": ([node("Softplus", ["x"], ["s"]), node("Tanh", ["s"], ["t"]), node("Mul", ["t", "x"], ["y"])], {},
             ["Mish"]),
    # What must stay as it is.
    "bn behind relu": ([conv("x", "c", "w"), node("Relu", ["c"], ["r"]), batch_norm("r", "y")], W | norm(6),
                       ["Conv", "Relu", "BatchNormalization"]),
    "conv read twice": ([conv("x", "c", "w"), batch_norm("c", "n"), node("Add", ["n", "c"], ["y"])], W | norm(6),
                        ["Conv", "BatchNormalization", "Add"]),
    "matmul of rows, add per channel of axis 1": (
        [node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "d"], ["a"]), batch_norm("a", "y")],
        {"w": values(8, 5), "d": values(4, 1, 1)} | norm(4), ["MatMul", "Add", "BatchNormalization"],
    ),
    "add per pixel": ([conv("x", "c", "w"), node("Add", ["c", "k"], ["y"])], W | {"k": values(6, 6, 6)},
                      ["Conv", "Add"]),
    "max pool of padding": (
        [node("Pad", ["x", "p"], ["q"]), node("MaxPool", ["q"], ["y"], kernel_shape=[3, 3])],
        {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, ["Pad", "MaxPool"],
    ),
    "padding with ones": (
        [node("Pad", ["x", "p", "one"], ["q"]), conv("q", "y", "w")],
        W | {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "one": np.ones((), np.float32)}, ["Pad", "Conv"],
    ),
    "reflected padding": (
        [node("Pad", ["x", "p"], ["q"], mode="reflect"), conv("q", "y", "w")],
        W | {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, ["Pad", "Conv"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MERGED)
def test_merges(case: str) -> None:
    nodes, constants, left = MERGED[case]
    source = model(nodes, constants)
    graph = load(source)
    assert [layer.op for layer in graph.layers] == left
    assert verify(graph, source, batches=(1, 3)) < 1e-5


def test_batch_norm_is_folded_in_float64() -> None:
    source = model([conv("x", "c", "w"), batch_norm("c", "y", epsilon=1e-3)], W | norm(6))
    graph = load(source)
    p = {name: value.astype(np.float64) for name, value in norm(6).items()}
    scale = p["s"] / np.sqrt(p["v"] + np.float32(1e-3))
    weight, bias = (graph.constants[name] for name in graph.layers[0].inputs[1:])
    np.testing.assert_allclose(weight, W["w"].astype(np.float64) * scale[:, None, None, None], rtol=1e-15)
    np.testing.assert_allclose(bias, p["b"] - p["m"] * scale, rtol=1e-12)


def test_an_output_of_the_model_is_not_merged_away() -> None:
    source = model([conv("x", "c", "w"), batch_norm("c", "y")], W | norm(6), outputs=["c", "y"])
    assert [layer.op for layer in load(source).layers] == ["Conv", "BatchNormalization"]


def test_a_shared_weight_stays_for_its_other_reader() -> None:
    nodes = [conv("x", "c", "w", name="a"), batch_norm("c", "n"), conv("x", "e", "w", name="b"),
             node("Add", ["n", "e"], ["y"])]  # fmt: skip
    source = model(nodes, W | norm(6))
    graph = load(source)
    first, second, _ = graph.layers
    assert first.inputs[1] != second.inputs[1]
    np.testing.assert_array_equal(graph.constants[second.inputs[1]], W["w"])
    verify(graph, source)


WINDOWS: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[int, ...]]] = {
    "conv same upper": ("Conv", {"auto_pad": "SAME_UPPER", "strides": [3, 2]}, W, (0, 0, 1, 1)),
    "conv same lower": ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, W, (1, 1, 0, 0)),
    "conv valid": ("Conv", {"auto_pad": "VALID", "dilations": [2, 1]}, W, (0, 0, 0, 0)),
    "max pool same": (
        "MaxPool", {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 3], "strides": [2, 2]}, {}, (0, 0, 1, 1),
    ),
    "average same": (
        "AveragePool", {"auto_pad": "SAME_LOWER", "kernel_shape": [3, 3], "strides": [2, 2], "count_include_pad": 1},
        {}, (1, 1, 0, 0),
    ),
    "transposed, output shape": (
        "ConvTranspose", {"strides": [2, 2], "output_shape": [16, 15]}, {"w": values(4, 3, 3, 3)}, (1, 1, 0, 1),
    ),
    "transposed same": (
        "ConvTranspose", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"w": values(4, 3, 3, 3)}, (0, 0, 1, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WINDOWS)
def test_windows_are_explicit(case: str) -> None:
    op, attributes, constants, pads = WINDOWS[case]
    source = model([node(op, ["x", *constants], ["y"], **attributes)], constants, opset=11)
    graph = load(source)
    (layer,) = graph.layers
    assert "auto_pad" not in layer.attributes
    assert "output_shape" not in layer.attributes
    assert all(len(layer.attributes[key]) == 2 for key in ("kernel_shape", "strides", "dilations"))
    if op != "ConvTranspose":
        assert layer.attributes["pads"] == pads
    assert sum(layer.attributes["pads"]) == sum(pads)
    verify(graph, source)


def test_defaults_are_written_down() -> None:
    nodes = [conv("x", "c", "w"), node("LeakyRelu", ["c"], ["l"]), node("Transpose", ["l"], ["t"], perm=[0, 2, 3, 1]),
             node("Softmax", ["t"], ["y"])]  # fmt: skip
    c, leaky, _, softmax = load(model(nodes, W)).layers
    assert c.attributes == {
        "group": 1, "kernel_shape": (3, 3), "strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0)
    }  # fmt: skip
    assert leaky.attributes["alpha"] == pytest.approx(0.01)
    assert softmax.attributes["axis"] == -1
