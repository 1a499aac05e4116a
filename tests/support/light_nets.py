"""The nine light models that the onnx wheel carries: real topologies, with weights drawn from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper, version_converter

from .arrays import Array

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NAMES = ("bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet",
         "vgg19", "zfnet512")  # fmt: skip


def reinitialised(name: str, seed: int = 0) -> onnx.ModelProto:
    """A light model with He weights; its own are all the same number, of which nothing follows."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(seed)
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    sizes = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_type == onnx.TensorProto.INT64}
    made = [node for node in graph.node if node.op_type == "ConstantOfShape"]
    shapes |= {node.output[0]: tuple(int(d) for d in sizes[node.input[0]]) for node in made}
    for node in made:
        graph.node.remove(node)
    kept = [t for t in graph.initializer if t.name not in shapes]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    values = _weights(graph, shapes, rng)
    # What no node reads is listed as an input all the same.
    values |= {name: np.zeros(shapes[name], np.float32) for name in shapes if name not in values}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    return _calibrated(model, rng)


def _calibrated(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """The statistics of every batch norm are those of what it reads; else signals die out behind dozens of them."""
    if not any(node.op_type == "BatchNormalization" for node in model.graph.node):
        return model
    training = onnx.ModelProto()
    training.CopyFrom(model)
    training.ir_version = 8  # the converter asks of older ones that every weight is listed as an input
    training = version_converter.convert_version(training, 15)
    found = [node for node in training.graph.node if node.op_type == "BatchNormalization"]
    for i, node in enumerate(found):
        del node.output[1:]
        node.output.extend([f"mean/{i}", f"variance/{i}"])
        kept = [a for a in node.attribute if a.name == "epsilon"]
        del node.attribute[:]
        node.attribute.extend(
            [*kept, helper.make_attribute("training_mode", 1), helper.make_attribute("momentum", 0.0)]
        )
    names = [name for node in found for name in node.output[1:]]
    training.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(training.SerializeToString(), options, providers=["CPUExecutionProvider"])
    stored = {t.name: t for t in model.graph.initializer}
    feed = {
        v.name: rng.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim], np.float32)
        for v in model.graph.input
        if v.name not in stored
    }
    statistics = dict(zip(names, session.run(names, feed), strict=True))
    old = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    for i, node in enumerate(old):
        for name, value in ((node.input[3], statistics[f"mean/{i}"]), (node.input[4], statistics[f"variance/{i}"])):
            stored[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return model


def _weights(graph: onnx.GraphProto, shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> dict[str, Array]:
    values = {}
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in shapes and name not in values:
                values[name] = _drawn(node, position, shapes[name], rng).astype(np.float32)
    return values


def _drawn(node: onnx.NodeProto, position: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if node.op_type == "BatchNormalization":
        low, high = ((0.5, 1.5), (-0.1, 0.1), (-0.1, 0.1), (0.5, 1.5))[position - 1]
        return rng.uniform(low, high, shape)
    if len(shape) < 2 or node.op_type in ("Add", "Mul"):
        return rng.uniform(0.5, 1.5, shape) if node.op_type == "Mul" else 0.1 * rng.standard_normal(shape, np.float32)
    transposed = node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
    inner = shape[0] if transposed else int(np.prod(shape[1:]))
    return rng.standard_normal(shape, np.float32) * np.sqrt(2 / inner, dtype=np.float32)
