"""Fisher vectors, VLAD and bags of words, in the forms that they are written in, against the papers' sums in numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import onnxlrp
from support.small_nets import Net

PLACES, WIDTH, COUNT, CLASSES = 5, 3, 4, 2
RNG = np.random.default_rng(3)
# Numbers that float32 holds exactly, and their inverses and products too: the forms then compute the same.
CENTRES = np.round(RNG.normal(size=(COUNT, WIDTH)) * 16) / 16
DEVIATIONS = RNG.choice([0.5, 1.0, 2.0], (COUNT, WIDTH))
WEIGHTS = np.array([0.0625, 0.25, 0.25, 0.4375])
SCORES, SHIFT = np.round(RNG.normal(size=(WIDTH + 1, COUNT)) * 16)[:-1] / 16, np.arange(COUNT) / 4
MIX = np.round(RNG.normal(size=(WIDTH, WIDTH)) * 8) / 8
HARDNESS = 0.75
CONSTANTS = np.round((np.log(WEIGHTS) - np.log(DEVIATIONS).sum(axis=1)) * 64) / 64
BIAS = [0.25, -0.125]
EXACT: dict[str, Any] = {"method": "epsilon", "epsilon": 1e-12, "stabilizer": 1e-12}


def single(value: Any) -> Any:
    return np.asarray(value, np.float32)


def samples(count: int = 6) -> Any:
    return np.round(np.random.default_rng(1).normal(size=(count, PLACES, WIDTH)) * 64).astype(np.float32) / 64


def axes(*numbers: int) -> Any:
    return np.array(numbers)


# -- how such models are written


def residuals(net: Net, how: str) -> str:
    """(x − μ) / σ of each component [N, places, components, width]."""
    x = net.op("Unsqueeze", "x", axes(2))
    if how == "sum":
        return net.op("Mul", net.op("Add", x, single(-CENTRES)), single(1 / DEVIATIONS))
    if how == "turned":  # (μ − x) / −σ
        return net.op("Div", net.op("Sub", single(CENTRES), x), single(-DEVIATIONS))
    return net.op("Div", net.op("Sub", x, single(CENTRES)), single(DEVIATIONS))


def squared(net: Net, u: str, how: str) -> str:
    """Σ u² over the last axis."""
    if how == "power":
        return net.op("ReduceSum", net.op("Pow", u, single(2)), axes(3), keepdims=0)
    if how == "product":
        return net.op("ReduceSum", net.op("Mul", u, u), axes(3), keepdims=0)
    return net.op("ReduceSumSquare", u, axes(3), keepdims=0)


def posteriors(net: Net, u: str, how: str) -> str:
    """γ of each component, written with the distances or without."""
    if how == "expanded":
        precision = 1 / DEVIATIONS**2
        own = net.op("MatMul", net.op("Mul", "x", "x"), single(-0.5 * precision.T))
        crossed = net.op("MatMul", "x", single((CENTRES * precision).T))
        constants = CONSTANTS - 0.5 * (CENTRES**2 * precision).sum(axis=1)
        densities = net.op("Add", net.op("Add", own, crossed), single(constants))
    else:
        densities = net.op("Add", net.op("Mul", squared(net, u, how), single(-0.5)), single(CONSTANTS))
    if how != "formula":
        return net.op("Softmax", densities, axis=-1)
    powers = net.op("Exp", net.op("Sub", densities, net.op("ReduceMax", densities, axes(2), keepdims=1)))
    return net.op("Div", powers, net.op("ReduceSum", powers, axes(2), keepdims=1))


def classified(net: Net, vector: str, width: int) -> Any:
    """Power and length normalisation, and a linear classifier."""
    powers = net.op("Mul", net.op("Sign", vector), net.op("Sqrt", net.op("Abs", vector)))
    unit = net.op("Div", powers, net.op("ReduceL2", powers, axes(1), keepdims=1))
    weight = np.random.default_rng(width).normal(size=(width, CLASSES))
    return net.model(net.op("Gemm", unit, single(weight), single(BIAS)))


def fisher(how: str) -> Any:
    net = Net(PLACES, WIDTH)
    u = residuals(net, how)
    gates = net.op("Unsqueeze", posteriors(net, u, how), axes(3))
    parts = []
    for terms, factors in (
        (u, 1 / np.sqrt(WEIGHTS)),
        (net.op("Sub", net.op("Mul", u, u), single(1)), 1 / np.sqrt(2 * WEIGHTS)),
    ):
        mean = net.op("ReduceMean", net.op("Mul", gates, terms), axes(1), keepdims=0)
        parts.append(net.op("Flatten", net.op("Mul", mean, single(factors[:, None]))))
    return classified(net, net.op("Concat", *parts, axis=1), 2 * COUNT * WIDTH)


def vlad() -> Any:
    """Shares by a linear layer, as NetVLAD has them (Arandjelović et al. 2016)."""
    net = Net(PLACES, WIDTH)
    shares = net.op("Softmax", net.op("Add", net.op("MatMul", "x", single(SCORES)), single(SHIFT)), axis=-1)
    apart = net.op("Sub", net.op("Unsqueeze", "x", axes(2)), single(CENTRES))
    gated = net.op("Mul", apart, net.op("Unsqueeze", shares, axes(3)))
    return classified(net, net.op("Flatten", net.op("ReduceSum", gated, axes(1), keepdims=0)), COUNT * WIDTH)


def copied_vlad() -> Any:
    """With copies of x for each word, before the batch, and of words for each place, as torch's `expand` has them."""
    net = Net(PLACES, WIDTH)
    x = net.op("MatMul", "x", single(MIX))
    shares = net.op("Softmax", net.op("Add", net.op("MatMul", x, single(SCORES)), single(SHIFT)), axis=-1)
    copies = net.op("Expand", x, axes(COUNT, 1, 1, 1))
    apart = net.op("Sub", net.op("Transpose", copies, perm=[1, 2, 0, 3]), single(np.tile(CENTRES, (1, PLACES, 1, 1))))
    gated = net.op("Mul", apart, net.op("Unsqueeze", shares, axes(3)))
    return classified(net, net.op("Flatten", net.op("ReduceSum", gated, axes(1), keepdims=0)), COUNT * WIDTH)


