"""Each rule against a slow oracle: the dense matrix of the layer, and the rule as its paper defines it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxlrp.compile import compile
from onnxlrp.composites import Composite
from onnxlrp.program.program import SEED
from onnxlrp.rules import RULES, make
from onnxlrp.rules.gradient import Route
from onnxlrp.rules.lrp import Pass
from support import small_nets
from support.arrays import Array, one_output
from support.conformance import each_engine
from support.small_nets import Net

# -- the oracles: W is [out, in], x [N, in], R [N, out]


def stabilize(z: Any, epsilon: float = 1e-6) -> Any:
    return z + epsilon * np.where(z >= 0, 1.0, -1.0)


def up(array: Any) -> Array:
    return np.maximum(array, 0)


def down(array: Any) -> Array:
    return np.minimum(array, 0)


def zero(w: Any, b: Any, x: Any, r: Any) -> Any:
    return x * (np.divide(r, x @ w.T + b, out=np.zeros_like(r), where=r != 0) @ w)


def epsilon(w: Any, b: Any, x: Any, r: Any, epsilon: float = 1e-6) -> Any:
    return x * ((r / stabilize(x @ w.T + b, epsilon)) @ w)


def zplus(w: Any, b: Any, x: Any, r: Any) -> Any:
    z = up(x) @ up(w).T + down(x) @ down(w).T + up(b)
    s = r / stabilize(z)
    return up(x) * (s @ up(w)) + down(x) * (s @ down(w))


def zplus_without_bias(w: Any, b: Any, x: Any, r: Any) -> Any:
    return zplus(w, 0 * b, x, r)


def alpha_beta(w: Any, b: Any, x: Any, r: Any, alpha: float = 2, beta: float = 1) -> Any:
    z = up(x) @ down(w).T + down(x) @ up(w).T + down(b)
    s = r / stabilize(z)
    return alpha * zplus(w, b, x, r) - beta * (up(x) * (s @ down(w)) + down(x) * (s @ up(w)))


def gamma(w: Any, b: Any, x: Any, r: Any, gamma: float = 0.25) -> Any:
    y = x @ w.T + b
    total = 0.0
    for there, favoured, other in ((y > 0, up, down), (y < 0, down, up)):
        a, c = w + gamma * favoured(w), w + gamma * other(w)
        z = up(x) @ a.T + down(x) @ c.T + b + gamma * favoured(b)
        s = np.where(there, r / stabilize(z), 0)
        total = total + up(x) * (s @ a) + down(x) * (s @ c)
    return total


def zbox(w: Any, b: Any, x: Any, r: Any, low: Any, high: Any) -> Any:
    z = x @ w.T - low @ up(w).T - high @ down(w).T
    s = r / stabilize(z)
    return (x - low) * (s @ up(w)) + (x - high) * (s @ down(w))


def wsquare(w: Any, b: Any, x: Any, r: Any) -> Any:
    return (r / stabilize((w**2).sum(axis=1) + b**2)) @ w**2


def flat(w: Any, b: Any, x: Any, r: Any) -> Any:
    inside = (w != 0).astype(float)
    return (r / stabilize(inside.sum(axis=1))) @ inside


def gradient(w: Any, b: Any, x: Any, r: Any) -> Any:
    return r @ w


LOW, HIGH = -3.5, 4.0
ORACLES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "zero": (make("zero"), zero),
    "epsilon": (make("epsilon"), epsilon),
    "epsilon(0.25)": (make("epsilon", 0.25), lambda w, b, x, r: epsilon(w, b, x, r, epsilon=0.25)),
    "norm": (make("norm"), epsilon),
    "zplus": (make("zplus"), zplus),
    "zplus(bias=0)": (make("zplus", bias=False), zplus_without_bias),
    "alpha_beta(2,1)": (make("alpha_beta", 2, 1), alpha_beta),
    "alpha_beta(1,0)": (make("alpha_beta", 1, 0), lambda w, b, x, r: alpha_beta(w, b, x, r, alpha=1, beta=0)),
    "alpha_beta(1.5,0.5)": (
        make("alpha_beta", 1.5, 0.5),
        lambda w, b, x, r: alpha_beta(w, b, x, r, alpha=1.5, beta=0.5),
    ),
    "gamma": (make("gamma"), gamma),
    "gamma(100)": (make("gamma", 100), lambda w, b, x, r: gamma(w, b, x, r, gamma=100)),
    "zbox": (
        make("zbox", LOW, HIGH),
        lambda w, b, x, r: zbox(w, b, x, r, np.full(w.shape[1], LOW), np.full(w.shape[1], HIGH)),
    ),
    "wsquare": (make("wsquare"), wsquare),
    "wsquare(bias=0)": (make("wsquare", bias=False), lambda w, b, x, r: wsquare(w, 0 * b, x, r)),
    "flat": (make("flat"), flat),
    "gradient": (make("gradient"), gradient),
}

# -- the layers: each a function of the net, the name of its operand, and what it is fed per sample

LAYERS = {}


def layer(*shape: Any) -> Callable[..., Any]:
    def add(make_layer: Any) -> Any:
        LAYERS[make_layer.__name__.replace("_", " ")] = (shape, make_layer)
        return make_layer

    return add


@layer(2, 4, 4)
def conv(n: Net, x: Any) -> Any:
    return n.conv(x, 2, 3)


@layer(2, 5, 5)
def conv_with_stride_and_crooked_pads(n: Net, x: Any) -> Any:
    return n.conv(x, 2, 3, kernel=(3, 2), strides=[2, 3], pads=[1, 0, 0, 2])


@layer(2, 6, 5)
def conv_that_leaves_a_tail(n: Net, x: Any) -> Any:
    return n.conv(x, 2, 2, kernel=(2, 2), strides=[3, 2], pads=[0, 0, 0, 0], bias=False)


@layer(2, 5, 5)
def conv_dilated(n: Net, x: Any) -> Any:
    return n.conv(x, 2, 2, dilations=[2, 1], pads=[2, 1, 2, 1])


@layer(4, 3, 3)
def conv_grouped(n: Net, x: Any) -> Any:
    return n.conv(x, 4, 6, group=2)


@layer(3, 4, 4)
def conv_depthwise(n: Net, x: Any) -> Any:
    return n.conv(x, 3, 3, group=3, strides=[2, 2])


@layer(3, 3, 3)
def conv_depthwise_times_two(n: Net, x: Any) -> Any:
    return n.conv(x, 3, 6, group=3)


@layer(5, 2, 3)
def conv_pointwise(n: Net, x: Any) -> Any:
    return n.conv(x, 5, 4, kernel=(1, 1))


@layer(6, 3, 3)
def conv_of_many_terms(n: Net, x: Any) -> Any:
    return n.conv(x, 6, 3)


@layer(2, 7)
def conv_1d(n: Net, x: Any) -> Any:
    return n.conv(x, 2, 3, kernel=(3,), strides=[2])


@layer(2, 3, 2, 3)
def conv_3d(n: Net, x: Any) -> Any:
    return n.conv(x, 2, 2, kernel=(2, 2, 3), pads=[0, 0, 1, 1, 1, 1])


@layer(2, 3, 3)
def transposed_conv(n: Net, x: Any) -> Any:
    return n.op("ConvTranspose", x, n.rng.normal(size=(2, 3, 3, 3)), 0.3 * n.rng.normal(size=3))


@layer(2, 3, 2)
def transposed_conv_with_stride(n: Net, x: Any) -> Any:
    """Some of its results have fewer taps than others, one row has none."""
    bias = 0.3 * n.rng.normal(size=2)
    return n.op("ConvTranspose", x, n.rng.normal(size=(2, 2, 3, 2)), bias, strides=[2, 3], pads=[1, 0, 0, 1],
                output_padding=[0, 1])  # fmt: skip


@layer(4, 2, 3)
def transposed_conv_depthwise(n: Net, x: Any) -> Any:
    return n.op("ConvTranspose", x, n.rng.normal(size=(4, 1, 2, 2)), group=4, dilations=[2, 1], strides=[1, 2])


@layer(2, 4)
def transposed_conv_1d(n: Net, x: Any) -> Any:
    return n.op("ConvTranspose", x, n.rng.normal(size=(2, 2, 4)), strides=[2], pads=[1, 1])


@layer(2, 2, 3, 2)
def transposed_conv_3d(n: Net, x: Any) -> Any:
    return n.op("ConvTranspose", x, n.rng.normal(size=(2, 2, 2, 2, 2)), strides=[2, 1, 2])


@layer(4, 3)
def matmul_from_the_left(n: Net, x: Any) -> Any:
    return n.op("MatMul", n.rng.normal(size=(5, 4)), x)


@layer(2, 3, 4)
def einsum_of_heads(n: Net, x: Any) -> Any:
    return n.op("Einsum", x, n.rng.normal(size=(2, 4, 3)), equation="bhtd,hde->bhte")


@layer(6)
def gemm(n: Net, x: Any) -> Any:
    return n.dense(x, 6, 4)


@layer(40)
def gemm_of_many_terms(n: Net, x: Any) -> Any:
    return n.dense(x, 40, 4)


@layer(5)
def gemm_with_factors(n: Net, x: Any) -> Any:
    return n.op("Gemm", x, n.rng.normal(size=(5, 3)), n.rng.normal(size=(1, 3)), alpha=0.5, beta=-2.0)


@layer(3, 4)
def matmul_of_tokens(n: Net, x: Any) -> Any:
    return n.op("MatMul", x, n.rng.normal(size=(4, 5)))


@layer(2, 5, 5)
def average_pool(n: Net, x: Any) -> Any:
    return n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


@layer(2, 5, 4)
def average_pool_counting_padding(n: Net, x: Any) -> Any:
    return n.op("AveragePool", x, kernel_shape=[2, 3], strides=[1, 1], pads=[1, 1, 0, 1], count_include_pad=1)


@layer(3, 3, 2)
def global_average_pool(n: Net, x: Any) -> Any:
    return n.op("GlobalAveragePool", x)


@layer(3, 2, 3)
def mean_of_axes(n: Net, x: Any) -> Any:
    return n.op("ReduceMean", x, np.array([2, 3], np.int64), keepdims=0)


@layer(3, 2, 3)
def sum_of_axes(n: Net, x: Any) -> Any:
    return n.op("ReduceSum", x, np.array([1], np.int64), keepdims=1)


def halves(n: Net, x: Any) -> list[Any]:
    axes = np.array([1], np.int64)
    return [n.op("Slice", x, np.array([i], np.int64), np.array([i + 2], np.int64), axes) for i in (0, 2)]


@layer(4, 2, 2)
def residual_add(n: Net, x: Any) -> Any:
    return n.op("Add", *halves(n, x))


@layer(4, 2, 2)
def difference(n: Net, x: Any) -> Any:
    return n.op("Sub", *halves(n, x))


@layer(3, 2, 2)
def factor(n: Net, x: Any) -> Any:
    return n.op("Mul", x, n.rng.normal(size=(3, 1, 1)))


@layer(3, 2, 2)
def batch_normalization(n: Net, x: Any) -> Any:
    return n.norm(x, 3)


# Rules that replace the weights by others do so by ε's measure where the weights of a mean are not 1.
MEANS = ("average pool", "average pool counting padding", "global average pool", "mean of axes")


def doubled(model: Any) -> Any:
    """The model with its weights in float64."""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(float) if array.dtype != np.int64 else array, tensor.name))
    return model


@cache
def case(name: Any, rectified: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """The graph, a batch of x, the matrix and bias of the layer, and relevance for its result."""
    shape, make_layer = LAYERS[name]
    n, alone = small_nets.Net(*shape, seed=3), small_nets.Net(*shape, seed=3)
    graph = small_nets.load(n.model(make_layer(n, n.relu("x") if rectified else "x")))
    evaluate = ReferenceEvaluator(doubled(alone.model(make_layer(alone, "x"))))
    size = int(np.prod(shape))
    points = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *shape)
    values = one_output(evaluate.run(None, {"x": points})).reshape(size + 1, -1)
    w, b = (values[1:] - values[0]).T, values[0]
    rng = np.random.default_rng(4)
    x = np.clip(rng.normal(size=(3, size)), -3, 3).astype(np.float32).astype(float)
    a = up(x) if rectified else x
    r = rng.normal(size=(3, len(b))).astype(np.float32).astype(float)
    r[np.abs(a @ w.T + b) < 0.1] = 0  # nothing can be said of what is divided by nearly nothing
    return graph, x.reshape(3, *shape), a, w, b, r.reshape(3, *graph.outputs[0].shape)


def relevance(graph: Any, rule: Any, x: Any, r: Any, name: str = "reference", **options: Any) -> Any:
    composite = Composite((("activation", Pass()), ("routing", Route()), ("*", rule)))
    inputs = {"x": x.astype(np.float32), SEED: r.astype(np.float32)}
    return small_nets.explained(graph, composite, inputs, name, mode="relevance", **options)["relevance"]


@pytest.mark.few(60)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", ORACLES)
def test_rule_is_its_definition(rule: str, name: Any) -> None:
    made, oracle = ORACLES[rule]
    tolerance = (
        1e-4 if rule in ("flat", "wsquare", "wsquare(bias=0)") and name in MEANS else 1e-6 if rule == "zero" else 1e-9
    )
    for rectified in (False, True):
        graph, x, a, w, b, r = case(name, rectified)
        expected = oracle(w, b, a, r.reshape(len(r), -1)).reshape(x.shape)
        small_nets.agree(relevance(graph, made, x, r), expected, tolerance)
    small_nets.agree(relevance(graph, made, x, r, "ort"), expected, 1e-4)


def test_every_rule_is_in_these_tests() -> None:
    assert set(RULES) >= {rule.name for rule, _ in ORACLES.values()}
    elsewhere = {"pass", "route", "guided", "deconvnet", "redirect"}
    assert set(RULES) - {rule.name for rule, _ in ORACLES.values()} <= elsewhere | LATER


# Rules with oracles of their own.
LATER = {
    "signal",
    "softmax",
    "stop",
    "value",
    "uniform",
    "proportional",
    "flat_in_channels",
    "midpoint",
    "coefficients",
}
LATER |= {"pattern_net", "pattern_attribution"}


def flat_in_channels(w: Any, b: Any, x: Any, r: Any, channels: int, epsilon: float = 1e-6) -> Any:
    """Each channel's share of every result by what it contributes, even over the values of it that are read."""
    found = np.zeros_like(x)
    for n, row in enumerate(x):
        z = w @ row + b
        for k in range(len(b)):
            for own in np.split(np.arange(len(row)), channels):
                read = own[w[k, own] != 0]
                if len(read):
                    found[n, read] += (w[k, own] @ row[own]) / stabilize(z[k], epsilon) * r[n, k] / len(read)
    return found


