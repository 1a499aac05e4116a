"""Conversion to a newer opset by onnx, and what has to be done around it."""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper, version_converter

from ...errors import UnsupportedError
from .. import operators
from ..reading.printable import first_line, printable

# What it writes into ai.onnx whatever the opset is; the converter does not know them there.
_FUSED = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
_HIDDEN = "onnxlrp.hidden"


def upgrade(model: onnx.ModelProto, opset: int, target: int) -> onnx.ModelProto:
    """Convert a model to a newer opset; one that is as new stays as it is.

    Args:
        model: The model, not changed.
        opset: The opset that it has.
        target: The opset to have.

    Raises:
        UnsupportedError: onnx cannot convert it, or it has an operator that ONNX does not know.
    """
    if opset >= target:
        return model
    try:
        if opset < 13 and any(node.op_type in operators.FLATTENING_UNTIL_12 for node in model.graph.node):
            # Of a Softmax along the last axis the converter keeps a Softmax, if it knows the rank.
            model = onnx.shape_inference.infer_shapes(model)
        converted = _shown(version_converter.convert_version(_convertible(model, opset), target))
    except Exception as error:
        _refuse_unknown(model)
        raise UnsupportedError(
            f"the model's opset {opset} cannot be converted to {target}: {first_line(error)}",
            "export the model again with a newer opset (17 or later)",
        ) from None
    if opset < 11:
        _resize_from_origin(converted)
    return converted


def _refuse_unknown(model: onnx.ModelProto) -> None:
    """Raise for an operator that ONNX lacks: converters copy those of TensorFlow that they do not know."""
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type):
            name = printable(node.name or "".join(node.output[:1]))
            raise UnsupportedError(
                f'the node "{name}" is a {printable(node.op_type)}, which is no operator of ONNX',
                "convert the model again, by a converter that knows it or with standard layers in its place",
            )


def _convertible(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return the model with what the converter cannot convert put into a domain that it skips, or cut off."""

    def hides(node: onnx.NodeProto) -> bool:
        return node.op_type in _FUSED and not node.domain and not (node.op_type == "LayerNormalization" and opset >= 17)

    def trims(node: onnx.NodeProto) -> bool:
        # Statistics that nobody reads, of exports in training mode (BiT's weights): onnxruntime ignores them too.
        norm = node.op_type == "BatchNormalization" and not node.domain and opset < 14
        return norm and len(node.output) > 1 and not read.intersection(node.output[1:])

    def ignores(node: onnx.NodeProto) -> list[onnx.AttributeProto]:
        # The value of a Pad that repeats or reflects, which the converter would leave as an attribute.
        mode = next((a.s for a in node.attribute if a.name == "mode"), b"constant")
        old_pad = node.op_type == "Pad" and not node.domain and opset < 11
        return [a for a in node.attribute if a.name == "value"] if old_pad and mode != b"constant" else []

    read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    if not any(hides(node) or trims(node) or ignores(node) for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if hides(node):
            node.domain = _HIDDEN
        elif trims(node):
            del node.output[1:]
        for attribute in ignores(node):
            node.attribute.remove(attribute)
    copy.opset_import.append(helper.make_opsetid(_HIDDEN, 1))
    return copy


def _shown(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        if node.domain == _HIDDEN:
            node.domain = ""
    kept = [entry for entry in model.opset_import if entry.domain != _HIDDEN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _resize_from_origin(model: onnx.ModelProto) -> None:
    """Write Upsample and Resize as they were before opset 11; the converter leaves the newer defaults.

    They sampled from the origin. Of the neighbours onnxruntime took the upper one along axes that shrink and the lower
    one along axes that grow, so that there are two of them: for the axes of scales below 1, and for the others.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: numpy_helper.to_array(a.t)
        for node in model.graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"
    }  # fmt: skip
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type != "Resize":
            model.graph.node.append(node)
            continue
        kept = [a for a in node.attribute if a.name not in ("coordinate_transformation_mode", "nearest_mode")]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        linear = any(a.name == "mode" and a.s != b"nearest" for a in kept)
        scales = constants.get(node.input[2])
        if linear or (scales is not None and (scales >= 1).all()):
            node.attribute.append(helper.make_attribute("nearest_mode", "floor"))
            model.graph.node.append(node)
        else:
            model.graph.node.extend(_shrunk_then_grown(node))


def _shrunk_then_grown(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return two Resizes for one: by min(scales, 1) to the upper neighbours, then by max(scales, 1) to the lower."""
    x, roi, scales = node.input[:3]
    y = node.output[0]
    one = helper.make_node("Constant", [], [f"{y}/one"], name=f"{y}/one", value_floats=[1.0])
    nodes = [one]
    for op, mode, source, target in (("Min", "ceil", x, f"{y}/shrunk"), ("Max", "floor", f"{y}/shrunk", y)):
        part = f"{y}/{op.lower()}"
        nodes.append(helper.make_node(op, [scales, f"{y}/one"], [part], name=part))
        resized = onnx.NodeProto()
        resized.CopyFrom(node)
        resized.name = node.name if target == y else f"{node.name or y}/shrunk"
        del resized.input[:], resized.output[:]
        resized.input.extend([source, roi, part])
        resized.output.append(target)
        resized.attribute.append(helper.make_attribute("nearest_mode", mode))
        nodes.append(resized)
    return nodes
