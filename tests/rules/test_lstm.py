"""An unrolled LSTM against the rules of Arras et al. (2017), written here in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from support.arrays import Array

STEPS, WIDTH, CELLS, EPSILON = 50, 3, 6, 1e-6
RNG = np.random.default_rng(1)
KERNEL = RNG.normal(size=(WIDTH + CELLS, 4 * CELLS)).astype(np.float32) * 0.6
BIAS = RNG.normal(size=4 * CELLS).astype(np.float32) * 0.1
HEAD = RNG.normal(size=(CELLS, 2)).astype(np.float32)


def lstm() -> onnx.ModelProto:
    """The model with gates i, f, o, g side by side, as exporters unroll it: [N, steps, width] → [N, 2]."""
    arrays = {"kernel": KERNEL, "bias": BIAS, "head": HEAD, "four": np.array([CELLS] * 4)}
    nodes = []

    def op(kind: str, *inputs: str, out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, out.split(","), name=f"node/{out}", **attributes))
        return out

    h = c = ""
    for t in range(STEPS):
        arrays[f"t{t}"] = np.array(t)
        x = op("Gather", "x", f"t{t}", out=f"x{t}", axis=1)
        if not t:  # the state before the first step is zero, and depends on no input
            arrays["zeros"] = np.zeros((WIDTH, CELLS), np.float32)
            h, c = (op("MatMul", x, "zeros", out=name) for name in ("h/0", "c/0"))
        z = op("Concat", x, h, out=f"z{t}", axis=1)
        z = op("Gemm", z, "kernel", "bias", out=f"a{t}")
        op("Split", z, "four", out=",".join(f"{gate}{t}" for gate in "ifog"), axis=1)
        i, f, o = (op("Sigmoid", f"{gate}{t}", out=f"{gate}{t}/s") for gate in "ifo")
        g = op("Tanh", f"g{t}", out=f"g{t}/t")
        c = op("Add", op("Mul", f, c, out=f"fc{t}"), op("Mul", i, g, out=f"ig{t}"), out=f"c{t}")
        h = op("Mul", o, op("Tanh", c, out=f"c{t}/t"), out=f"h{t}")
    op("MatMul", h, "head", out="y")
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", STEPS, WIDTH])]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])]
    weights = [numpy_helper.from_array(a, name) for name, a in arrays.items()]
    graph = helper.make_graph(nodes, "lstm", values, out, weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def epsilon_rule(x: Array, w: Array, z: Array, r: Array) -> Array:
    """R_i = Σ_j x_i w_ij R_j / (z_j + ε sgn z_j), what bias and ε absorb is lost (δ = 0 in the paper)."""
    return x * (w @ (r / (z + EPSILON * np.where(z >= 0, 1, -1))))


def arras(x: Array, target: int) -> tuple[Array, float]:
    """Relevance of one sample [steps, width] and its logit: ε in linear maps, all of a product to the signal."""
    kernel, bias, head = (a.astype(np.float64) for a in (KERNEL, BIAS, HEAD))
    h, c, states = np.zeros(CELLS), np.zeros(CELLS), []
    for row in x.astype(np.float64):
        joint = np.concatenate([row, h])
        a = joint @ kernel + bias
        i, f, o = (sigmoid(part) for part in np.split(a, 4)[:3])
        kept, new = f * c, i * np.tanh(a[3 * CELLS :])
        c = kept + new
        h = o * np.tanh(c)
        states.append((joint, a, kept, new, c))
    logits = h @ head
    r_h = epsilon_rule(h, head[:, [target]], logits[[target]], logits[[target]])
    r_c, result = np.zeros(CELLS), np.zeros_like(x, np.float64)
    for t in reversed(range(STEPS)):
        joint, a, kept, new, c = states[t]
        r_c = r_c + r_h  # the output gate gets nothing, tanh passes
        share = r_c / (c + EPSILON * np.where(c >= 0, 1, -1))
        r_joint = epsilon_rule(joint, kernel[:, 3 * CELLS :], a[3 * CELLS :], new * share)
        result[t], r_h, r_c = r_joint[:WIDTH], r_joint[WIDTH:], kept * share
    return result, float(logits[target])


@pytest.mark.few(1)
@pytest.mark.parametrize("engine", ["reference", "ort"])
def test_an_unrolled_lstm_follows_arras(engine: str) -> None:
    x = np.random.default_rng(2).normal(size=(3, STEPS, WIDTH)).astype(np.float32)
    found = onnxlrp.load(lstm(), engine=engine).explain(x, target=1, method="epsilon")
    for sample, relevance in zip(x, found.relevance, strict=True):
        wanted, logit = arras(sample, 1)
        assert abs(relevance.sum()) <= 2 * abs(logit) + 0.1
        np.testing.assert_allclose(relevance, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