@pytest.mark.few(12)
@pytest.mark.parametrize("name", LAYERS)
def test_flat_in_channels_is_its_definition(name: Any) -> None:
    for rectified in (False, True):
        graph, x, a, w, b, r = case(name, rectified)
        for epsilon in (1e-6, 0.25):
            expected = flat_in_channels(w, b, a, r.reshape(len(r), -1), x.shape[1], epsilon).reshape(x.shape)
            small_nets.agree(relevance(graph, make("flat_in_channels", epsilon), x, r), expected, 1e-7)
    small_nets.agree(relevance(graph, make("flat_in_channels", epsilon), x, r, "ort"), expected, 1e-4)


def test_flat_in_channels_of_vectors_is_epsilon_and_of_one_channel_flat() -> None:
    graph, x, _, _, _, r = case("gemm", False)
    small_nets.agree(relevance(graph, make("flat_in_channels"), x, r), relevance(graph, make("epsilon"), x, r), 1e-6)
    n = small_nets.Net(1, 9)
    graph = small_nets.load(n.model(n.op("Conv", "x", n.rng.normal(size=(3, 1, 4)))))
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 1, 9)), rng.normal(size=(2, 3, 6))
    small_nets.agree(relevance(graph, make("flat_in_channels", 0), x, r), relevance(graph, make("flat"), x, r), 1e-5)


