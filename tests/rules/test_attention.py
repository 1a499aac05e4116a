"""Attention: a product of activations as matrices, and the softmax between its two products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.composites import Composite
from onnxlrp.explanation import ledger
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from onnxlrp.rules.attention import Softmax
from onnxlrp.rules.lrp import Norm, Pass
from support import small_nets
from support.conformance import each_engine, prepared

TOKENS, WIDTH, HEADS = 5, 4, 2


def attention(n: Any, x: str = "x") -> Any:
    """Two heads, as exporters write them: [N, tokens, width] → [N, tokens, width]."""

    def heads(weight: Any) -> Any:
        y = n.op("MatMul", x, weight)
        y = n.op("Reshape", y, np.array([0, TOKENS, HEADS, WIDTH // HEADS]))
        return n.op("Transpose", y, perm=[0, 2, 1, 3])

    q, k, v = (heads(n.rng.normal(size=(WIDTH, WIDTH))) for _ in range(3))
    scores = n.op("Mul", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2])), np.array(0.7))
    y = n.op("MatMul", n.op("Softmax", scores, axis=-1), v)
    y = n.op("Transpose", y, perm=[0, 2, 1, 3])
    return n.op("Reshape", y, np.array([0, TOKENS, WIDTH]))


def graph_of(build: Any, *shape: Any, inputs: Any = ("x",)) -> Any:
    n = small_nets.Net(*shape)
    return small_nets.as_it_stands(n.model(n.op("Neg", build(n)), inputs=inputs))


def run(
    graph: Any, composite: Any, engine: Any, relevance: Any, explained: str = "x", targets: Any = None, **inputs: Any
) -> Any:
    program = small_nets.compile(graph, composite, mode="relevance", explained=explained, targets=targets)
    feeds = {name: value.astype(np.float32) for name, value in {**inputs, SEED: relevance}.items()}
    return prepared(engine, small_nets.forward(graph), program)(feeds)["relevance"]


@pytest.mark.few(5)
@each_engine
@pytest.mark.parametrize("targets", [None, 3])
def test_half_of_a_matrix_product_goes_to_each_factor(name: str, targets: int | None) -> None:
    """R_a = a (R / (2 a b)) bᵀ, R_b = b aᵀ (R / (2 a b)) (Achtibat et al. 2024, eq. 13)."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 3, 3)), rng.normal(size=(2, 2, 3, 3))
    graph = graph_of(lambda n: n.op("MatMul", "x", "z"), 2, 3, 3, inputs=("x", "z"))
    lead = () if targets is None else (targets,)
    r = rng.normal(size=(*lead, 2, 2, 3, 3))
    y = 2 * (a @ b)
    s = r / (y + 1e-6 * np.where(y >= 0, 1, -1))
    rules = Composite((("bilinear", Norm()), ("*", Pass())))
    expected = {"x": a * (s @ b.swapaxes(-1, -2)), "z": b * (a.swapaxes(-1, -2) @ s)}
    for explained, wanted in expected.items():
        got = run(graph, rules, name, r, explained, targets, x=a, z=b)
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max())


@each_engine
@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_is_expanded_at_its_input(name: str, axis: int) -> None:
    """R_x = x (R - p ΣR)."""
    rng = np.random.default_rng(1)
    x, r = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    p = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
    graph = graph_of(lambda n: n.op("Softmax", "x", axis=axis), 3, 4)
    got = run(graph, Composite((("softmax", Softmax()), ("*", Pass()))), name, r, x=x)
    np.testing.assert_allclose(got, x * (r - p * r.sum(axis=axis, keepdims=True)), rtol=1e-4, atol=1e-5)


@each_engine
def test_gradient_of_attention_is_its_slope(name: str) -> None:
    rng = np.random.default_rng(2)
    graph = graph_of(attention, TOKENS, WIDTH)
    x, r = rng.normal(size=(2, TOKENS, WIDTH)), rng.normal(size=(2, TOKENS, WIDTH))
    got = run(graph, make_composite("gradient"), name, r, x=x)
    program = small_nets.compile(graph, make_composite("gradient"), mode="relevance", explained="x")
    scores = prepared("reference", small_nets.forward(graph), program)
    for _ in range(4):
        step = rng.normal(size=x.shape)
        ahead, behind = (scores({"x": x + h * step, SEED: r})["logits"] for h in (1e-5, -1e-5))
        slope = (r * (ahead - behind) / 2e-5).sum(axis=(1, 2))
        np.testing.assert_allclose((got * step).sum(axis=(1, 2)), slope, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["epsilon_plus", "epsilon", "attention", "attention_flat", "attnlrp"])
def test_the_ledger_of_attention_closes(method: str) -> None:
    graph = graph_of(attention, TOKENS, WIDTH)
    program = small_nets.compile(graph, make_composite(method), explained="x", ledger=True)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, TOKENS, WIDTH))
    outputs = prepared("reference", small_nets.forward(graph), program)({"x": x, SEED: np.zeros(4, np.int64)})
    rows = ledger.rows(program.notes["ledger"], outputs)
    assert {"softmax", "norm"} <= {row.rule for row in rows} or {"stop", "value"} <= {row.rule for row in rows}
    for row in rows:
        assert np.all(np.abs(row.residual) <= 1e-8 * np.maximum(row.scale, 1e-9)), row
