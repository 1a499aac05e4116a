"""Operators on values: who gets the relevance, and what they tell the trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.composites import Composite
from onnxlrp.errors import UnsupportedError
from onnxlrp.explanation import ledger
from onnxlrp.graph import facts
from onnxlrp.layers import Node, build
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.passes import dead_code
from onnxlrp.program.program import SEED
from onnxlrp.program.rewrites import REWRITES
from onnxlrp.program.trace import Trace
from onnxlrp.program.value import total
from onnxlrp.rules import make
from onnxlrp.rules.gradient import Gradient
from onnxlrp.rules.lrp import Pass
from support import small_nets
from support.conformance import prepared
from support.operator_models import MODELS
from support.small_nets import Net


def graph_of(operator: Any) -> Any:
    shape, inputs, make_model = MODELS[operator]
    n = small_nets.Net(*shape)
    return small_nets.as_it_stands(n.model(n.op("Neg", make_model(n)), inputs=inputs))


def explained(graph: Any, composite: Any, x: Any, relevance: Any = None, **options: Any) -> tuple[Any, Any]:
    """The program and its outputs on the reference engine."""
    mode: dict[str, Any] = {"mode": "top"} if relevance is None else {"mode": "relevance"}
    program = small_nets.compile(graph, composite, **mode, **options)
    given = {} if relevance is None else {SEED: relevance}
    return program, prepared("reference", small_nets.forward(graph), program)({**x, **given})


@pytest.mark.few(100)
@pytest.mark.parametrize("operator", MODELS)
def test_parts_add_up_to_the_result(operator: Any) -> None:
    """A linear layer is what it says it is: the sum of its affine maps, computed without the forward pass's help."""
    graph = graph_of(operator)
    trace = Trace(REWRITES - {"reuse"})
    values = {t: trace.activation(t, shape) for t, shape in graph.shapes.items()}
    outputs = {}
    relevant = facts.relevant(graph, [t.name for t in graph.inputs], graph.outputs[0].name)
    for layer in (layer for layer in graph.layers if layer.name in relevant):
        op = build(Node(graph, layer, trace, values))
        if op.parts and op.kind != "bilinear":  # its two parts are each the whole
            whole = total(part(x) for part, x in op.parts)
            outputs |= {f"sum/{layer.name}": trace.broadcast_to(whole, op.result.shape), f"is/{layer.name}": op.result}
    run = prepared("reference", small_nets.forward(graph), dead_code(trace.program(outputs, None)))
    rng = np.random.default_rng(4)
    found = run({t.name: rng.normal(size=(2, *t.shape)) for t in graph.inputs})
    assert found
    for name in outputs:
        if name.startswith("sum/"):
            result = found[f"is/{name[4:]}"]
            np.testing.assert_allclose(np.broadcast_to(found[name], result.shape), result, atol=1e-5, err_msg=name)


@pytest.mark.few(100)
@pytest.mark.parametrize("operator", MODELS)
def test_what_is_said_to_be_nonnegative_is(operator: Any) -> None:
    graph = graph_of(operator)
    names = sorted(facts.nonnegative(graph) & set(graph.shapes))
    trace = Trace()
    outputs = {name: trace.activation(name, graph.shapes[name]) for name in [*names, graph.outputs[0].name]}
    run = prepared("reference", small_nets.forward(graph), trace.program(outputs, None))
    rng = np.random.default_rng(5)
    found = run({t.name: rng.normal(size=(4, *t.shape)) for t in graph.inputs})
    assert all((found[name] >= 0).all() for name in names)


NORMALISATIONS = [
    "layernormalization", "layer_normalization_of_a_map", "instancenormalization", "lrn", "rmsnormalization",
    "lpnormalization", "lp_normalization_of_magnitudes", "meanvariancenormalization",
]  # fmt: skip


