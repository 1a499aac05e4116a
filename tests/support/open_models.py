"""Models that leave the sizes of their input open."""

from __future__ import annotations

import onnx

from .tiny_models import conv, model, node, values


def pooled(*sizes: int | str, classes: int = 3, pads: int = 0) -> onnx.ModelProto:
    """Convolution, ReLU, mean over all places, dense layer; `sizes` are the input's axes after the channels."""
    weights = {"w": values(4, 3, *[3] * len(sizes)), "d": values(4, classes, seed=1)}
    layers = [
        conv("x", "c", "w"),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "d"], ["y"]),
    ]
    return model(layers, weights, shape=("N", 3, *sizes))