def bag(how: str) -> Any:
    net = Net(PLACES, WIDTH)
    apart = net.op("Sub", net.op("Unsqueeze", "x", axes(2)), single(CENTRES))
    if how in ("root", "power root"):
        squares = squared(net, apart, "power")
        root = net.op("Sqrt", squares) if how == "root" else net.op("Pow", squares, single(0.5))
        near = net.op("Mul", root, single(-HARDNESS))
        return classified(net, net.op("ReduceMean", net.op("Softmax", near, axis=2), axes(1), keepdims=0), COUNT)
    near = net.op("Mul", squared(net, apart, how), single(-HARDNESS))
    if how == "turned":
        near = net.op("Neg", net.op("Div", squared(net, apart, how), single(1 / HARDNESS)))
    return classified(net, net.op("ReduceMean", net.op("Softmax", near, axis=2), axes(1), keepdims=0), COUNT)


# -- what the papers say


def softmax(z: Any) -> Any:
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def of_vector(vector: Any, target: int) -> tuple[Any, float]:
    """Relevance of a vector, and the logit: what each normalised value adds to the classifier's score."""
    powers = np.sign(vector) * np.sqrt(np.abs(vector))
    weight = np.random.default_rng(len(vector)).normal(size=(len(vector), CLASSES)).astype(np.float32)
    parts = powers / np.linalg.norm(powers) * weight[:, target]
    return parts, float(parts.sum() + single(BIAS)[target])


def of_sums(terms: Any, factors: Any, target: int) -> tuple[Any, float]:
    """Each place's share of the relevance of Σ over places, for terms [places, …]."""
    total = (terms * factors).sum(axis=0)
    parts, logit = of_vector(total.reshape(-1), target)
    return terms * factors / total * parts.reshape(total.shape), logit


def expected_fisher(x: Any, target: int) -> tuple[Any, float]:
    """What each descriptor adds to the means γ (x − μ) / σ and γ [((x − μ) / σ)² − 1]; the posteriors get nothing."""
    u = (x[:, None] - CENTRES) / DEVIATIONS
    gates = softmax(-0.5 * (u**2).sum(axis=2) + CONSTANTS)[..., None]
    terms = np.stack([gates * u, gates * (u**2 - 1)], axis=1)
    factors = single([1 / np.sqrt(WEIGHTS), 1 / np.sqrt(2 * WEIGHTS)]).astype(float)[..., None] / PLACES
    shares, logit = of_sums(terms, factors, target)
    return shares.sum(axis=(1, 2)), logit


