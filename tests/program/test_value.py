"""Tracing: the facts of a value are true, and no rewrite changes a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnxlrp.methods.registry import make_composite
from onnxlrp.program.interpret import LINEAR
from onnxlrp.program.linear import Conv, Permute, Reshape, Select, Slice, Sum, Window
from onnxlrp.program.rewrites import REWRITES
from onnxlrp.program.trace import Trace
from onnxlrp.program.value import negative, positive, stabilize
from support import small_nets
from support.conformance import identity, prepared

EXAMPLES = 60
SHAPE, POOLED, WIDE = (2, 4, 4), (2, 2, 2), (4, 4, 4)
MAXPOOL = Select(SHAPE, POOLED, Window((2, 2), (2, 2), (1, 1), (0, 0), (0, 0), (4, 4), (2, 2)))
CONV = Conv(SHAPE, SHAPE, Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1), (4, 4), (4, 4)))
FLAT, TURN = Reshape(SHAPE, (32,)), Permute(SHAPE, SHAPE, (0, 2, 1))
WIDE_MAXPOOL = Select(WIDE, (4, 2, 2), MAXPOOL.window)
WIDE_CONV = Conv(WIDE, SHAPE, CONV.window)
UPPER, LOWER = (Slice(WIDE, SHAPE, (start, 0, 0), (1, 1, 1)) for start in (0, 2))
CROP = Slice(SHAPE, POOLED, (0, 1, 1), (1, 1, 1))
TOTAL = Sum(SHAPE, (2, 1, 1), (1, 2))


def activations(rng: np.random.Generator, n: int = 3) -> tuple[Any, Any, Any]:
    """A forward pass over small whole numbers, with zeros everywhere."""
    x, other, weight = (rng.integers(-2, 3, size=s).astype(float) for s in ((n, *SHAPE), (n, *SHAPE), (2, 2, 3, 3)))
    bias = rng.integers(-2, 3, size=2).astype(float)
    z = LINEAR["Conv"](CONV, x, weight) + bias[:, None, None]
    a, c = np.maximum(z, 0), np.clip(other, 0, 1)
    tensors = {
        "x": x, "other": other, "z": z, "a": a, "c": c,
        "pool a": LINEAR["Select"](MAXPOOL, a, a), "pool c": LINEAR["Select"](MAXPOOL, c, c),
        "pool both": LINEAR["Select"](WIDE_MAXPOOL, np.concatenate([a, c], axis=1), np.concatenate([a, c], axis=1)),
        "flat": a.reshape(n, -1), "turned": a.transpose(0, 1, 3, 2), "both": np.concatenate([a, c], axis=1),
        "sum": x + other, "y": np.maximum(x + other, 0),
    }  # fmt: skip
    return tensors, weight, bias


NONNEGATIVE = ("a", "c", "pool a", "pool c", "pool both", "flat", "turned", "both", "y")


class Traced:
    """One trace that has been told all that the forward pass computes."""

    def __init__(self, tensors: Any, weight: Any, bias: Any, rewrites: Any) -> None:
        self.trace = trace = Trace(rewrites)
        self.read = {name: trace.activation(name, t.shape[1:], name in NONNEGATIVE) for name, t in tensors.items()}
        r = self.read
        self.weight, self.bias = trace.weight("weight", weight), trace.weight("bias", bias)
        trace.declare_linear(CONV, r["x"], self.weight, self.bias, r["z"])
        trace.declare_rectified(r["z"], r["a"], exact=True)
        trace.declare_rectified(r["other"], r["c"], exact=False)
        trace.declare_linear(MAXPOOL, r["a"], r["a"], None, r["pool a"])
        trace.declare_linear(MAXPOOL, r["c"], r["c"], None, r["pool c"])
        trace.declare_linear(WIDE_MAXPOOL, r["both"], r["both"], None, r["pool both"])
        trace.declare_linear(FLAT, r["a"], None, None, r["flat"])
        trace.declare_linear(TURN, r["a"], None, None, r["turned"])
        trace.declare_linear(UPPER, r["both"], None, None, r["a"])
        trace.declare_linear(LOWER, r["both"], None, None, r["c"])
        trace.declare_map("add", (r["x"], r["other"]), r["sum"])
        trace.declare_rectified(r["sum"], r["y"], exact=True)
        trace.declare_summand(r["x"], r["sum"], r["other"])
        self.wide_weight = trace.constant(np.concatenate([weight, -weight[::-1]], axis=1))
        self.values = list(r.values())
        self.weights = [
            self.weight,
            positive(self.weight),
            negative(self.weight),
            trace.constant(np.ones((2, 2, 3, 3))),
        ]
        self.values += [trace.constant(v) for v in (0.0, 1.0, -0.5)] + [trace.zeros(SHAPE)]


def broadcastable(a: Any, b: Any) -> Any:
    """Per sample, without an axis moving: shapes of one rank, or a number."""
    if () in (a.shape, b.shape):
        return True
    return len(a.shape) == len(b.shape) and all(n == m or 1 in (n, m) for n, m in zip(a.shape, b.shape, strict=True))


# Each step maps a list of values to a new one, or to None where shapes do not fit. `pick` chooses a value.


def _binary(f: Any) -> Callable[..., Any]:
    def step(t: Any, pick: Any) -> Any:
        a, b = pick(t.values), pick(t.values)
        return f(a, b) if broadcastable(a, b) else None

    return step


def _quotient(t: Any, pick: Any) -> Any:
    """R / stabilize(D): of a D that is known to be <= 0, zeros may go either way, so that −D is taken."""
    r, d = pick(t.values), pick(t.values)
    if not broadcastable(r, d):
        return None
    return r / stabilize(-d if t.downward(d) else d, 0.5)


def _on(shape: Any, f: Any) -> Callable[..., Any]:
    def step(t: Any, pick: Any) -> Any:
        fitting = [v for v in t.values if v.shape == shape]
        return f(t, pick(fitting), pick) if fitting else None

    return step


def _selector(t: Any, pick: Any) -> Any:
    return t.read[pick(("a", "c"))]


def _biased(t: Any, x: Any, pick: Any) -> Any:
    return t.trace.linear(CONV, x, pick(t.weights), pick((None, t.bias, positive(t.bias))))


def _part(t: Any, x: Any, pick: Any) -> Any:
    return t.trace.linear(pick((UPPER, LOWER)), x)


def _part_of_routed(t: Any, x: Any, pick: Any) -> Any:
    """A part of what a pooling gives back, where its own tensor is positive."""
    part, own = pick(((UPPER, "a"), (LOWER, "c")))
    return t.trace.linear(part, t.trace.adjoint(WIDE_MAXPOOL, x, t.read["both"])) * (t.read[own] > 0)


STEPS = {
    "add": _binary(lambda a, b: a + b),
    "sub": _binary(lambda a, b: a - b),
    "mul": _binary(lambda a, b: a * b),
    "max": _binary(lambda a, b: a.trace.map("max", a, b)),
    "min": _binary(lambda a, b: a.trace.map("min", a, b)),
    "where above": _binary(lambda a, b: a * (b > 0)),
    "where below": _binary(lambda a, b: a * (b < 0)),
    "quotient": _quotient,
    "neg": lambda t, pick: -pick(t.values),
    "positive": lambda t, pick: positive(pick(t.values)),
    "negative": lambda t, pick: negative(pick(t.values)),
    "square": lambda t, pick: t.trace.map("square", pick(t.values)),
    "tanh": lambda t, pick: t.trace.map("tanh", pick(t.values)),
    "select": _on(SHAPE, lambda t, x, pick: t.trace.linear(MAXPOOL, x, _selector(t, pick))),
    "unselect": _on(POOLED, lambda t, x, pick: t.trace.adjoint(MAXPOOL, x, _selector(t, pick))),
    "flatten": _on(SHAPE, lambda t, x, pick: t.trace.linear(FLAT, x)),
    "unflatten": _on((32,), lambda t, x, pick: t.trace.adjoint(FLAT, x)),
    "turn": _on(SHAPE, lambda t, x, pick: t.trace.linear(TURN, x)),
    "turn back": _on(SHAPE, lambda t, x, pick: t.trace.adjoint(TURN, x)),
    "slice": _on(WIDE, lambda t, x, pick: t.trace.linear(pick((UPPER, LOWER)), x)),
    "pad": _on(SHAPE, lambda t, x, pick: t.trace.adjoint(pick((UPPER, LOWER)), x)),
    "crop": _on(SHAPE, lambda t, x, pick: t.trace.linear(CROP, x)),
    "uncrop": _on(POOLED, lambda t, x, pick: t.trace.adjoint(CROP, x)),
    "unselect both": _on((4, 2, 2), lambda t, x, pick: t.trace.adjoint(WIDE_MAXPOOL, x, t.read["both"])),
    "part of unselect": _on((4, 2, 2), lambda t, x, pick: _part_of_routed(t, x, pick)),
    "part of conv back": _on(SHAPE, lambda t, x, pick: _part(t, t.trace.adjoint(WIDE_CONV, x, t.wide_weight), pick)),
    "part of product": _on(
        SHAPE, lambda t, x, pick: _part(t, t.read["both"] * t.trace.adjoint(WIDE_CONV, x, t.wide_weight), pick)
    ),
    "total": _on(SHAPE, lambda t, x, pick: t.trace.linear(TOTAL, x)),
    "spread": _on((2, 1, 1), lambda t, x, pick: t.trace.broadcast_to(t.trace.adjoint(TOTAL, x), SHAPE)),
    "conv": _on(SHAPE, _biased),
    "conv back": _on(SHAPE, lambda t, x, pick: t.trace.adjoint(CONV, x, pick(t.weights))),
}


@pytest.mark.slow
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data(), seed=st.integers(0, 1000))
def test_facts_are_true_and_rewrites_change_nothing(data: st.DataObject, seed: int) -> None:
    """In a random expression each value has its sign, is zero where its gates are, and is what the plain trace has."""
    tensors, weight, bias = activations(np.random.default_rng(seed))
    full: Any
    plain: Any
    full, plain = (Traced(tensors, weight, bias, rewrites) for rewrites in (REWRITES, ()))
    for _ in range(data.draw(st.integers(1, 12))):
        step, choices = STEPS[data.draw(st.sampled_from(tuple(STEPS)))], []

        def draw(among: Any, choices: Any = choices) -> Any:
            choices.append(data.draw(st.integers(0, len(among) - 1)))
            return among[choices[-1]]

        downward = []
        full.downward = lambda d, seen=downward: seen.append(d.nonpositive and not d.is_zero) or seen[-1]
        if (value := step(full, draw)) is None:
            continue
        # The plain trace makes the same choices; its shapes may be larger, as nothing is left to broadcasting.
        again = iter(choices)
        plain.downward = lambda d, seen=downward: seen[0]
        full.values.append(value)
        plain.values.append(step(_aligned(plain, full), lambda among, again=again: among[next(again)]))
    check(full, plain, tensors)


def _aligned(plain: Any, full: Any) -> Any:
    """The plain trace's values under the shapes of the full one's, so that choices by shape agree."""
    assert [v.shape for v in plain.values] == [v.shape for v in full.values[: len(plain.values)]]
    return plain


def check(full: Any, plain: Any, tensors: Any) -> None:
    results = evaluated(full, tensors)
    tensor_of = {value.index: name for name, value in full.read.items()}
    for value, result in zip(full.values, results, strict=True):
        shaped = result if value.constant else result.reshape(len(result), *value.shape)
        if value.nonnegative:
            assert (result >= 0).all()
        if value.nonpositive:
            assert (result <= 0).all()
        for gate in value.gates:
            closed = tensors[tensor_of[gate]] == 0
            assert not shaped[np.broadcast_to(closed, shaped.shape)].any()
    for mine, theirs in zip(results, evaluated(plain, tensors), strict=True):
        # What does not depend on the sample may be a constant in one of them.
        mine, theirs = np.broadcast_arrays(mine, theirs)
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


def evaluated(traced: Any, tensors: Any) -> list[Any]:
    program = traced.trace.program({str(n): v for n, v in enumerate(traced.values)}, None)
    run = prepared("reference", identity({name: t.shape[1:] for name, t in tensors.items()}), program)
    outputs = run({f"{name}/in": t for name, t in tensors.items()})
    return [outputs[str(n)] for n in range(len(traced.values))]


@pytest.mark.parametrize("part", [None, "a", "c"])
def test_relevance_is_masked_before_it_is_given_back_by_a_pooling(part: str | None) -> None:
    """The mask is one of the results, of which there are fewer than elements ("route")."""
    tensors, weight, bias = activations(np.random.default_rng(0))
    traced = Traced(tensors, weight, bias, REWRITES)
    trace, name = traced.trace, "pool a" if part is None else "pool both"
    s = traced.read[name] - 0.5
    if part is None:
        back = trace.adjoint(MAXPOOL, s, traced.read["a"])
    else:
        back = trace.linear({"a": UPPER, "c": LOWER}[part], trace.adjoint(WIDE_MAXPOOL, s, traced.read["both"]))
    masked = back * (traced.read[part or "a"] > 0)
    compared = [trace.values[step.inputs[0]].index for step in trace.steps if step.op == "greater"]
    assert traced.read[name].index in compared
    assert trace.steps[masked.index].op == ("Select" if part is None else "Slice")
    traced.values = [back, masked]
    plain, found = evaluated(traced, tensors)
    np.testing.assert_array_equal(found, plain * (tensors[part or "a"] > 0))


@pytest.mark.parametrize("product", [False, True])
def test_a_part_of_an_adjoint_has_its_own_filters(product: bool) -> None:
    """No sum over channels that are cut off afterwards, nor a slice of what has a batch ("slice")."""
    tensors, weight, bias = activations(np.random.default_rng(0))
    traced = Traced(tensors, weight, bias, REWRITES)
    trace, both = traced.trace, traced.read["both"]
    back = trace.adjoint(WIDE_CONV, traced.read["x"], traced.wide_weight)
    whole = both * back if product else back
    upper, lower = trace.linear(UPPER, whole), trace.linear(LOWER, whole)
    assert not any(step.op == "Slice" and not step.constant for step in trace.steps)
    traced.values = [whole, upper, lower]
    expected, *found = evaluated(traced, tensors)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-12)


# -- whole programs

OPTIONS = {"epsilon_gamma_box": {"low": -3.0, "high": 3.0}, "deep_taylor_bounded": {"low": -3.0, "high": 3.0}}


@pytest.mark.few(5)
@pytest.mark.parametrize("method", small_nets.METHODS)
def test_each_rewrite_can_be_left_out(method: Any) -> None:
    """On a net with residual, BatchNormalization first, max and average pooling, concat, clip: the same relevance."""
    choices = (REWRITES, *(REWRITES - {rewrite} for rewrite in sorted(REWRITES)))
    for net, some in (("everything", choices), ("preactivation", choices[:1]), ("norm_first", choices[:1])):
        graph = small_nets.graph(net)
        inputs, composite = small_nets.batch(graph), make_composite(method, **OPTIONS.get(method, {}))
        none = small_nets.explained(graph, composite, inputs, rewrites=())["relevance"]
        assert none.any()
        for rewrites in some:
            outputs = small_nets.explained(graph, composite, inputs, rewrites=rewrites)
            small_nets.agree(outputs["relevance"], none)
