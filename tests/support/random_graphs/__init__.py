"""Random valid graphs: a chain of layers with branches, in the spellings of opsets 9 to 23, from a seed.

Every graph takes x [N, …] with any batch, or a batch of one that is written down, perhaps further inputs, and gives
y [N, K].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import helper

from . import attention, normalizing, plain, rearranging, spatial, unread
from .graph import F, Graph, Made

__all__ = ["Made", "random_model"]

Layer = Callable[[Graph], None]
SHAPES = ((2, 5, 6), (3, 8), (7,), (1, 6, 6), (4, 3), (4, 4, 4), (6, 4), (12,), (3, 7, 5))
ANYWHERE: tuple[tuple[float, tuple[Layer, ...]], ...] = (
    (0.45, plain.LAYERS),
    (0.25, (*rearranging.LAYERS, *spatial.EVERYWHERE)),
    (0.17, normalizing.LAYERS),
    (0.12, attention.LAYERS),
    (0.01, unread.LAYERS),
)
MOST = 400  # values of a sample between two layers


def _layer(g: Graph) -> Layer:
    if len(g.shape) in (2, 3) and g.chance(0.4):
        return g.pick(spatial.LAYERS)
    kinds = g.pick(range(100)) / 100
    for share, layers in ANYWHERE:
        kinds -= share
        if kinds < 0:
            return g.pick(layers)
    return g.pick(plain.LAYERS)


def random_model(seed: int) -> Made:
    """Return a model and what it is judged on.

    Args:
        seed: The same seed gives the same model.
    """
    rng = np.random.default_rng(seed)
    g = Graph(rng, int(rng.integers(9, 24)), SHAPES[int(rng.integers(len(SHAPES)))])
    for _ in range(g.number(1, 8)):
        if math.prod(g.shape) <= MOST:
            _layer(g)(g)
    classes = g.number(2, 4)
    _head(g, classes)
    g.nodes[-1].output[0] = "y"
    batch: Any = "N" if g.chance(0.8) else 1
    model = g.model([helper.make_tensor_value_info("y", 1, [batch, classes])], batch)
    return Made(model, rng.normal(size=(3, *g.sample)).astype(F), g.given, g.quantized)


def _head(g: Graph, classes: int) -> None:
    size = math.prod(g.shape)
    if g.chance(0.5):
        g.op("Flatten", g.last, shape=(size,), axis=1)
    else:
        g.reshape(size)
    if g.chance(0.5):
        g.op("Gemm", g.last, g.random(classes, size), g.random(classes), shape=(classes,), transB=1)
    else:
        g.op("MatMul", g.last, g.random(size, classes), shape=(classes,))
    if g.chance(0.3):
        g.op("Softmax", g.last, axis=1)
    elif g.chance(0.1):
        g.op(g.pick(["LogSoftmax", "Sigmoid"]), g.last)
