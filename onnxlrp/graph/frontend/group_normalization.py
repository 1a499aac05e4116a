"""GroupNormalization as the layers that exporters wrote before it was an operator (Wu & He 2018).

onnxruntime would write it out as its formula, whose sums over groups of channels are no normalisation any more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from ...errors import UnsupportedError
from ..graph import Array
from ..reading.printable import printable


def split_groups(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Write each GroupNormalization as Reshape, InstanceNormalization, Reshape, and from opset 21 on Mul and Add.

    Args:
        model: The model, not changed.
        opset: Its opset.

    Raises:
        UnsupportedError: An operand has an unknown rank.
    """
    if not any(_is_group(node) for node in model.graph.node):
        return model
    ranks = _ranks(model)
    split = onnx.ModelProto()
    split.CopyFrom(model)
    del split.graph.node[:]
    for node in model.graph.node:
        split.graph.node.extend(_split(node, opset, ranks, split.graph) if _is_group(node) else [node])
    return split


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor → number of axes; onnx infers nothing behind a GroupNormalization, which keeps them."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for node in plain.graph.node:
        if _is_group(node):
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output))
    typed = onnx.shape_inference.infer_shapes(plain)
    values = (*typed.graph.input, *typed.graph.value_info, *typed.graph.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _is_group(node: NodeProto) -> bool:
    return node.op_type == "GroupNormalization" and not node.domain


def _split(node: NodeProto, opset: int, ranks: dict[str, int], graph: onnx.GraphProto) -> list[NodeProto]:
    x, scale, shift = node.input
    y, attributes = node.output[0], {a.name: helper.get_attribute_value(a) for a in node.attribute}
    count, epsilon = int(attributes["num_groups"]), float(attributes.get("epsilon", 1e-5))
    nodes: list[NodeProto] = []

    def constant(what: str, value: Array) -> str:
        graph.initializer.append(numpy_helper.from_array(value, f"{y}/{what}"))
        return f"{y}/{what}"

    def add(op: str, *inputs: str, to: str = "", **options: Any) -> str:
        name = to or f"{y}/{op}{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], name=f"{node.name or y}/{op}{len(nodes)}", **options))
        return name

    grouped = add("Reshape", x, constant("groups", np.array([0, count, -1], np.int64)))
    shape = add("Shape", x)
    if opset < 21:
        # The gain and the shift are those of groups.
        add("Reshape", add("InstanceNormalization", grouped, scale, shift, epsilon=epsilon), shape, to=y)
        return nodes
    if x not in ranks:
        raise UnsupportedError(
            f'GroupNormalization "{printable(node.name or y)}" has an operand of unknown rank',
            "export the model with static shapes",
        )
    ones = constant("one", np.ones(count, np.float32))
    flat = add("InstanceNormalization", grouped, ones, constant("zero", np.zeros(count, np.float32)), epsilon=epsilon)
    standard = add("Reshape", flat, shape)
    channels = constant("channels", np.array([-1, *[1] * (ranks[x] - 2)], np.int64))
    scaled = add("Mul", standard, add("Reshape", scale, channels))
    add("Add", scaled, add("Reshape", shift, channels), to=y)
    return nodes