@pytest.mark.parametrize("rule", ["epsilon", "zplus", "alpha_beta", "gamma"])
@pytest.mark.parametrize("operator", NORMALISATIONS)
def test_normalisations_are_linear_layers_to_a_rule(operator: str, rule: str) -> None:
    """The mean and the bias take their part, and the ledger closes."""
    graph = graph_of(operator)
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, *graph.inputs[0].shape)), rng.normal(size=(2, *graph.outputs[0].shape))
    composite = Composite((("normalization", make(rule)), ("*", Pass())))
    program, outputs = explained(graph, composite, {"x": x}, r, ledger=True)
    rows = {row.op: row for row in ledger.rows(program.notes["ledger"], outputs)}
    (row,) = (row for op, row in rows.items() if op != "Neg")
    gap = row.residual if rule != "alpha_beta" else row.residual * 0  # where a sign is missing its part is lost
    assert (np.abs(gap) < 1e-6 * row.scale).all()
    assert not np.allclose(outputs["relevance"], r)  # not merely passed


@pytest.mark.parametrize("operator", [name for name in MODELS if name.startswith(("lrn", "lp_norm", "silu", "gelu"))])
def test_what_divides_or_gates_takes_nothing(operator: Any) -> None:
    """Neither as an operator nor as exporters write it out; ε takes a share where x is near 0."""
    graph = graph_of(operator)
    rng = np.random.default_rng(0)
    x = rng.choice([-1, 1], size=(2, *graph.inputs[0].shape)) * rng.uniform(0.5, 1.5, size=(2, *graph.inputs[0].shape))
    r = rng.normal(size=(2, *graph.outputs[0].shape))
    np.testing.assert_allclose(
        explained(graph, make_composite("epsilon_plus"), {"x": x}, r)[1]["relevance"], r, rtol=1e-4
    )