@pytest.mark.parametrize("bounds", ["a number", "one a channel", "one a pixel"])
def test_zbox_takes_bounds_of_any_shape(bounds: str) -> None:
    shape = {"a number": (), "one a channel": (2, 1, 1), "one a pixel": (2, 4, 4)}[bounds]
    rng = np.random.default_rng(0)
    low: Any
    high: Any
    low, high = rng.uniform(-4, -3, shape), rng.uniform(3, 4, shape)
    graph, x, a, w, b, r = case("conv", False)
    flat_low, flat_high = (np.broadcast_to(bound, (2, 4, 4)).reshape(-1) for bound in (low, high))
    expected = zbox(w, b, a, r.reshape(len(r), -1), flat_low, flat_high).reshape(x.shape)
    small_nets.agree(relevance(graph, make("zbox", low, high), x, r), expected)


def test_gamma_drops_relevance_where_the_output_is_zero() -> None:
    n = small_nets.Net(2)
    graph = small_nets.load(n.model(n.op("Gemm", "x", np.array([[1.0, 1.0], [1.0, -1.0]]))))
    x, r = np.array([[1.0, 1.0]]), np.array([[1.0, 5.0]])
    np.testing.assert_allclose(relevance(graph, make("gamma"), x, r), [[0.5, 0.5]], rtol=1e-5)


