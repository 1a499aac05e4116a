"""Figures of a table, a signal, a volume and a text: `python docs/kinds.py docs/pictures/`.

The networks have a layer or two, with weights written by hand, so that it is known what they look for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

node = helper.make_node
RNG = np.random.default_rng(0)


def model(
    nodes: Sequence[onnx.NodeProto], weights: dict[str, Any], shape: tuple[int, ...], kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """Return a model from the input "x" to the scores "y"."""
    typed = {k: np.asarray(v, np.int64 if np.asarray(v).dtype.kind == "i" else np.float32) for k, v in weights.items()}
    graph = helper.make_graph(
        nodes,
        "kind",
        [helper.make_tensor_value_info("x", kind, ("N", *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in typed.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def table() -> onnxlrp.Explanation:
    """A risk that grows with age, blood pressure and smoking, and falls with exercise."""
    names = ["age", "blood pressure", "cholesterol", "body mass index", "smoker", "exercise", "heart rate", "height"]
    scale = np.array([0.04, 0.02, 0.004, 0.05, 0.9, -0.25, 0.01, -0.002])[:, np.newaxis]
    linear = model([node("MatMul", ["x", "w"], ["y"])], {"w": scale}, (8,))
    x = np.array([61, 148, 212, 31.4, 1, 4, 72, 171], np.float32)
    return onnxlrp.load(linear, prep={"labels": ["risk"]}).explain(x, target=0, feature_names=names)


def signal() -> onnxlrp.Explanation:
    """A filter for one early beat, seen in two of three leads."""
    t = np.arange(600)
    beats = sum(np.exp(-0.5 * ((t - at) / 6) ** 2) for at in (70, 170, 270, 330, 470, 570))
    wide = np.exp(-0.5 * ((t - 330) / 16) ** 2)
    x = np.stack([beats + 0.9 * wide, 0.6 * beats - 0.7 * wide, 0.4 * beats]) + 0.03 * RNG.normal(size=(3, 600))
    shape = np.exp(-0.5 * (np.arange(-40, 41) / 16) ** 2)
    shape -= shape.mean()
    filters = np.stack([shape, -shape, 0 * shape])[np.newaxis] / 9
    layers = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[40, 40]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["y"]),
    ]
    ecg = model(layers, {"w": filters, "b": [-1.2]}, (3, 600))
    return onnxlrp.load(ecg, prep={"labels": ["early beat"]}).explain(
        x.astype(np.float32), target=0, method="epsilon", feature_names=["I", "II", "V1"]
    )


def volume() -> onnxlrp.Explanation:
    """A filter for bright balls of one size."""
    z, y, x = np.mgrid[:20, :36, :36]
    body = ((z - 10) / 9) ** 2 + ((y - 18) / 15) ** 2 + ((x - 18) / 15) ** 2 < 1
    ball = (z - 7) ** 2 + (y - 13) ** 2 + (x - 22) ** 2 < 9
    scan = (0.4 * body + 0.6 * ball + 0.03 * RNG.normal(size=z.shape))[np.newaxis].astype(np.float32)
    far = np.sqrt(((np.mgrid[:7, :7, :7] - 3) ** 2).sum(axis=0))
    inside, around = far < 3, (far >= 3) & (far < 4)
    filters = (inside / inside.sum() - around / around.sum())[np.newaxis, np.newaxis]
    layers = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[3] * 6),
        node("Relu", ["c"], ["r"]),
        node("GlobalMaxPool", ["r"], ["p"]),
        node("Flatten", ["p"], ["y"]),
    ]
    finder = model(layers, {"w": filters, "b": [-0.1]}, (1, 20, 36, 36))
    return onnxlrp.load(finder, prep={"labels": ["ball"]}).explain(scan, 0, "epsilon")


def text() -> onnxlrp.Explanation:
    """A score for each word, added up."""
    line = "the film was slow and far too long , but its music is lovely and the ending a delight"
    words = line.split()
    known = list(dict.fromkeys(words))
    scores = {"slow": -1.2, "long": -0.8, "too": -0.4, "but": 0.3, "lovely": 1.6, "delight": 1.9, "music": 0.4}
    table = np.array([[scores.get(word, 0.05)] for word in known])
    layers = [node("Gather", ["e", "x"], ["g"]), node("ReduceSum", ["g", "axes"], ["y"], keepdims=0)]
    reader = model(layers, {"e": table, "axes": [1]}, (len(words),), TensorProto.INT64)
    ids = np.array([known.index(word) for word in words])
    return onnxlrp.load(reader, prep={"labels": ["praise"]}).explain(
        ids, 0, "occlusion", window=1, stride=1, feature_names=known
    )


if __name__ == "__main__":
    for made in (table, signal, volume, text):
        made().save(f"{sys.argv[1]}kind_{made.__name__}.png")
