"""Free the batch: it becomes axis 0 of every activation; shape inference with a prime shows that it is nowhere else."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import helper

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.draft import Draft, value_types
from onnxlrp.graph.emit import build, is_floating
from onnxlrp.graph.graph import Layer
from onnxlrp.graph.layout import Layout, refuse
from onnxlrp.graph.names import printable
from onnxlrp.graph.sizes import PRIME
from onnxlrp.graph.skeleton import LARGE

# Operators that work along `axis`: along axis 0 they would mix samples.
_AXIS_DEFAULT = {
    "Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "Concat": 0, "Split": 0, "Gather": 0, "GatherElements": 0,
    "ScatterElements": 0, "ArgMax": 0, "ArgMin": 0, "LayerNormalization": -1, "RMSNormalization": -1, "TopK": -1,
    "LpNormalization": -1, "Compress": 0,
}  # fmt: skip


def free(draft: Draft) -> Draft:
    """The same model for any batch, its shapes at the prime; `UnsupportedError` names the layer that refuses."""
    freed = copy.copy(draft)
    freed.constants = dict(draft.constants)
    layout = Layout(freed)
    freed.layers = [stored for layer in draft.layers for stored in layout.store(layer)]
    layout.check_outputs()
    freed.batch = PRIME
    infer(freed)
    return freed


def infer(draft: Draft) -> None:
    """Static shapes and types of every activation, by onnx.shape_inference on the draft without its weights."""
    inputs, constants = [], {}
    for name in draft.inputs:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(draft.dtypes[name]))
        inputs.append(helper.make_tensor_value_info(name, kind, (draft.batch, *draft.shapes[name][1:])))
    for name, value in draft.constants.items():
        if value.size <= LARGE:
            constants[name] = value
        else:
            kind = onnx.TensorProto.FLOAT if is_floating(value) else helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(name, kind, value.shape))
    outputs = [onnx.ValueInfoProto(name=name) for name in draft.outputs]
    model = build(
        draft.layers, constants, inputs, outputs, draft.opsets, np.dtype(np.float32), draft.inputs[0], draft.batch
    )
    for layer in draft.layers:
        model.graph.value_info.extend(_contributed(draft, layer))
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True, strict_mode=False)
    except onnx.shape_inference.InferenceError as error:
        raise UnsupportedError(
            f"The shapes of the model do not fit together: {printable(str(error).splitlines()[0])}",
            "Export the model again with static shapes.",
        ) from None
    shapes, dtypes = value_types((*inputs[: len(draft.inputs)], *model.graph.value_info, *model.graph.output))
    draft.shapes, draft.dtypes = shapes, {**draft.dtypes, **dtypes}


def _contributed(draft: Draft, layer: Layer) -> list[onnx.ValueInfoProto]:
    """Types of the outputs of an operator that onnx does not know: what onnxruntime said."""
    if "::" not in layer.op:
        return []
    operands = [name for name in layer.inputs if name in draft.shapes]
    values = []
    for name in layer.outputs:
        if draft.shapes.get(name):
            dtype = draft.dtypes.setdefault(name, draft.dtypes.get(operands[0], "float32") if operands else "float32")
            shape = (draft.batch, *draft.shapes[name][1:])
            values.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
    return values


def check(draft: Draft) -> None:
    """The batch is axis 0 of every activation and of nothing else, and no layer mixes samples."""
    for layer in draft.layers:
        if layer.op == "BatchNormalization" and layer.attributes.get("training_mode", 0):
            fix = "Export the model for inference (model.eval() in PyTorch)."
            raise refuse(layer, "is in training mode: a sample's result depends on the others", fix)
        for name in layer.outputs:
            if not name:
                continue
            shape = draft.shapes.get(name)
            if shape is None:
                raise refuse(layer, "has an output of unknown shape", "Export the model with static shapes.")
            if (
                not shape
                or shape[0] != draft.batch
                or (draft.batch == PRIME and any(d % PRIME == 0 for d in shape[1:]))
            ):
                seen = ", ".join("N" if d == draft.batch else str(d) for d in shape)
                alone = shape[:1] == (1,) and draft.batch == PRIME
                fix = "If it mixes samples on purpose, export it for one sample: without dynamic axes." if alone else ""
                raise refuse(layer, f"gives [{seen}]: its axis 0 is not the batch", fix)
        if draft.batch != 1 and _mixes_samples(draft, layer):
            raise refuse(layer, "works along the batch axis")


def _mixes_samples(draft: Draft, layer: Layer) -> bool:
    data = next((i for i in layer.inputs if i in draft.shapes), "")
    rank = len(draft.shapes.get(data, ()))
    if layer.op not in _AXIS_DEFAULT or not rank or (layer.op == "Gather" and layer.inputs[0] in draft.constants):
        return False
    return bool(layer.attributes.get("axis", _AXIS_DEFAULT[layer.op]) % rank == 0)
