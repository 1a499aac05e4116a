"""Module paths, from the names that exporters leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from onnxlrp.graph.load import load
from onnxlrp.graph.reading.module_paths import module_paths
from support.tiny_models import conv, model, node, values


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/conv1/Conv", "conv1"),
        ("/layer4/layer4.0/conv2/Conv", "layer4.0.conv2"),
        ("/layer1/layer1.0/relu_1/Relu", "layer1.0.relu_1"),
        ("/layer1/layer1.0/Add", "layer1.0"),
        ("/Add", ""),
        ("/features/features.1/conv/conv.0/conv.0.0/Conv", "features.1.conv.0.0"),
        ("/blocks.0/attn/qkv/MatMul", "blocks.0.attn.qkv"),
        ("/model/layers/layers.0/fc/Gemm", "model.layers.0.fc"),
        ("mobilenet/conv1/Conv2D__952", "mobilenet/conv1"),
        ("model/a/Relu;model/a/Bias", "model/a"),
        ("Conv_12", ""),
        ("", ""),
    ],
)
def test_node_names(name: str, path: str) -> None:
    assert module_paths(model([node("Relu", ["x"], ["y"], name=name)])).get("y", "") == path


def dynamo(op: Any, inputs: Any, output: Any, scopes: Any, classes: Any) -> Any:
    made = node(op, inputs, [output], name=f"node_{output}")
    for key, value in (("name_scopes", scopes), ("class_hierarchy", classes)):
        made.metadata_props.add(key=f"pkg.torch.onnx.{key}", value=repr(value))
    return made


def test_name_scopes_survive_the_conversion() -> None:
    batch_norm = "torch.nn.modules.batchnorm.BatchNorm2d"
    nodes = [
        dynamo("Conv", ["x", "layer1.0.conv1.weight"], "c", ["", "layer1", "layer1.0", "layer1.0.bn1", "bn_1"],
               ["Net", "Sequential", "Block", batch_norm, "aten.bn"]),
        dynamo("Relu", ["c"], "r", ["", "layer1", "layer1.0", "relu_1"], ["Net", "Sequential", "Block", "aten.relu"]),
        dynamo("Sigmoid", ["r"], "y", ["", "sigmoid"], ["Net", "aten.sigmoid"]),
    ]  # fmt: skip
    graph = load(model(nodes, {"layer1.0.conv1.weight": values(4, 4, 3, 3)}))
    assert [layer.path for layer in graph.layers] == ["layer1.0.conv1", "layer1.0", ""]
    assert graph.layers[2].label == "node_y"


@pytest.mark.parametrize("text", ["", "[", "{}", "'a'", "__import__('os')", "[1, 2"])
def test_damaged_metadata_is_no_path(text: str) -> None:
    made = node("Relu", ["x"], ["y"])
    made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=text)
    assert module_paths(model([made])).get("y", "") in ("", "1")


def test_a_merged_layer_keeps_the_path_of_the_convolution() -> None:
    nodes = [conv("x", "c", "w", name="/stem/conv/Conv"), node("Mul", ["c", "k"], ["y"], name="/stem/scale/Mul")]
    (layer,) = load(model(nodes, {"w": values(4, 4, 1, 1), "k": values(4, 1, 1)})).layers
    assert (layer.path, layer.name, layer.outputs) == ("stem.conv", "/stem/conv/Conv", ("y",))
