"""Every ordered pair of rules, one above the other: what a rule may reuse depends on the rule above it.

Behind a ReLU the denominator may be read from the tensor after it only where relevance is zero wherever that tensor is.
flat, w², zBox, the gradient and deconvnet lose this, and a program that forgets it is wrong by orders of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from onnxlrp.composites import Composite
from onnxlrp.engines import ENGINES
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from onnxlrp.rules import RULES, make
from onnxlrp.rules.gradient import Gradient
from onnxlrp.rules.lrp import Norm, Pass
from support import small_nets
from support.conformance import each_engine

NETS = ("plain", "residual", "clip")  # the residual branches start behind a max pooling
OPTIONS = {"epsilon_gamma_box": {"low": -4.0, "high": 4.0}, "deep_taylor_bounded": {"low": -4.0, "high": 4.0}}
PASS, NORM = Pass(), Norm()


@dataclass(frozen=True)
class Style:
    """What one rule means for a linear layer, the activation behind it, and a sum."""

    linear: Any
    activation: Any = PASS
    sum: Any = NORM


STYLES = {
    **{name: Style(make(name)) for name in ("zero", "epsilon", "gamma", "alpha_beta", "zplus", "wsquare", "flat")},
    "zbox": Style(make("zbox", -4.0, 4.0)),
    "pass": Style(make("epsilon"), make("pass"), Gradient()),
    "gradient": Style(Gradient(), Gradient(), Gradient()),
    "guided": Style(Gradient(), make("guided"), Gradient()),
    "deconvnet": Style(Gradient(), make("deconvnet"), Gradient()),
    "redirect": Style(Gradient(), make("redirect"), Gradient()),
}
# Rules for layers that these nets do not have, and those that need patterns.
LATER = {"route", "signal", "softmax", "stop", "uniform", "proportional", "value", "midpoint", "coefficients"}
LATER |= {"pattern_net", "pattern_attribution"}
# A rule that is not named here is one for linear layers.
NAMED = {getattr(rule, "name", "") for s in STYLES.values() for rule in (s.linear, s.activation, s.sum)} | LATER
STYLES |= {name: Style(make(name)) for name in sorted(RULES) if name not in NAMED}
KINDS = {"Conv": "linear", "Gemm": "linear", "Relu": "activation", "Clip": "activation", "Add": "sum"}


def stacked(graph: Any, lower: Any, upper: Any) -> Any:
    """Linear layers, activations and sums take turns between two styles, the first linear layer being `lower`."""
    entries, styles = [], (STYLES[lower], STYLES[upper])
    turn = {"linear": 0, "activation": 0, "sum": 1}
    for layer in graph.layers:
        kind = KINDS.get(layer.op)
        if kind:
            entries.append((layer.name, getattr(styles[turn[kind] % 2], kind)))
            turn[kind] += 1
    return Composite((*entries, ("avgpool", NORM)))


@pytest.mark.few(3)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("upper", STYLES)
def test_rewrites_change_nothing_whatever_rule_is_above(upper: str, net: str) -> None:
    graph = small_nets.graph(net)
    seed = np.random.default_rng(5).normal(size=(2, *graph.outputs[0].shape)).astype(np.float32)
    inputs = {**small_nets.batch(graph), SEED: seed}
    dead = 0
    for lower in STYLES:
        composite = stacked(graph, lower, upper)
        expected = small_nets.explained(graph, composite, inputs, mode="relevance", rewrites=())["relevance"]
        actual = small_nets.explained(graph, composite, inputs, mode="relevance")["relevance"]
        try:
            small_nets.agree(actual, expected)
        except AssertionError as error:
            raise AssertionError(f"{lower} under {upper}: {actual.ravel()[:4]} for {expected.ravel()[:4]}") from error
        dead += not expected.any()
    assert dead <= 2  # guided backprop lets nothing through where flat has made it all negative


@pytest.mark.few(4)
@pytest.mark.parametrize("name", [name for name in ENGINES if name != "reference"])
@pytest.mark.parametrize("method", small_nets.METHODS)
def test_engines_agree_with_the_reference(method: Any, name: Any) -> None:
    for net in ("everything", "overlapping"):
        graph, composite = small_nets.graph(net), make_composite(method, **OPTIONS.get(method, {}))
        inputs = small_nets.batch(graph, 3)
        outputs = small_nets.explained(graph, composite, inputs, name)
        for key, expected in small_nets.explained(graph, composite, inputs).items():
            small_nets.agree(outputs[key], expected, 1e-4)


@pytest.mark.few(4)
@each_engine
@pytest.mark.parametrize("method", small_nets.METHODS)
def test_three_targets_are_three_runs(method: Any, name: str) -> None:
    graph, composite = small_nets.graph("everything"), make_composite(method, **OPTIONS.get(method, {}))
    inputs = small_nets.batch(graph, 3)
    ids = np.array([[0, 1, 2], [3, 3, 1], [2, 0, 0]])
    together = small_nets.explained(graph, composite, {**inputs, SEED: ids}, name, mode="index", targets=3)
    for n, row in enumerate(ids):
        alone = small_nets.explained(graph, composite, {**inputs, SEED: row}, name, mode="index")
        small_nets.agree(together["relevance"][n], alone["relevance"], 1e-9 if name == "reference" else 1e-4)


@each_engine
def test_the_top_targets_are_the_highest_logits(name: str) -> None:
    graph, composite = small_nets.graph("everything"), make_composite("epsilon_plus")
    inputs = small_nets.batch(graph, 3)
    top = small_nets.explained(graph, composite, inputs, name, targets=2)
    ids = np.argsort(-top["logits"], axis=1)[:, :2].T
    chosen = small_nets.explained(graph, composite, {**inputs, SEED: ids}, name, mode="index", targets=2)
    small_nets.agree(top["relevance"], chosen["relevance"], 1e-9)
    first = small_nets.explained(graph, composite, inputs, name)
    small_nets.agree(first["relevance"], top["relevance"][0], 1e-6)


@pytest.mark.few(3)
@each_engine
@pytest.mark.parametrize("method", ["epsilon_plus_flat", "gamma", "deconvnet"])
def test_samples_do_not_know_of_each_other(method: str, name: str) -> None:
    graph, composite = small_nets.graph("everything"), make_composite(method)
    inputs = small_nets.batch(graph, 3)
    together = small_nets.explained(graph, composite, inputs, name)["relevance"]
    for n in range(3):
        alone = small_nets.explained(graph, composite, {k: v[n : n + 1] for k, v in inputs.items()}, name)["relevance"]
        small_nets.agree(together[n : n + 1], alone, 1e-9 if name == "reference" else 1e-4)


def test_one_bound_serves_maps_of_several_sizes() -> None:
    """A network that looks at its input at several scales: each scale's first layer has the same box."""
    n = small_nets.Net(1, 40, 40)
    whole = n.relu(n.conv("x", 1, 4))
    coarse = n.relu(n.conv(n.op("AveragePool", "x", kernel_shape=[5, 5]), 1, 4))
    means = [n.op("Flatten", n.op("GlobalAveragePool", y)) for y in (whole, coarse)]
    graph = small_nets.load(n.model(n.dense(n.op("Concat", *means, axis=1), 8, 4)))
    x, box = small_nets.batch(graph), make_composite("epsilon_gamma_box", low=-4.0, high=4.0)
    exact, ours = (small_nets.explained(graph, box, x, name)["relevance"] for name in ("reference", "ort"))
    small_nets.agree(ours, exact, 1e-4)
