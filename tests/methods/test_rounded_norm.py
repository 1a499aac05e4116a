"""A linear layer, a rounding and a normalisation: one layer to relevance, in every spelling.

Weights and inputs are small whole numbers and scales powers of two, so that no rounding changes a value: the map of a
spelling is that of the network without roundings, whose layers are folded by hand in numpy, and not nearly.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

import onnxlrp
from onnxlrp.methods.presets import lrp
from onnxlrp.rules.lrp import Epsilon, ZPlus
from support.arrays import Array

CHANNELS, OUT, SIDE = 2, 3, 4
_RNG = np.random.default_rng(3)
X = _RNG.integers(-2, 3, (2, CHANNELS, SIDE, SIDE)).astype(np.float32)
W = _RNG.integers(-1, 2, (OUT, CHANNELS, 3, 3)).astype(np.float32)
B = np.array([1, -2, 3], np.float32)
FACTOR, MEAN, SHIFT = (np.array(row, np.float32) for row in ([0.5, 2, 1], [1, 0, -2], [2, 1, 4]))
V = _RNG.integers(-2, 3, (2, OUT)).astype(np.float32)

BN = "n = BatchNormalization <epsilon = 0.0> ({}, factor, shift, mean, variance)"
ROUND = "{0}q = QuantizeLinear ({0}, step, zero) {0}d = DequantizeLinear ({0}q, step, zero)"
CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)"
SPELLINGS = {
    "no rounding": f"{CONV} {BN.format('c')}",
    "rounded": f"{CONV} {ROUND.format('c')} {BN.format('cd')}",
    "rounded twice": f"{CONV} {ROUND.format('c')} {ROUND.format('cd')} {BN.format('cdd')}",
    "rounded, then nothing": f"{CONV} {ROUND.format('c')} i = Identity (cd) {BN.format('i')}",
    "nothing, then rounded": f"{CONV} i = Identity (c) {ROUND.format('i')} {BN.format('id')}",
    "a step for each channel": f"{CONV} q = QuantizeLinear <axis = 1> (c, steps, zeros) "
    f"d = DequantizeLinear <axis = 1> (q, steps, zeros) {BN.format('d')}",
    "16 bits": f"{CONV} q = QuantizeLinear (c, step, zero16) d = DequantizeLinear (q, step, zero16) {BN.format('d')}",
    "a bias behind the rounding": "c = Conv <pads = [1, 1, 1, 1]> (x, w) "
    f"{ROUND.format('c')} a = Add (cd, b1) {ROUND.format('a')} {BN.format('ad')}",
    "a factor and a shift": f"{CONV} {ROUND.format('c')} s = Sub (cd, mean1) {ROUND.format('s')} "
    f"m = Mul (sd, factor1) {ROUND.format('m')} n = Add (md, shift1)",
    "a factor before the rounding": f"{CONV} m = Mul (c, factor1) {ROUND.format('m')} n = Add (md, rest1)",
    "of integers": "xq = QuantizeLinear (x, one, zero) c = QLinearConv <pads = [1, 1, 1, 1]> "
    f"(xq, one, zero, wq, one, zero, step, zero, bq) d = DequantizeLinear (c, step, zero) {BN.format('d')}",
    "a product of rows": "f = Flatten (x) p = MatMul (f, dense) "
    f"{ROUND.format('p')} m = Mul (pd, factors) {ROUND.format('m')} s = Add (md, shifts) n = Reshape (s, shape)",
}  # fmt: skip
HEAD = "r0 = Relu (n) g = GlobalAveragePool (r0) h = Flatten (g) y = Gemm <transB = 1> (h, v)"


def dense() -> Array:
    """The convolution as a matrix [inputs, outputs]."""
    matrix = np.zeros((CHANNELS, SIDE, SIDE, OUT, SIDE, SIDE), np.float32)
    for i in range(SIDE):
        for j in range(SIDE):
            for a in range(3):
                for b in range(3):
                    if 0 <= i + a - 1 < SIDE and 0 <= j + b - 1 < SIDE:
                        matrix[:, i + a - 1, j + b - 1, :, i, j] += W[:, :, a, b].T
    return matrix.reshape(CHANNELS * SIDE * SIDE, -1)


def model(spelling: str) -> onnx.ModelProto:
    made = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[N, {CHANNELS}, {SIDE}, {SIDE}] x) => (float[N, 2] y) '
        f"{{ {SPELLINGS[spelling]} {HEAD} }}"
    )
    step = np.float32(0.5)  # ±64 in steps that hold every half
    one_axis = {"b1": B, "mean1": MEAN, "factor1": FACTOR, "shift1": SHIFT, "rest1": SHIFT - MEAN * FACTOR}
    known = {
        "w": W, "b": B, "v": V, "factor": FACTOR, "shift": SHIFT, "mean": MEAN, "variance": np.ones(OUT, np.float32),
        "step": step, "zero": np.int8(0), "zero16": np.int16(0), "one": np.float32(1), "wq": W.astype(np.int8),
        "bq": B.astype(np.int32), "steps": np.array([0.5, 0.25, 0.5], np.float32), "zeros": np.zeros(OUT, np.int8),
        "dense": dense(), "shape": np.array([-1, OUT, SIDE, SIDE]),
        "factors": np.repeat(FACTOR, SIDE * SIDE), "shifts": np.repeat((B - MEAN) * FACTOR + SHIFT, SIDE * SIDE),
        **{name: value.reshape(-1, 1, 1) for name, value in one_axis.items()},
    }  # fmt: skip
    read = {name for node in made.graph.node for name in node.input}
    made.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in known.items() if k in read)
    return made


def by_hand() -> tuple[Array, Array]:
    """The scores of class 0, and relevance under z⁺ with ε = 0 of the folded network, in float64."""
    matrix = (dense().reshape(-1, OUT, SIDE * SIDE) * FACTOR[:, None]).reshape(CHANNELS * SIDE * SIDE, -1)
    matrix = matrix.astype(np.float64)
    bias = np.repeat((B - MEAN) * FACTOR + SHIFT, SIDE * SIDE)
    x = X.reshape(2, -1).astype(np.float64)
    z = np.maximum(x @ matrix + bias, 0)
    contribution = z * np.repeat(V[0], SIDE * SIDE) / SIDE**2
    parts = x[:, :, None] * matrix
    positive = np.maximum(parts, 0).sum(axis=1) + np.maximum(bias, 0)
    quotient = np.divide(contribution, positive, out=np.zeros_like(positive), where=positive > 0)
    return contribution.sum(axis=1), (np.maximum(parts, 0) * quotient[:, None]).sum(axis=2).reshape(X.shape)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_has_the_map_of_the_folded_layer(spelling: str) -> None:
    scores, relevance = by_hand()
    rules = lrp("first z+", Epsilon(1e-12), Epsilon(1e-12), 1e-12, [("first", ZPlus(1e-12))])
    got = onnxlrp.load(model(spelling), engine="reference").explain(X, target=0, method=rules)
    assert np.allclose(np.asarray(got.logit).reshape(-1), scores, atol=1e-6)
    assert np.allclose(got.relevance, relevance, atol=1e-6)
    assert np.abs(relevance).max() > 0.1
