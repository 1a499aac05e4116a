"""Products of activations: who is the gate, and who gets the relevance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from onnxlrp.composites import Composite
from onnxlrp.graph import facts
from onnxlrp.graph.recognition.gates import gate as gate_of
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from onnxlrp.rules import make
from onnxlrp.rules.lrp import Pass
from onnxlrp.rules.product import Signal, Uniform
from support import small_nets
from support.arrays import one_output
from support.conformance import each_engine, prepared
from support.small_nets import Net

PRODUCTS = {}


def gated_by(gate: Any) -> Callable[..., Any]:
    """A net whose product is gated by this factor (0, 1, or None for no gate)."""

    def add(build: Any) -> Any:
        PRODUCTS[build.__name__] = (build, gate)
        return build

    return add


@gated_by(1)
def squeeze_and_excitation(n: Net) -> Any:
    return n.op("Mul", "x", n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", "x"), 3, 3, kernel=(1, 1))))


@gated_by(0)
def hard_sigmoid_in_pieces(n: Net) -> Any:
    """MobileNetV3 as Keras writes it."""
    shifted = n.op("Add", n.conv(n.op("GlobalAveragePool", "x"), 3, 3, kernel=(1, 1)), np.array(3.0))
    return n.op("Mul", n.op("Mul", n.clip(shifted, 6.0), np.array(1 / 6)), "x")


@gated_by(1)
def silu(n: Net) -> Any:
    return n.op("Mul", "x", n.op("Sigmoid", "x"))


@gated_by(0)
def silu_of_one_factor(n: Net) -> Any:
    """The signal is bounded too: the formula of the gate tells them apart."""
    x = n.op("Tanh", "x")
    return n.op("Mul", n.op("Sigmoid", n.op("Mul", x, np.array(1.7))), x)


@gated_by(1)
def a_weight_for_each_channel(n: Net) -> Any:
    return n.op("Mul", "x", n.op("GlobalMaxPool", n.relu("x")))


@gated_by(1)
def input_gate_of_an_lstm(n: Net) -> Any:
    return n.op("Mul", n.op("Tanh", n.op("Neg", "x")), n.op("Sigmoid", n.conv("x", 3, 3)))


@gated_by(0)
def update_gate_of_a_gru(n: Net) -> Any:
    return n.op("Mul", n.op("Sub", np.array(1.0), n.op("Sigmoid", n.conv("x", 3, 3))), n.op("Tanh", "x"))


@gated_by(0)
def hard_sigmoid_of_a_softsign(n: Net) -> Any:
    """The hard sigmoid by Min and Max."""
    slope = n.op("Add", n.op("Mul", n.conv("x", 3, 3), np.array(0.2)), np.array(0.5))
    return n.op("Mul", n.op("Min", n.op("Max", slope, np.array(0.0)), np.array(1.0)), n.op("Softsign", "x"))


@gated_by(1)
def weights_of_clipped_features(n: Net) -> Any:
    return n.op("Mul", n.clip(n.op("Neg", "x"), 6.0), n.op("Softmax", n.conv("x", 3, 3), axis=1))


@gated_by(None)
def two_sigmoids(n: Net) -> Any:
    return n.op("Mul", n.op("Sigmoid", n.conv("x", 3, 3)), n.op("Sigmoid", "x"))


@gated_by(None)
def a_tanh_by_the_sigmoid(n: Net) -> Any:
    """2σ − 1 lies between −1 and 1: no gate of another such."""
    tanh = n.op("Sub", n.op("Mul", n.op("Sigmoid", n.conv("x", 3, 3)), np.array(2.0)), np.array(1.0))
    return n.op("Mul", tanh, n.op("Tanh", "x"))


@gated_by(None)
def two_features(n: Net) -> Any:
    return n.op("Mul", n.conv("x", 3, 3), n.relu("x"))


@gated_by(None)
def a_square(n: Net) -> Any:
    return n.op("Mul", "x", "x")


def graph_of(build: Any) -> Any:
    n = small_nets.Net(3, 4, 4)
    return small_nets.load(n.model(n.op("Neg", build(n))))


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_gate_is_found(name: Any) -> None:
    build, gate = PRODUCTS[name]
    graph = graph_of(build)
    last = [layer for layer in graph.layers if layer.op == "Mul" and not set(layer.inputs) & set(graph.constants)][-1]
    assert gate_of(graph, last) == gate


def explained(graph: Any, composite: Any, x: Any, relevance: Any, engine: str = "reference") -> Any:
    program = small_nets.compile(graph, composite, mode="relevance", explained="x")
    return prepared(engine, small_nets.forward(graph), program)(
        {"x": x.astype(np.float32), SEED: relevance.astype(np.float32)}
    )["relevance"]


@pytest.mark.few(20)
@each_engine
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_signal_has_it_all(name: str, product: Any) -> None:
    build, gate = PRODUCTS[product]
    graph = graph_of(build)
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, *graph.outputs[0].shape))
    products = (("gate", Signal()), ("product", Uniform()))
    means = (("convolution", make("norm")), ("avgpool", make("norm")), ("maxpool", make("route")))
    got = explained(graph, Composite((*products, *means, ("*", Pass()))), x, r, name)
    if gate is not None or product == "a_square":
        np.testing.assert_allclose(got, r, rtol=1e-5)  # the input is the signal, or both factors


def test_half_of_a_product_goes_to_each_factor() -> None:
    graph = graph_of(two_features)
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 3, 4, 4))
    entries = (("product", Uniform()), ("*", Pass()))
    all_of_it = Composite((("convolution", make("flat")), *entries))
    through_the_convolution = explained(graph, all_of_it, x, r) - r / 2
    np.testing.assert_allclose(through_the_convolution.sum(axis=(1, 2, 3)), r.sum(axis=(1, 2, 3)) / 2, rtol=1e-5)


def test_a_quotient_is_a_gated_numerator() -> None:
    """x / (|x| summed): the normaliser gets nothing."""
    n = small_nets.Net(3, 4, 4)
    norm = n.op("ReduceSum", n.relu("x"), np.array([1, 2, 3]))
    graph = small_nets.load(n.model(n.op("Neg", n.op("Div", "x", norm))))
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(2, 3, 4, 4))
    got = explained(graph, make_composite("epsilon_plus"), x, r)
    np.testing.assert_allclose(got, r)


def test_a_comparison_has_no_relevance() -> None:
    """What decides between two branches is on no path; both branches are."""
    n = small_nets.Net(3, 4, 4)
    hot = n.op("Greater", "x", np.array(0.0))
    graph = small_nets.load(n.model(n.op("Neg", n.op("Mul", "x", n.op("Cast", hot, to=1)))))
    relevant = facts.relevant(graph, ("x",), graph.outputs[0].name)
    assert "Greater" not in {layer.op for layer in graph.layers if layer.name in relevant}
    session = ReferenceEvaluator(small_nets.forward(graph).model(np.float64, ()))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    np.testing.assert_allclose(one_output(session.run(None, {"x": x})), -np.maximum(x, 0))
    r = np.ones_like(x)
    np.testing.assert_allclose(explained(graph, make_composite("gradient"), x, r), -(x > 0).astype(float))


@pytest.mark.parametrize("absolute", [False, True])
def test_each_factor_has_the_share_of_its_value(absolute: bool) -> None:
    """R a / (a + b) to a = 2x + 1, which passes it on by x's share in it; b is the same scaled."""
    n = small_nets.Net(3)
    a = n.op("Add", n.op("Mul", "x", np.array([2.0, -1.0, 3.0])), np.array(1.0))
    graph = small_nets.load(n.model(n.op("Mul", a, "x")))
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    got = explained(graph, Composite((("gate", make("proportional", absolute, 0.01)), ("*", make("gradient")))), x, r)
    x = x.astype(np.float32).astype(float)
    values = [x * [2, -1, 3] + 1, x]
    sizes = [abs(v) if absolute else v for v in values]
    z = sizes[0] + sizes[1]
    shares = [v * r.astype(np.float32) / (z + 0.01 * np.where(z >= 0, 1, -1)) for v in sizes]
    np.testing.assert_allclose(got, shares[0] * [2, -1, 3] + shares[1], rtol=1e-9)
