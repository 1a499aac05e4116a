"""Small problems for the tests of methods."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxlrp.engines.reference import Reference
from onnxlrp.methods.problem import Problem
from onnxlrp.methods.registry import make
from onnxlrp.model import Model

from . import small_nets


def model(build: Any, *shape: Any, engine: Any = None) -> Any:
    """A model of a small network, on the reference engine."""
    n = small_nets.Net(*shape)
    return Model(small_nets.load(n.model(build(n))), engine or Reference())


def convolutional(bias: bool = True) -> Any:
    """[N, 3, 8, 8] → [N, 4], with ReLUs, a pooling and a dense layer."""

    def build(n: Any) -> Any:
        y = n.relu(n.conv("x", 3, 5, bias=bias))
        y = n.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
        y = n.relu(n.conv(y, 5, 6, bias=bias))
        return n.dense(n.op("Flatten", y), 6 * 16, 4, bias=bias)

    return model(build, 3, 8, 8)


def problem(asked: Any = None, samples: int = 2, **options: Any) -> Any:
    asked = convolutional() if asked is None else asked
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, *asked.graph.inputs[0].shape))
    ids = rng.integers(asked.classes, size=samples)
    return Problem(asked, x, ids, **options)


def explain(name: Any, given: Any = None, **options: Any) -> Any:
    return make(name, **options)(given or problem())