@pytest.mark.parametrize(("signs", "products"), [("both", 3), ("nonnegative", 2)])
def test_gamma_shares_the_products_of_its_branches(signs: str, products: int) -> None:
    """One product forward, |W| |x|, and two back; where x and y are nonnegative, one and one; in branches six."""
    n = small_nets.Net(5)
    both = signs == "both"
    hidden = "x" if both else n.relu(n.dense("x", 5, 6))
    last = n.dense(hidden, 5 if both else 6, 4)
    graph = small_nets.load(n.model(n.dense(last if both else n.relu(last), 4, 3)))
    named = [layer.name for layer in graph.layers if layer.op == "Gemm"][-2]
    program = compile(graph, Composite(((named, make("gamma")), ("activation", make("pass")), ("*", make("epsilon")))))
    lines = [line for line in program.listing().splitlines() if line.endswith("/gamma") and "Matmul" in line]
    assert len(lines) == products, lines


@pytest.mark.parametrize("strength", [0.0, 1e-3, 0.05, 1.0, 1e3])
@pytest.mark.parametrize("bias", [True, False])
def test_gamma_of_any_strength_on_dense_layers(strength: float, bias: bool) -> None:
    n = small_nets.Net(40)
    w = n.rng.normal(size=(30, 40))
    b = n.rng.normal(size=30)
    graph = small_nets.load(n.model(n.op("Gemm", "x", w, *[b] * bias, transB=1)))
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(3, 40)), rng.normal(size=(3, 30))
    expected = gamma(w, b * bias, x, r, gamma=strength)
    small_nets.agree(relevance(graph, make("gamma", strength), x, r), expected, 1e-4)


