"""Module paths (`layer4.0.conv2`), read from the names and metadata that exporters write."""

from __future__ import annotations

import ast

import onnx

from .. import operators

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"


def module_paths(model: onnx.ModelProto) -> dict[str, str]:
    """Return output tensor → module path, for the nodes whose exporter wrote one."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {out: path for node in model.graph.node if (path := _path(node, weights)) for out in node.output if out}


def _path(node: onnx.NodeProto, weights: set[str]) -> str:
    metadata = {entry.key: entry.value for entry in node.metadata_props}
    if _SCOPES in metadata:
        return _from_scopes(node, metadata, weights)
    if node.name.startswith("/"):
        return _from_legacy(node.name)
    return _from_scope_name(node)


def _from_scopes(node: onnx.NodeProto, metadata: dict[str, str], weights: set[str]) -> str:
    """torch.onnx.export(dynamo=True): "['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_3']"."""
    scopes, classes = _strings(metadata[_SCOPES]), _strings(metadata.get(_CLASSES, "[]"))
    path = scopes[-2] if len(scopes) > 1 else ""
    # A convolution that the exporter merged with its batch norm carries the batch norm's scope; its weight still
    # carries the convolution's.
    if node.op_type in operators.WEIGHTED and len(classes) > 1 and "batchnorm" in classes[-2].lower():
        weight = node.input[1] if len(node.input) > 1 else ""
        if weight in weights and weight.endswith(".weight"):
            return weight.removesuffix(".weight")
    return path


def _from_legacy(name: str) -> str:
    """torch.onnx.export(dynamo=False): "/layer4/layer4.0/conv2/Conv"; the last part is the operator.

    A part is one attribute more, or (inside a Sequential or ModuleList) repeats the attribute with an index.
    """
    path = ""
    for part in name.strip("/").split("/")[:-1]:
        repeated = part.rpartition(".")[0]
        if repeated and f".{path}".endswith(f".{repeated}"):
            path = path[: len(path) - len(repeated)] + part
        else:
            path = f"{path}.{part}" if path else part
    return path


def _from_scope_name(node: onnx.NodeProto) -> str:
    """tf2onnx and its like: "mobilenet/conv1/Conv2D__952"; the last part is the operator."""
    name = node.name.split(";")[0]
    return name.rpartition("/")[0]


def _strings(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(v) for v in value] if isinstance(value, list) else []
