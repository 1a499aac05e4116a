"""Activations, arithmetic, branches, and rearrangements that every network has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .graph import F, Graph

UNARY = ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Softplus", "Neg", "Abs", "Identity", "HardSigmoid", "Selu",
         "Softsign", "Erf", "Sin", "Cos", "Atan")  # fmt: skip
SINCE = {"Celu": 12, "HardSwish": 14, "Mish": 18, "Gelu": 20}


def unary(g: Graph) -> None:
    names = [*UNARY, *(name for name, opset in SINCE.items() if g.opset >= opset)]
    op = str(g.pick(names))
    how: dict[str, Any] = {"approximate": "tanh"} if op == "Gelu" and g.chance(0.5) else {}
    g.op(op, g.last, **how)


def written_out(g: Graph) -> None:
    """Activations as exporters write them out."""
    x, how = g.last, g.number(0, 5)
    if how == 0:  # GELU by Erf
        inner = g.put("Add", g.put("Erf", g.put("Div", x, g.weight(math.sqrt(2)))), g.weight(1.0))
        g.op("Mul", g.put("Mul", x, inner), g.weight(0.5))
    elif how == 1:  # GELU by Tanh
        cube = g.put("Mul", g.weight(0.044715), g.put("Pow", x, g.weight(3.0)))
        inner = g.put("Tanh", g.put("Mul", g.put("Add", x, cube), g.weight(math.sqrt(2 / math.pi))))
        g.op("Mul", g.put("Mul", g.weight(0.5), x), g.put("Add", inner, g.weight(1.0)))
    elif how == 2:  # SiLU
        g.op("Mul", x, g.put("Sigmoid", x))
    elif how == 3:  # hard swish
        shifted = g.put("Add", x, g.weight(3.0))
        cut = g.put("Clip", shifted, min=0.0, max=6.0) if g.opset < 11 else g.put(
            "Clip", shifted, g.weight(0.0), g.weight(6.0)
        )  # fmt: skip
        g.op("Div", g.put("Mul", x, cut), g.weight(6.0))
    elif how == 4:  # Mish
        g.op("Mul", x, g.put("Tanh", g.put("Softplus", x)))
    else:
        g.op("PRelu", x, g.weight(g.rng.random((g.shape[0], *[1] * (len(g.shape) - 1)))))


def clip(g: Graph) -> None:
    """Between bounds that no rounded value meets: at a kink, either slope is right."""
    if g.opset < 11:
        g.op("Clip", g.last, min=-0.51, max=1.01)
    else:
        g.op("Clip", g.last, *g.pick([(g.weight(-0.51), g.weight(1.01)), (g.weight(-0.51),), ("", g.weight(1.01))]))


def affine(g: Graph) -> None:
    """Times and plus a constant: of one number, or one for each channel."""
    small = (1,) if g.chance(0.3) else (g.shape[0], *[1] * (len(g.shape) - 1))
    g.op(str(g.pick(["Mul", "Add", "Sub", "Div"])), g.last, g.weight(g.rng.random(small) + 0.5))


def residual(g: Graph) -> None:
    before, shape = g.last, g.shape
    for _ in range(g.number(1, 2)):
        g.pick((unary, unary, affine, written_out))(g)
    op = str(g.pick(["Add", "Mul", "Sub", "Max", "Min", "Concat", "Mean", "Sum"]))
    pair = (before, g.last) if g.chance(0.7) else (g.last, before)
    if op == "Concat":
        axis = g.number(0, len(shape) - 1)
        joined = tuple(n * (1 + (i == axis)) for i, n in enumerate(shape))
        g.op("Concat", *pair, shape=joined, axis=axis + 1)
    else:
        g.op(op, *pair)


def another(g: Graph) -> None:
    """A second input of the model: added, a gate, joined to the features, or a table looked up."""
    if len(g.given) > 1:
        return
    how = g.number(0, 3)
    if how == 3:
        rows = g.random(5, g.shape[-1])
        ids = g.another_input(g.shape[:-1], np.int64, most=5)
        g.op("Add", g.last, g.put("Gather", rows, ids, axis=0))
        return
    other = g.another_input(g.shape)
    if how == 2:
        g.op("Concat", g.last, other, shape=(*g.shape[:-1], 2 * g.shape[-1]), axis=len(g.shape))
    else:
        g.op("Add", g.last, other) if how == 0 else g.op("Mul", g.put("Sigmoid", other), g.last)


def condition(g: Graph) -> Any:
    """A choice between two values: of a constant, of another input, or of the value itself."""
    how = g.number(0, 2)
    if how == 0:
        return g.weight(g.rng.random(g.shape) < 0.6, bool)
    if how == 1 and len(g.given) < 2:
        return g.another_input(g.shape, bool)
    kind = g.pick(["Greater", "Less"])
    chosen = g.put(kind, g.last, g.weight(g.rng.normal() * 0.3))
    return g.put("Not", chosen) if g.chance(0.4) else chosen


def where(g: Graph) -> None:
    before = g.last
    chosen = condition(g)
    if g.chance(0.5):
        unary(g)
    pair = (g.last, g.weight(0.25) if g.chance(0.5) else before)
    g.op("Where", chosen, *(pair if g.chance(0.5) else pair[::-1]))


def transpose(g: Graph) -> None:
    g.transpose(*(int(i) for i in g.rng.permutation(len(g.shape))))


def reshape(g: Graph) -> None:
    size = math.prod(g.shape)
    first = int(g.pick([n for n in range(1, size + 1) if size % n == 0]))
    g.reshape(first, size // first)


def matmul(g: Graph) -> None:
    if len(g.shape) < 2:
        return
    out = g.number(2, 5)
    g.op("MatMul", g.last, g.random(g.shape[-1], out), shape=(*g.shape[:-1], out))
    if g.chance(0.5):
        g.op("Add", *(g.last, g.random(out))[:: g.pick([1, -1])])


def gemm(g: Graph) -> None:
    """As keras, torch and scikit-learn write a dense layer on rows."""
    if len(g.shape) != 1:
        return
    n, out = g.shape[0], g.number(2, 6)
    across = g.number(0, 1)
    weight = g.random(out, n) if across else g.random(n, out)
    bias = [g.random(out)] if g.chance(0.7) else []
    scale: dict[str, float] = {"alpha": 0.5, "beta": 2.0} if g.chance(0.3) else {}
    if not bias and g.opset < 11:
        bias = [g.random(out)]
    g.op("Gemm", g.last, weight, *bias, shape=(out,), transB=across, **scale)


def round_trip(g: Graph) -> None:
    """QuantizeLinear and DequantizeLinear, as quantisers write them."""
    if g.opset < 10:
        return
    low = g.pick([(128, np.uint8), (0, np.int8), (3, np.int8)])
    scale, zero = g.weight(0.02), g.weight(*low)
    g.op("DequantizeLinear", g.put("QuantizeLinear", g.last, scale, zero), scale, zero)
    g.quantized = True


def whole_weights(g: Graph) -> None:
    """A dense layer whose weights are stored as int8, by one scale or one for each column: nothing is rounded."""
    if len(g.shape) < 2 or g.opset < 10:
        return
    n, out = g.shape[-1], g.number(2, 5)
    stored = g.weight(g.rng.integers(-127, 128, (n, out)), np.int8)
    each = g.opset >= 13 and g.chance(0.5)
    scale = g.weight(g.rng.random(out) * 0.01 + 0.001) if each else g.weight(0.005)
    zero = g.weight(np.zeros(out), np.int8) if each else g.weight(0, np.int8)
    axis = {"axis": 1} if each else {}
    g.op("MatMul", g.last, g.put("DequantizeLinear", stored, scale, zero, **axis), shape=(*g.shape[:-1], out))


def cast(g: Graph) -> None:
    """To double and back, or an operator that does nothing at inference."""
    if g.chance(0.5):
        g.op("Cast", g.put("Cast", g.last, to=11), to=1)
    elif g.opset < 12:
        g.op("Dropout", g.last, ratio=0.4)
    else:
        g.op("Dropout", g.last, g.weight(0.4))


def product_with_itself(g: Graph) -> None:
    """x xᵀ: both factors are activations."""
    if len(g.shape) < 2:
        return
    order = (*range(len(g.shape) - 2), len(g.shape) - 1, len(g.shape) - 2)
    across = g.put("Transpose", g.last, perm=[0, *(i + 1 for i in order)])
    g.op("MatMul", g.last, across, shape=(*g.shape[:-1], g.shape[-2]))
    g.op("Mul", g.last, g.weight(0.25, F))


LAYERS = (
    unary, unary, written_out, clip, affine, residual, residual, another, where, transpose, reshape, matmul, gemm,
    round_trip, whole_weights, cast, product_with_itself,
)  # fmt: skip
