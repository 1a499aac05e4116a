"""Attention weights as factors: the rules value and stop, and the addition of positions, written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.composites import Composite, Matched, matches
from onnxlrp.graph.recognition.attention import adds_positions, has_attention, weights_of
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from onnxlrp.rules.attention import Stop, ValuePath
from onnxlrp.rules.lrp import Epsilon, Norm, Pass
from support import small_nets
from support.conformance import each_engine, prepared

TOKENS, WIDTH = 4, 3
RULES = Composite((("bilinear", ValuePath()), ("softmax", Stop()), ("*", Pass())))


def load(build: Any, *shape: int, inputs: tuple[str, ...] = ("x",)) -> Any:
    n = small_nets.Net(*shape)
    return small_nets.load(n.model(n.op("Neg", build(n)), inputs=inputs))


def relevance(graph: Any, composite: Any, engine: str, r: Any, explained: str, **inputs: Any) -> Any:
    program = small_nets.compile(graph, composite, mode="relevance", explained=explained)
    feeds = {name: value.astype(np.float32) for name, value in {**inputs, SEED: r}.items()}
    return prepared(engine, small_nets.forward(graph), program)(feeds)["relevance"]


def softmax(x: Any) -> Any:
    p = np.exp(x - x.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


@pytest.mark.few(4)
@each_engine
@pytest.mark.parametrize("turned", [False, True])
def test_values_take_all_and_weights_nothing(name: str, turned: bool) -> None:
    """R_v = v ⊙ Aᵀ(R / A v) and R_A = 0 (Ali et al. 2022), for A v and for vᵀ Aᵀ."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 1, TOKENS, TOKENS)), rng.normal(size=(2, 1, TOKENS, TOKENS))
    r = rng.normal(size=x.shape)

    def build(n: Any) -> Any:
        weights = n.op("Softmax", "x", axis=-1)
        return (
            n.op("MatMul", "z", n.op("Transpose", weights, perm=[0, 1, 3, 2]))
            if turned
            else n.op("MatMul", weights, "z")
        )

    graph = load(build, 1, TOKENS, TOKENS, inputs=("x", "z"))
    a = softmax(x)
    v, seed = (z.swapaxes(-1, -2), r.swapaxes(-1, -2)) if turned else (z, r)
    y = a @ v
    s = seed / (y + 1e-6 * np.where(y >= 0, 1, -1))
    wanted = v * (a.swapaxes(-1, -2) @ s)
    got = relevance(graph, RULES, name, r, "z", x=x, z=z)
    np.testing.assert_allclose(
        got.swapaxes(-1, -2) if turned else got, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max()
    )
    assert np.abs(relevance(graph, RULES, name, r, "x", x=x, z=z)).max() == 0


@each_engine
def test_a_product_without_weights_is_shared(name: str) -> None:
    rng = np.random.default_rng(1)
    x, z, r = (rng.normal(size=(2, 1, TOKENS, TOKENS)) for _ in range(3))
    graph = load(lambda n: n.op("MatMul", "x", "z"), 1, TOKENS, TOKENS, inputs=("x", "z"))
    norm = Composite((("bilinear", Norm()), ("*", Pass())))
    for explained in "xz":
        got, shared = (relevance(graph, c, name, r, explained, x=x, z=z) for c in (RULES, norm))
        np.testing.assert_allclose(got, shared, rtol=1e-6)


def form(name: str) -> Any:
    """A way to write what stands between a softmax and the product of its weights."""

    def build(n: Any) -> Any:
        a = n.op("Softmax", "x", axis=-1)
        if name == "masked":
            a = n.op("Where", np.tri(TOKENS, dtype=bool), a, np.array(0.0))
        if name == "scaled":
            a = n.op("Mul", a, np.array(1.25))
        if name == "divided by its sum":
            total = n.op("ReduceSum", a, np.array([-1]), keepdims=1)
            a = n.op("Div", a, n.op("Add", total, np.array(1e-9)))
        if name == "talking heads":
            a = n.op("MatMul", n.op("Transpose", a, perm=[0, 2, 3, 1]), n.rng.normal(size=(2, 2)))
            a = n.op("Transpose", a, perm=[0, 3, 1, 2])
        if name == "a dense layer":
            a = n.op("MatMul", a, n.rng.normal(size=(TOKENS, TOKENS + 1)))
        if name == "a nonlinearity":
            a = n.op("Tanh", a)
        if name == "both":
            return n.op("MatMul", a, n.op("Softmax", n.op("Neg", "x"), axis=-1))
        v = (
            n.op("Exp", "x")
            if name != "a dense layer"
            else n.op("Concat", n.op("Exp", "x"), np.ones((1, 2, 1, TOKENS)), axis=2)
        )
        return n.op("MatMul", a, v)

    return build


