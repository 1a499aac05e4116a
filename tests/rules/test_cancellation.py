"""Sums whose terms cancel by their formula: the ledger closes, and float32 agrees with float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from support.small_nets import METHODS, Net


def own_size(n: Net, h: str) -> str:
    return n.op("Add", n.op("Abs", h), h)


def below_the_maximum(n: Net, h: str) -> str:
    return n.op("Exp", n.op("Sub", h, n.op("ReduceMax", h, np.array([-1]))))


def less_itself_clipped(n: Net, h: str) -> str:
    return n.op("Exp", n.op("Sub", n.op("Clip", h, np.array(-0.5), np.array(0.5)), h))


@pytest.mark.few(1)
@pytest.mark.parametrize("form", [own_size, below_the_maximum, less_itself_clipped])
def test_what_cancels_is_absorbed(form: Any) -> None:
    n = Net(6, seed=4)
    model = n.model(n.dense(form(n, n.dense("x", 6, 8)), 8, 3))
    x = np.random.default_rng(5).normal(size=(20, 6)).astype(np.float32)
    for method in (name for name in METHODS if "bo" not in name):
        got, exact = (onnxlrp.load(model, engine=e).explain(x, target=1, method=method, ledger=True)
                      for e in ("ort", "reference"))  # fmt: skip
        scale = np.abs(exact.relevance).max(axis=1, keepdims=True)
        np.testing.assert_allclose(got.relevance / scale, exact.relevance / scale, atol=1e-3, err_msg=method)
        assert max(row.error for row in got.ledger) < 1e-4, method


@pytest.mark.few(4)
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e5])
@pytest.mark.parametrize("rest", [0.0, 1e-9])
def test_alpha_beta_absorbs_the_share_of_negative_contributions_where_there_are_none(
    tiled: bool, scale: float, rest: float
) -> None:
    """A negative part that is the rounding of a difference must not become a denominator."""
    n = Net(4 if tiled else 16, 6, 6)
    h = n.op("Tile", "x", np.array([1, 4, 1, 1])) if tiled else "x"
    weight = np.abs(n.rng.normal(size=(5, 16, 3, 3)))
    weight[0] *= -1  # so that no sign is known
    weight[1:, 0, 0, 0] = -rest
    y = n.op("GlobalAveragePool", n.op("Conv", h, scale * weight, pads=[1] * 4))
    model = n.model(n.op("Gemm", n.op("Flatten", y), n.rng.normal(size=(5, 3))))
    x = np.abs(n.rng.normal(size=(5, *n.shape))).astype(np.float32)
    for target in range(3):
        found = onnxlrp.load(model).explain(x, target=target, method="epsilon_alpha2_beta1", ledger=True)
        bound = onnxlrp.load(model).explain(x, target=target, method="epsilon_plus").relevance
        assert max(row.error for row in found.ledger) < 1e-4
        assert np.abs(found.relevance).max() <= 3 * np.abs(bound).max()


def softmax(n: Net, h: str) -> str:
    return n.op("Softmax", h, axis=-1)


def shifted(n: Net, h: str) -> str:
    e = n.op("Exp", n.op("Sub", h, n.op("ReduceMax", h, np.array([-1]))))
    return n.op("Div", e, n.op("ReduceSum", e, np.array([-1])))


def plain(n: Net, h: str) -> str:
    e = n.op("Exp", h)
    return n.op("Mul", n.op("Reciprocal", n.op("ReduceSum", e, np.array([1]))), e)


def unsqueezed(n: Net, h: str) -> str:
    highest = n.op("Unsqueeze", n.op("ReduceMax", h, np.array([-1]), keepdims=0), np.array([1]))
    e = n.op("Exp", n.op("Sub", h, highest))
    return n.op("Div", e, n.op("Unsqueeze", n.op("ReduceSum", e, np.array([-1]), keepdims=0), np.array([1])))


def by_logarithm(n: Net, h: str) -> str:
    return n.op("Exp", n.op("Sub", h, n.op("ReduceLogSumExp", h, np.array([-1]))))


def by_log_softmax(n: Net, h: str) -> str:
    return n.op("Exp", n.op("LogSoftmax", h, axis=1))


def by_stable_logarithm(n: Net, h: str) -> str:
    highest = n.op("ReduceMax", h, np.array([-1]))
    total = n.op("ReduceSum", n.op("Exp", n.op("Sub", h, highest)), np.array([-1]))
    return n.op("Exp", n.op("Sub", h, n.op("Add", n.op("Log", total), highest)))


def by_log_softmax_written_out(n: Net, h: str) -> str:
    u = n.op("Sub", h, n.op("ReduceMax", h, np.array([-1])))
    return n.op("Exp", n.op("Sub", u, n.op("Log", n.op("ReduceSum", n.op("Exp", u), np.array([-1])))))


FORMS = [shifted, plain, unsqueezed, by_logarithm, by_log_softmax, by_stable_logarithm, by_log_softmax_written_out]


@pytest.mark.parametrize("form", FORMS)
def test_a_softmax_written_out_is_a_softmax(form: Any) -> None:
    def model(make: Any) -> onnxlrp.Model:
        n = Net(6, seed=4)
        return onnxlrp.load(n.model(n.dense(make(n, n.dense("x", 6, 8)), 8, 3)))

    written, one = model(form), model(softmax)
    assert [layer.op for layer in written.graph.layers] == ["Gemm", "Softmax", "Gemm"]
    x = np.random.default_rng(5).normal(size=(4, 6)).astype(np.float32)
    for method in ("epsilon", "gradient"):
        maps = [m.explain(x, target=1, method=method).relevance for m in (written, one)]
        np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5, atol=1e-6)
