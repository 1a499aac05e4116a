"""Rewriters: a plain ONNX model → the same function as another exporter would write it.

Each gets a model with inferred shapes, batch norms in place, and gives a new one, or None where it has no way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Rewriter:
    """A model in the making: nodes are appended, constants stored under new names."""

    def __init__(self, model: Any) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        graph = self.model.graph
        self.old = list(graph.node)
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.shapes = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self.shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
        for node in self.old:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            elif node.op_type == "Identity" and node.input[0] in self.constants:  # torch's for weights that are equal
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self.old = [node for node in self.old if node.op_type != "Identity" or node.output[0] not in self.constants]
        self.nodes = []
        self.count = 0

    def fresh(self, word: Any) -> str:
        self.count += 1
        return f"{word}_{self.count}"

    def add(self, op: Any, inputs: Any, output: Any = None, **attributes: Any) -> Any:
        output = output or self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], name=self.fresh(op), **attributes))
        return output

    def constant(self, value: Any, word: str = "const") -> Any:
        name = self.fresh(word)
        self.constants[name] = np.asarray(value)
        return name

    def operand(self, node: Any, i: Any) -> Any:
        """A constant operand, looked up behind Identity."""
        return self.constants.get(node.input[i]) if i < len(node.input) else None

    def finish(self, listed: bool = False, ir: Any = None, embedded: bool = False) -> Any:
        """The model; `listed` names initialisers as inputs too (IR 3), `embedded` keeps constants in Constant nodes."""
        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input}
        stored = {n.output[0] for n in self.nodes if n.op_type == "Constant"}
        tensors = [numpy_helper.from_array(v, k) for k, v in self.constants.items() if k in used and k not in stored]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        if embedded:
            graph.node.extend(helper.make_node("Constant", [], [t.name], value=t) for t in tensors)
        else:
            graph.initializer.extend(tensors)
        graph.node.extend(self.nodes)
        if listed:
            values = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
            inputs = list(graph.input)
            del graph.input[:]
            graph.input.extend(values + inputs)
        self.model.ir_version = ir or self.model.ir_version
        return self.model


def attributes_of(node: Any) -> dict[Any, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def caffe(model: Any) -> Any:
    """BatchNorm without its affine part, then Scale as Mul and Add; channels in the order blue, green, red."""
    r = Rewriter(model)
    picture = model.graph.input[0].name
    for node in r.old:
        if node.op_type == "BatchNormalization" and len(r.shapes[node.input[0]]) == 4:
            scale, shift = r.operand(node, 1), r.operand(node, 2)
            ones, zeros = r.constant(np.ones_like(scale)), r.constant(np.zeros_like(scale))
            y = r.add("BatchNormalization", [node.input[0], ones, zeros, *node.input[3:5]], **_eps(node))
            y = r.add("Mul", [y, r.constant(scale.reshape(-1, 1, 1))])
            r.add("Add", [y, r.constant(shift.reshape(-1, 1, 1))], node.output[0])
        elif node.op_type == "Conv" and node.input[0] == picture and r.operand(node, 1) is not None:
            weight = r.constant(np.ascontiguousarray(r.operand(node, 1)[:, ::-1]))
            r.add("Conv", [picture, weight, *node.input[2:]], node.output[0], **attributes_of(node))
        elif picture in node.input:
            return None
        else:
            r.nodes.append(node)
    return r.finish()


def _eps(node: Any) -> dict[Any, Any]:
    return {k: v for k, v in attributes_of(node).items() if k == "epsilon"}


def caffe2(model: Any) -> Any:
    """Sum for Add, dense layers as Reshape and Gemm, names nowhere, initialisers listed as inputs (IR 3)."""
    r = Rewriter(model)
    for node in r.old:
        live = [name for name in node.input if name not in r.constants]
        if node.op_type == "Add" and len(live) == 2 and r.shapes[live[0]] == r.shapes[live[1]]:
            r.add("Sum", live, node.output[0])
        elif node.op_type == "Flatten" and attributes_of(node).get("axis", 1) == 1:
            r.add("Reshape", [node.input[0], r.constant(np.array([0, -1]))], node.output[0])
        elif node.op_type != "Constant":
            r.nodes.append(node)
    for node in r.nodes:
        node.name = ""
    return r.finish(listed=True, ir=3)


def cntk(model: Any) -> Any:
    """Weights behind Reshape, the bias a Plus behind, SAME_UPPER where it says the same, initialisers as inputs."""
    r = Rewriter(model)
    for node in r.old:
        weight, bias = r.operand(node, 1), r.operand(node, 2)
        if node.op_type == "Conv" and weight is not None:
            flat, shape = r.constant(weight.reshape(weight.shape[0], -1)), r.constant(np.array(weight.shape))
            attributes = attributes_of(node)
            same = [k // 2 for k in weight.shape[2:]] * 2
            if (
                all(k % 2 for k in weight.shape[2:])
                and attributes["pads"] == same
                and set(attributes["strides"]) == {1}
            ):
                del attributes["pads"]
                attributes["auto_pad"] = "SAME_UPPER"
            output = node.output[0] if bias is None else None
            y = r.add("Conv", [node.input[0], r.add("Reshape", [flat, shape])], output, **attributes)
            if bias is not None:
                r.add("Add", [y, r.constant(bias.reshape(-1, 1, 1))], node.output[0])
        elif node.op_type == "Gemm" and weight is not None and attributes_of(node).get("transB"):
            flat, shape = r.constant(weight.T.reshape(weight.shape[1], 1, 1, -1)), r.constant(np.array(weight.T.shape))
            y = r.add("MatMul", [node.input[0], r.add("Reshape", [flat, shape])])
            r.add("Add", [y, r.constant(bias.reshape(1, -1))], node.output[0])
        elif node.op_type != "Constant":
            r.nodes.append(node)
    return r.finish(listed=True, ir=3)


def paddle(model: Any) -> Any:
    """Constants in Constant nodes, dense layers as MatMul and Add, biases of Conv behind Reshape, shapes computed."""
    r = Rewriter(model)
    for node in r.old:
        bias = r.operand(node, 2)
        if node.op_type == "Conv" and bias is not None:
            y = r.add("Conv", node.input[:2], **attributes_of(node))
            shaped = r.add("Reshape", [r.constant(bias), r.constant(np.array([1, -1, 1, 1]))])
            r.add("Add", [y, shaped], node.output[0])
        elif node.op_type == "Gemm":
            weight = r.operand(node, 1)
            weight = r.add("Identity", [r.constant(np.ascontiguousarray(weight.T))])
            r.add("Add", [r.add("MatMul", [node.input[0], weight]), node.input[2]], node.output[0])
        elif node.op_type == "Flatten" and attributes_of(node).get("axis", 1) == 1:
            size = r.add("Shape", [node.input[0]])
            first = r.add("Slice", [size, r.constant(np.array([0])), r.constant(np.array([1]))])
            target = r.add("Concat", [first, r.constant(np.array([-1]))], axis=0)
            r.add("Reshape", [node.input[0], target], node.output[0])
        elif node.op_type != "Constant":
            r.nodes.append(node)
    return r.finish(embedded=True)


def stored_weights(model: Any) -> Any:
    """Weights behind Cast from half precision, Unsqueeze, Transpose, ConstantOfShape; biases behind Mul and Add."""
    r = Rewriter(model)
    for node in r.old:
        weight, bias = r.operand(node, 1), r.operand(node, 2)
        if node.op_type in ("Conv", "Gemm") and weight is not None:
            rounded = r.add("Cast", [r.constant(weight.astype(np.float16))], to=TensorProto.FLOAT)
            if node.op_type == "Gemm":
                back = r.add("Transpose", [rounded], perm=[1, 0])
                rounded = r.add("Transpose", [back], perm=[1, 0])
            elif weight.shape[2:] == (1, 1):
                flat = r.constant(weight[..., 0, 0])
                rounded = r.add("Unsqueeze", [flat, r.constant(np.array([2, 3]))])
            operands = [node.input[0], rounded]
            if bias is not None:
                size = r.constant(np.array(bias.shape))
                one = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
                halves = r.add("ConstantOfShape", [size], value=one)
                operands.append(r.add("Mul", [r.constant(2 * bias), halves]))
            r.add(node.op_type, operands, node.output[0], **attributes_of(node))
        elif node.op_type != "Constant":
            r.nodes.append(node)
    return r.finish()


def quantised(model: Any) -> Any:
    """Weights in int8 behind DequantizeLinear: per channel in Conv, per tensor in Gemm; biases in int32."""
    r = Rewriter(model)
    for node in r.old:
        weight, bias = r.operand(node, 1), r.operand(node, 2)
        if node.op_type in ("Conv", "Gemm") and weight is not None:
            axes = tuple(range(1, weight.ndim)) if node.op_type == "Conv" else None
            scale = np.abs(weight).max(axes, keepdims=node.op_type == "Conv") / 127 + 1e-12
            scale = np.asarray(scale, np.float32)
            stored = r.constant(np.round(weight / scale).astype(np.int8))
            zero = r.constant(np.zeros(scale.reshape(-1).shape if scale.ndim else (), np.int8))
            factors = r.constant(scale.reshape(-1) if scale.ndim else scale)
            axis = {"axis": 0} if scale.ndim else {}
            operands = [node.input[0], r.add("DequantizeLinear", [stored, factors, zero], **axis)]
            if bias is not None:
                step = np.float32(np.abs(bias).max() / 2**20 + 1e-12)
                integers = r.constant(np.round(bias / step).astype(np.int32))
                operands.append(r.add("DequantizeLinear", [integers, r.constant(step)]))
            r.add(node.op_type, operands, node.output[0], **attributes_of(node))
        elif node.op_type != "Constant":
            r.nodes.append(node)
    return r.finish()


def half(model: Any) -> Any:
    """Everything in float16, as onnxconverter-common writes it."""
    r = Rewriter(model)
    if any(a.type == onnx.AttributeProto.GRAPH for node in r.old for a in node.attribute):
        return None
    single = {name for node in r.old if node.op_type == "Resize" for name in node.input[1:] if name}
    if not single <= set(r.constants):
        return None
    for name, value in r.constants.items():
        if value.dtype == np.float32 and name not in single:
            r.constants[name] = value.astype(np.float16)
    for node in r.old:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                value = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(value, attribute.t.name))
    r.nodes = [node for node in r.old if node.op_type != "Constant"]
    for value in (*r.model.graph.input, *r.model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return r.finish()


LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_SPATIAL = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
            "BatchNormalization", "LRN", "Resize", "DepthToSpace", "InstanceNormalization"}  # fmt: skip
_ELEMENTWISE = {"Relu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "Erf", "Gelu", "Add",
                "Sub", "Mul", "Div", "Pow", "Sqrt", "Identity", "Cast", "Softplus"}  # fmt: skip


def keras(model: Any) -> Any:
    """NHWC as tf2onnx writes it: Transpose around what is NCHW in ONNX, Pad and SAME_UPPER, means over axes 1 and 2."""
    r = Rewriter(model)
    if any(attributes_of(node).get("perm") in (LAST, FIRST) for node in r.old):
        return None  # its channels are last somewhere already
    last = {}  # tensor in NCHW → its NHWC twin, and the other way round
    first = {}

    def as_last(name: Any) -> Any:
        if name not in last:
            last[name] = r.add("Transpose", [name], perm=LAST)
        return last[name]

    def as_first(name: Any) -> Any:
        """The NCHW form; a transpose of a transpose is nothing."""
        if name not in first:
            first[name] = r.add("Transpose", [last[name]], perm=FIRST) if name in last else name
        return first[name]

    graph = r.model.graph
    picture = graph.input[0]
    dims = picture.type.tensor_type.shape.dim
    if len(dims) != 4:
        return None
    order = [onnx.TensorShapeProto.Dimension() for _ in range(4)]
    for new, old in zip(order, LAST, strict=True):
        new.CopyFrom(dims[old])
    del dims[:]
    dims.extend(order)
    last[picture.name] = picture.name

    def known(name: Any) -> Any:
        return len(r.shapes.get(name, ())) == 4 and name not in r.constants

    for node in r.old:
        if node.op_type == "Constant":
            continue
        attributes, out = attributes_of(node), node.output[0]
        if node.op_type in _ELEMENTWISE and known(out) and len(node.output) == 1:
            operands = [_channels_last(r, name, as_last) for name in node.input]
            last[out] = r.add(node.op_type, operands, **attributes)
        elif node.op_type == "Concat" and attributes["axis"] == 1 and known(out):
            last[out] = r.add("Concat", [as_last(name) for name in node.input], axis=3)
        elif node.op_type == "ReduceMean" and attributes.get("axes") in ([2, 3], [-1, -2], [3, 2], [-2, -1]):
            y = r.add("ReduceMean", [as_last(node.input[0])], axes=[1, 2], keepdims=attributes.get("keepdims", 1))
            (last if attributes.get("keepdims", 1) else first)[out] = y
        elif node.op_type in _SPATIAL and known(out):
            x = _padded(r, node, as_first(node.input[0]), attributes)
            y = r.add(node.op_type, [x, *node.input[1:]], **attributes)
            last[out] = r.add("Transpose", [y], perm=LAST)
        else:
            operands = [as_first(n) if known(n) or n in first else n for n in node.input]
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            del copy.input[:]
            copy.input.extend(operands)
            r.nodes.append(copy)
    for value in graph.output:
        if value.name in first:
            r.add("Identity", [first[value.name]], value.name)
        elif value.name in last:
            return None
    return _without_pairs(r.finish())


def _channels_last(r: Any, name: Any, as_last: Any) -> Any:
    value = r.constants.get(name)
    if value is None:
        return as_last(name) if len(r.shapes[name]) == 4 else name
    if value.size > 1:
        full = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(LAST)
        return r.constant(np.ascontiguousarray(full))
    return name


def _padded(r: Any, node: Any, x: Any, attributes: Any) -> Any:
    """SAME_UPPER where it says the same; else zeros in a Pad before a convolution."""
    pads = attributes.get("pads")
    if node.op_type not in ("Conv", "MaxPool", "AveragePool") or not pads or not any(pads):
        return x
    kernel = attributes["kernel_shape"]
    reach = [(k - 1) * d for k, d in zip(kernel, attributes.get("dilations", [1] * 2), strict=True)]
    if set(attributes.get("strides", [1])) == {1} and pads[:2] == pads[2:] and [2 * p for p in pads[:2]] == reach:
        del attributes["pads"]
        attributes["auto_pad"] = "SAME_UPPER"
        return x
    if node.op_type != "Conv":
        return x
    del attributes["pads"]
    attributes["auto_pad"] = "VALID"
    return r.add("Pad", [x, r.constant(np.array([0, 0, *pads[:2], 0, 0, *pads[2:]]))])


def _without_pairs(model: Any) -> Any:
    """Transposes that undo one another go, as tf2onnx's optimiser lets them."""
    producers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            after = producers.get(name)
            before = producers.get(after.input[0]) if after is not None and after.op_type == "Transpose" else None
            if before is not None and before.op_type == "Transpose":
                perms = [list(attributes_of(n)["perm"]) for n in (before, after)]
                if [perms[0][p] for p in perms[1]] == [0, 1, 2, 3]:
                    node.input[i] = before.input[0]
    used = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    kept = list(model.graph.node)
    while True:
        fewer = [node for node in kept if used.intersection(node.output)]
        if len(fewer) == len(kept):
            break
        kept = fewer
        used = {name for node in kept for name in node.input} | {v.name for v in model.graph.output}
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model
