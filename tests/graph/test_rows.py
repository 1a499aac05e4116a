"""BatchNormalization on the rows of all tokens, as LeViT writes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import model, node, norm, values


def tokens() -> Any:
    """Tokens [N, 6, 4] through a MatMul, then normalised on [N·6, 8]."""
    nodes = [
        node("MatMul", ["x", "w"], ["t"], name="/proj/MatMul"),
        node("Shape", ["t"], ["size"]),
        node("Reshape", ["t", "flat"], ["rows"], name="flatten"),
        node("BatchNormalization", ["rows", "s", "b", "m", "v"], ["normed"], name="/bn/Norm", epsilon=1e-3),
        node("Reshape", ["normed", "size"], ["back"], name="back"),
        node("Relu", ["back"], ["y"]),
    ]
    given = {"w": values(4, 8), "flat": np.array([-1, 8])} | norm(8)
    return model(nodes, given, shape=("N", 6, 4))


def test_it_is_folded_into_the_layer_that_gives_the_tokens() -> None:
    source = tokens()
    graph = load(source)
    assert graph.batch is None
    (product, relu) = (layer for layer in graph.layers if layer.op != "Reshape")
    assert (product.op, len(product.inputs), relu.op) == ("MatMul", 3, "Relu")
    assert verify(graph, source) < 1e-5


def test_rows_that_another_layer_reads_are_normalised_for_themselves() -> None:
    source = tokens()
    source.graph.node.append(node("Relu", ["rows"], ["r"]))
    source.graph.node.append(node("Reshape", ["r", "size"], ["z"]))
    source.graph.output.append(helper.make_tensor_value_info("z", 1, None))
    graph = load(source)
    assert graph.batch is None
    assert verify(graph, source) < 1e-5


def test_it_is_folded_into_the_layer_that_gives_the_rows() -> None:
    nodes = [
        node("Reshape", ["x", "flat"], ["rows"]),
        node("Gemm", ["rows", "w", "c"], ["g"]),
        node("BatchNormalization", ["g", "s", "b", "m", "v"], ["normed"]),
        node("Reshape", ["normed", "size"], ["y"]),
    ]
    given = {"w": values(4, 8), "c": values(8), "flat": np.array([-1, 4]), "size": np.array([-1, 6, 8])} | norm(8)
    source = model(nodes, given, shape=("N", 6, 4))
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["MatMul"]
    assert verify(graph, source) < 1e-5


def test_rows_of_one_token_are_left_to_the_dense_layer() -> None:
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("Gemm", ["f", "w"], ["g"]),
        node("BatchNormalization", ["g", "s", "b", "m", "v"], ["y"], name="bn"),
    ]
    source = model(nodes, {"w": values(24, 8)} | norm(8), shape=("N", 6, 4))
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Flatten", "Gemm"]
    assert verify(graph, source) < 1e-5