@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_a_layer_normalization_in_pieces_is_explained_as_the_operator_is(square: str) -> None:
    """Without a shift, whose share of the output the operator's bias takes."""
    rng = np.random.default_rng(0)
    gain, axis, x, r = rng.normal(size=6), np.array([-1]), rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3, 6))

    def pieces(n: Net) -> Any:
        centred = n.op("Sub", "x", n.op("ReduceMean", "x", axis))
        squares = n.op("Mul", centred, centred) if square == "Mul" else n.op("Pow", centred, np.array(2.0))
        deviation = n.op("Sqrt", n.op("Add", n.op("ReduceMean", squares, axis), np.array(1e-5)))
        return n.op("Mul", n.op("Div", centred, deviation), gain)

    def relevance(build: Any) -> Any:
        n = small_nets.Net(3, 6)
        graph = small_nets.as_it_stands(n.model(n.op("Neg", build(n))))
        return explained(graph, make_composite("epsilon_plus", stabilizer=1e-9), {"x": x}, r)[1]["relevance"]

    whole = relevance(lambda n: n.op("LayerNormalization", "x", gain))
    np.testing.assert_allclose(relevance(pieces), whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("function", ["Max", "Min"])
def test_the_first_of_equals_wins(function: str) -> None:
    n = small_nets.Net(2, 4)
    whole = n.op(function, n.op("Neg", "x"), n.op("Neg", "z"), n.op("Neg", "x"))
    graph = small_nets.load(
        n.model(n.op("Neg", n.op(f"Reduce{function}", whole, np.array([2]), keepdims=0)), inputs="xz")
    )
    x = {"x": np.ones((1, 2, 4)), "z": np.ones((1, 2, 4))}
    r = np.array([[1.0, 2.0]])
    expected = np.zeros((1, 2, 4))
    expected[0, :, 0] = [1, 2]
    for name, share in (("x", expected), ("z", 0 * expected)):
        got = explained(graph, make_composite("gradient"), x, r, explained=name)[1]["relevance"]
        np.testing.assert_array_equal(got, share)


def test_what_a_constant_wins_is_booked() -> None:
    n = small_nets.Net(3)
    graph = small_nets.as_it_stands(
        n.model(n.op("Neg", n.op("Max", "x", np.array([9.0, -9.0, -9.0]), n.op("Neg", "x"))))
    )
    x, r = np.array([[1.0, 2.0, -3.0]]), np.array([[1.0, 10.0, 100.0]])
    program, outputs = explained(graph, make_composite("epsilon_plus"), {"x": x}, r, ledger=True)
    np.testing.assert_allclose(outputs["relevance"], [[0, 10, 100]])
    assert {row.op: row.gate.sum() for row in ledger.rows(program.notes["ledger"], outputs)}["Max"] == 1


@pytest.mark.parametrize("composite", ["epsilon_gamma_box", "zplus", "epsilon_alpha2_beta1", "gradient"])
def test_a_maximum_with_zero_is_a_relu(composite: str) -> None:
    """The same program: the pre-activation is not asked for."""

    def net(activation: Any) -> Any:
        n = small_nets.Net(2, 5, 5)
        a = activation(n, n.conv("x", 2, 4))
        b = activation(n, n.conv(a, 4, 3))
        return small_nets.load(n.model(n.dense(n.op("Flatten", b), 75, 4)))

    def work(program: Any) -> list[Any]:
        return [step.op for step in program.instructions if not step.constant]

    bounds = {"low": -1.0, "high": 1.0} if composite == "epsilon_gamma_box" else {}
    of_max, of_relu = (
        small_nets.compile(net(activation), make_composite(composite, **bounds), mode="top")
        for activation in (lambda n, z: n.op("Max", z, np.array(0.0)), lambda n, z: n.relu(z))
    )
    assert work(of_max) == work(of_relu)
    assert not any("conv" in tensor for tensor in of_max.reads)


@pytest.mark.parametrize("targets", [None, 3])
def test_relevance_that_is_zero_everywhere_has_its_shape(targets: int | None) -> None:
    """Behind a step function the gradient is zero, for each sample and target."""
    n = small_nets.Net(2, 3)
    graph = small_nets.load(n.model(n.dense(n.op("Flatten", n.op("Round", "x")), 6, 4)))
    x = {"x": np.ones((5, 2, 3))}
    got = explained(graph, make_composite("gradient"), x, targets=targets)[1]["relevance"]
    assert got.shape == ((5, 2, 3) if targets is None else (3, 5, 2, 3))
    assert not got.any()


def test_a_gate_s_branch_has_rows_for_each_sample() -> None:
    """It gets no relevance, and the ledger says so."""
    n = small_nets.Net(3, 4, 4)
    gate = n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", "x"), 3, 3, kernel=(1, 1)))
    graph = small_nets.load(n.model(n.dense(n.op("Flatten", n.op("Mul", "x", gate)), 48, 4)))
    program, outputs = explained(graph, make_composite("epsilon_plus"), {"x": np.ones((5, 3, 4, 4))}, ledger=True)
    for row in ledger.rows(program.notes["ledger"], outputs):
        assert row.select(np.array([1, 2])).arrived.shape == (2,)


def refused(build: Any, *shape: Any) -> None:
    n = small_nets.Net(*shape)
    graph = small_nets.as_it_stands(n.model(n.op("Neg", build(n))))
    small_nets.compile(graph, Composite((("*", Gradient()),)), mode="top")


def test_a_batch_normalization_in_training_mode_is_refused() -> None:
    def build(n: Net) -> Any:
        y = n.op("BatchNormalization", "x", *(np.ones(3) for _ in range(4)), training_mode=1)
        n.nodes[-1].output.extend(["mean", "variance"])
        return y

    with pytest.raises(UnsupportedError, match="training mode"):
        refused(build, 3, 2)


def test_a_power_of_two_activations_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="activation as its exponent"):
        refused(lambda n: n.op("Pow", n.op("Exp", "x"), "x"), 3)


def test_functions_without_a_rule_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="Mod"):
        refused(lambda n: n.op("Mod", "x", np.array(2.0), fmod=1), 3)


def test_a_product_over_an_axis_of_many_elements_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="ReduceProd"):
        refused(lambda n: n.op("ReduceProd", "x", np.array([1])), 65)


def test_factors_of_a_product_get_equal_shares_and_all_of_the_gradient() -> None:
    n = small_nets.Net(2, 3)
    model = onnxlrp.load(n.model(n.op("ReduceProd", "x", np.array([2]), keepdims=0)), engine="reference")
    x = np.array([[[2.0, -3.0, 0.5], [1.5, 0.0, 4.0]]])
    shares = model.explain(x, target=0, method="epsilon").relevance
    np.testing.assert_allclose(shares, [[[-1.0] * 3, [0.0] * 3]], rtol=1e-5)
    slopes = model.explain(x, target=1, method="gradient").relevance
    np.testing.assert_allclose(slopes, [[[0.0] * 3, [0.0, 6.0, 0.0]]], atol=1e-12)
