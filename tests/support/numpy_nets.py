"""Layers in float64 by loops over their definitions, and what a forward pass says of relevance.

Nothing of onnxlrp is used here: these are the right values of the tests that re-enact reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import onnxlrp

from .arrays import Array

F = np.float32
Forward = Callable[[Array], Array]


def conv(x: Array, weight: Array, bias: Any = 0.0, *, stride: int = 1, pad: int = 0, dilation: int = 1,
         group: int = 1) -> Array:  # fmt: skip
    """y[o, p] = b[o] + Σ_{c, k} w[o, c, k] x[c, s p + d k − pad], over any number of spatial axes; x is [C, …]."""
    sides, kernel = x.shape[1:], weight.shape[2:]
    out = [(n + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(sides, kernel, strict=True)]
    y = np.zeros((len(weight), *out)) + np.reshape(bias, (-1, *[1] * len(sides)))
    per, filters = weight.shape[1], len(weight) // group
    for o in range(len(weight)):
        first = o // filters * per
        for place, tap in product(np.ndindex(*out), np.ndindex(*kernel)):
            at = tuple(stride * p + dilation * k - pad for p, k in zip(place, tap, strict=True))
            if all(0 <= a < n for a, n in zip(at, sides, strict=True)):
                y[(o, *place)] += sum(weight[(o, c, *tap)] * x[(first + c, *at)] for c in range(per))
    return y


def windows(x: Array, size: int, stride: int, how: Callable[[Array], Any]) -> Array:
    """`how` of every window of a map [C, H, W]."""
    out = [(n - size) // stride + 1 for n in x.shape[1:]]
    y = np.zeros((len(x), *out))
    for c, i, j in np.ndindex(*y.shape):
        y[c, i, j] = how(x[c, i * stride : i * stride + size, j * stride : j * stride + size])
    return y


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def slope(f: Forward, x: Array, step: float = 1e-6) -> Array:
    """∂f/∂x of a number f, by central differences in float64."""
    x = np.asarray(x, np.float64)
    found = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        found[at] = (float(f(x + moved)) - float(f(x - moved))) / (2 * step)
    return found


def model(nodes: Sequence[onnx.NodeProto], shape: Sequence[Any], constants: dict[str, Any], *, opset: int = 17,
          batch: Any = "N", more: Sequence[onnx.ValueInfoProto] = (), dtype: int = 1) -> onnx.ModelProto:  # fmt: skip
    """A model of x [N, *shape] and y; floats among the constants are of single precision."""
    stored = {
        name: np.asarray(value, F) if np.asarray(value).dtype == np.float64 else np.asarray(value)
        for name, value in constants.items()
    }
    graph = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info("x", dtype, [batch, *shape]), *more],
        [helper.make_tensor_value_info("y", dtype if dtype != 7 else 1, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """`node("Conv", "x w b", "h")`; "-" stands for an input that is left out."""
    return helper.make_node(op, ["" if name == "-" else name for name in inputs.split()], [output], name=output,
                            **attributes)  # fmt: skip


def near(found: Any, wanted: Any, tolerance: float = 1e-4) -> None:
    """Equal to a share of the largest magnitude."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    assert np.isfinite(found).all()
    assert np.abs(found - wanted).max() <= tolerance * max(float(np.abs(wanted).max()), 1e-6)


def check(
    proto: onnx.ModelProto, f: Forward, x: Array, *, target: int = 0, linear: bool = True, **keywords: Any
) -> None:
    """The gradient is that of f; LRP-ε, where the network is piecewise linear, x ⊙ gradient (Ancona et al. 2018).

    Args:
        proto: The model.
        f: Its logits [K] of one sample, in float64.
        x: Samples [N, …].
        target: The class.
        linear: Whether only ReLUs, maxima and linear layers lie between x and the logits.
        **keywords: Of `explain`.
    """
    wanted = np.array([slope(lambda one: f(one)[target], sample) for sample in x])
    for engine in ("ort", "reference"):
        loaded = onnxlrp.load(proto, engine=engine)
        found = loaded.explain(x, target=target, method="gradient", **keywords)
        near(found.relevance, wanted)
        near(found.logit, [f(sample)[target] for sample in x])
        if linear:
            relevance = loaded.explain(x, target=target, method="epsilon", epsilon=1e-9, **keywords).relevance
            near(relevance, x * wanted, 1e-3)