@pytest.mark.parametrize("name", ["plain", "masked", "scaled", "divided by its sum", "talking heads"])
def test_weights_are_found_behind_a_softmax(name: str) -> None:
    graph = load(form(name), 2, TOKENS, TOKENS)
    product = next(layer for layer in reversed(graph.layers) if layer.op == "MatMul")
    assert weights_of(graph, product) == 0
    assert has_attention(graph)


@pytest.mark.parametrize("name", ["a nonlinearity", "both"])
def test_what_is_no_weight_is_none(name: str) -> None:
    graph = load(form(name), 2, TOKENS, TOKENS)
    product = next(layer for layer in reversed(graph.layers) if layer.op == "MatMul")
    assert weights_of(graph, product) is None
    assert not has_attention(graph)


def positioned(n: Any) -> Any:
    y = n.op("MatMul", "x", np.arange(1, 1 + WIDTH * WIDTH).reshape(WIDTH, WIDTH) / 5.0)
    return n.op("Add", y, np.arange(TOKENS * WIDTH).reshape(TOKENS, WIDTH) / 3.0)


def test_positions_absorb_their_share() -> None:
    """R_x = x R / (x + p) at the addition: the rest belongs to the positions p."""
    graph = load(positioned, TOKENS, WIDTH)
    rng = np.random.default_rng(2)
    x, r = rng.random((2, TOKENS, WIDTH)), rng.normal(size=(2, TOKENS, WIDTH))
    w, p = (
        np.arange(1, 1 + WIDTH * WIDTH).reshape(WIDTH, WIDTH) / 5.0,
        np.arange(TOKENS * WIDTH).reshape(TOKENS, WIDTH) / 3.0,
    )
    y = x @ w
    wanted = x * ((r * y / (y + p) / y) @ w.T)
    rules = Composite((("position", Epsilon()), ("dense", Epsilon()), ("*", Pass())))
    np.testing.assert_allclose(relevance(graph, rules, "reference", r, "x", x=x), wanted, rtol=1e-5)
    passed = relevance(
        graph, Composite((("scale", Pass()), ("dense", Epsilon()), ("*", Pass()))), "reference", r, "x", x=x
    )
    np.testing.assert_allclose(passed, x * ((r / y) @ w.T), rtol=1e-5)


def test_a_mean_picture_and_a_bias_are_no_positions() -> None:
    def mean(n: Any) -> Any:
        return n.op(
            "MatMul", n.op("Sub", "x", np.arange(TOKENS * WIDTH).reshape(TOKENS, WIDTH) / 3.0), np.eye(WIDTH) + 1
        )

    def bias(n: Any) -> Any:
        return n.op("Add", n.op("Tanh", n.op("MatMul", "x", np.eye(WIDTH) + 1)), np.arange(WIDTH) / 3.0)

    for build in (mean, bias):
        graph = load(build, TOKENS, WIDTH)
        assert not any(adds_positions(graph, layer) for layer in graph.layers if layer.op in ("Add", "Sub"))
    graph = load(positioned, TOKENS, WIDTH)
    assert [adds_positions(graph, layer) for layer in graph.layers if layer.op == "Add"] == [True]


def test_an_entry_for_scales_fits_positions_too() -> None:
    layer = Matched("Add", "embed", "node", "position", False)
    assert matches("position", layer)
    assert matches("scale", layer)
    assert not matches("position", layer._replace(kind="scale"))


def test_the_preset_names_no_layer_twice() -> None:
    assert make_composite("attnlrp").name == "attnlrp"
    assert make_composite("attnlrp", gamma=0.25).entries != make_composite("attnlrp").entries