def expected_vlad(x: Any, target: int) -> tuple[Any, float]:
    shares, logit = of_sums(softmax(x @ SCORES + SHIFT)[..., None] * (x[:, None] - CENTRES), 1.0, target)
    return shares.sum(axis=1), logit


def expected_copied_vlad(x: Any, target: int) -> tuple[Any, float]:
    relevance, logit = expected_vlad(x @ MIX, target)
    return np.einsum("ti,io,to->ti", x, MIX, relevance / (x @ MIX)), logit


def expected_bag(x: Any, target: int, power: float = 1.0) -> tuple[Any, float]:
    """Each descriptor's share of each word, divided by what each feature adds to the squared distance."""
    squares = (x[:, None] - CENTRES) ** 2
    shares, logit = of_sums(softmax(-HARDNESS * squares.sum(axis=2) ** power), 1 / PLACES, target)
    return (shares[..., None] * squares / squares.sum(axis=2, keepdims=True)).sum(axis=1), logit


FORMS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    **{
        f"fisher, {how}": (partial(fisher, how), expected_fisher)
        for how in ("plain", "sum", "turned", "power", "product", "expanded", "formula")
    },
    "vlad": (vlad, expected_vlad),
    "vlad, copied": (copied_vlad, expected_copied_vlad),
    **{f"bag, {how}": (partial(bag, how), partial(expected_bag, power=0.5)) for how in ("root", "power root")},
    **{f"bag, {how}": (partial(bag, how), expected_bag) for how in ("plain", "power", "product", "turned")},
}


@pytest.mark.few(7)
@pytest.mark.parametrize("form", FORMS)
def test_relevance_is_that_of_the_papers(form: str) -> None:
    make, expected = FORMS[form]
    x = samples()
    explained: Any = onnxlrp.load(make(), engine="reference").explain(x, ledger=True, **EXACT)
    for n, sample in enumerate(np.asarray(x, np.float64)):
        relevance, logit = expected(sample, int(explained.target[n]))
        assert explained.logit[n] == pytest.approx(logit, abs=1e-6)
        np.testing.assert_allclose(explained.relevance[n], relevance, rtol=1e-6, atol=1e-6)
    # All but the bias of the classifier arrives.
    bias = single(BIAS)[explained.target]
    np.testing.assert_allclose(explained.relevance.sum(axis=(1, 2)) + bias, explained.logit, atol=1e-6)
    assert max(row.error for row in explained.ledger) < 1e-9


@pytest.mark.parametrize("method", ["epsilon", "attention", "recurrent", "epsilon_plus_flat"])
def test_shares_of_words_hand_relevance_on(method: str) -> None:
    """Also where a softmax of attention stops it."""
    model = onnxlrp.load(bag("plain"), engine="reference")
    kinds = {matched.op: matched.kind for _, matched, _ in model.layers(model.composite(method))}
    assert (kinds["Sub"], kinds["Softmax"]) == ("prototype", "assignment")
    plain = model.explain(samples(), method=method)
    assert np.abs(plain.relevance).sum() > 0


def test_copies_of_descriptors_are_no_positions() -> None:
    model = onnxlrp.load(copied_vlad(), engine="reference")
    assert "prototype" in {matched.kind for _, matched, _ in model.layers(model.composite("attention"))}


def test_other_differences_and_softmaxes_are_what_they_were() -> None:
    """A constant that is broadcast to many shifts, of which no distances and no shares are made; logits of others."""
    net = Net(PLACES, WIDTH)
    apart = net.op("Sub", net.op("Unsqueeze", "x", axes(2)), single(CENTRES))
    gates = net.op("Softmax", net.op("ReduceSum", net.op("Tanh", apart), axes(3), keepdims=0), axis=2)
    model = onnxlrp.load(classified(net, net.op("ReduceMean", gates, axes(1), keepdims=0), COUNT), engine="reference")
    kinds = {matched.op: matched.kind for _, matched, _ in model.layers(model.composite("epsilon"))}
    assert (kinds["Sub"], kinds["Softmax"]) == ("sum", "softmax")
