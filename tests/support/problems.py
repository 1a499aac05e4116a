"""Small problems for the tests of methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnxlrp.engines import Engine
from onnxlrp.engines.reference import Reference
from onnxlrp.methods.problem import Problem
from onnxlrp.methods.registry import Attribution, make
from onnxlrp.model import Model

from . import small_nets


def model(build: Callable[[small_nets.Net], str], *shape: int, engine: Engine | None = None) -> Model:
    """A model of a small network, on the reference engine."""
    n = small_nets.Net(*shape)
    return Model(small_nets.load(n.model(build(n))), engine or Reference())


def convolutional(bias: bool = True) -> Model:
    """[N, 3, 8, 8] → [N, 4], with ReLUs, a pooling and a dense layer."""

    def build(n: small_nets.Net) -> str:
        y = n.relu(n.conv("x", 3, 5, bias=bias))
        y = n.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
        y = n.relu(n.conv(y, 5, 6, bias=bias))
        return n.dense(n.op("Flatten", y), 6 * 16, 4, bias=bias)

    return model(build, 3, 8, 8)


def problem(asked: Model | None = None, samples: int = 2, **options: Any) -> Problem:
    asked = convolutional() if asked is None else asked
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, *asked.graph.inputs[0].shape))
    ids = rng.integers(asked.classes, size=samples)
    return Problem(asked, x, ids, **options)


def explain(name: str, given: Problem | None = None, **options: Any) -> Attribution:
    return make(name, **options)(given or problem())