# -- activations

ACTIVATIONS = {
    "pass": lambda x, r: r,
    "gradient": lambda x, r: r * (x > 0),
    "guided": lambda x, r: (x > 0) * up(r),
    "deconvnet": lambda x, r: up(r),
}


@each_engine
@pytest.mark.parametrize("rule", ACTIVATIONS)
def test_rule_at_a_relu(rule: str, name: str) -> None:
    n = small_nets.Net(3, 4)
    graph = small_nets.load(n.model(n.relu("x")))
    rng = np.random.default_rng(0)
    x, r = (rng.integers(-3, 4, size=(2, 3, 4)).astype(float) for _ in range(2))
    inputs = {"x": x.astype(np.float32), SEED: r.astype(np.float32)}
    composite = Composite((("*", make(rule)),))
    actual = small_nets.explained(graph, composite, inputs, name, mode="relevance")["relevance"]
    np.testing.assert_array_equal(actual, ACTIVATIONS[rule](x, r))


@pytest.mark.parametrize("rule", ["epsilon", "zplus", "gamma", "flat"])
def test_one_weight_used_twice(rule: str) -> None:
    """zennit is silently wrong here: both uses are layers of their own."""
    made, oracle = ORACLES[rule]
    n = small_nets.Net(3)
    weight = np.array([[0.5, -1.0, 0.25], [1.0, 0.5, -0.5], [-0.25, 1.0, 1.0]], np.float32)
    name = n.weight(weight)
    y = n.op("MatMul", n.relu(n.op("MatMul", "x", name)), name)
    graph, w = small_nets.load(n.model(y)), weight.astype(float).T
    x, r = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]), np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 1.0]])
    a = up(x @ w.T)
    expected = oracle(w, np.zeros(3), x, oracle(w, np.zeros(3), a, r))
    small_nets.agree(relevance(graph, made, x, r), expected)
