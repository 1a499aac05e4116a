"""Attention rollout and Chefer's relevance, against slow loops over their definitions in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import UnsupportedError, UsageError
from support.arrays import Array
from support.attention_models import GRID, READS, ROWS, SPELLINGS, Transformer

TARGET = 1


def inputs(made: Transformer, samples: int = 2) -> Array:
    rng = np.random.default_rng(3)
    if made.ids:
        return rng.integers(ROWS, size=(samples, 5))
    return rng.normal(size=(samples, 3, 8, 12)).astype(np.float32)


def rollout(made: Transformer, x: Array, residual: float = 0.5) -> Array:
    """[N, tokens], from Abnar and Zuidema, section 3, by loops."""
    _, maps = made.forward(x)
    rows = np.zeros((len(x), made.count))
    for i in range(len(x)):
        joint = np.eye(made.count)
        for weights in maps[:2]:
            mixed = (1 - residual) * weights[i].mean(axis=0) + residual * np.eye(made.count)
            joint = np.array([[sum(row[k] * joint[k, j] for k in range(made.count)) for j in range(made.count)]
                              for row in mixed / mixed.sum(axis=1, keepdims=True)])  # fmt: skip
        read = maps[2][i].mean(axis=(0, 1)) if made.read == "pooling" else made.read_rows()
        rows[i] = read @ joint
    return rows


def chefer(made: Transformer, x: Array) -> Array:
    """[N, tokens], from Chefer et al., eq. 5 and 6, by finite differences."""
    _, maps = made.forward(x)
    slopes = made.slopes(x, TARGET)
    rows = np.zeros((len(x), made.count))
    for i in range(len(x)):
        bars = [np.maximum(g[i] * a[i], 0).mean(axis=0) for g, a in zip(slopes, maps, strict=True)]
        joint = np.eye(made.count)
        for bar in bars[:2]:
            joint = joint + bar @ joint
        rows[i] = bars[2][0] @ joint if made.read == "pooling" else made.read_rows() @ (joint - np.eye(made.count))
    return rows


def compare(found: Any, made: Transformer, wanted: Array) -> None:
    if made.ids:
        np.testing.assert_allclose(found.relevance, wanted, rtol=2e-4, atol=1e-5 * np.abs(wanted).max())
        return
    coarse = wanted[:, 1:].reshape(-1, *GRID)  # without the class token
    up = coarse
    for axis, n in ((1, GRID[0]), (2, GRID[1])):
        at = np.clip((np.arange(4 * n) + 0.5) / 4 - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), n - 2)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        up = np.take(up, low, axis) * (1 - share) + np.take(up, low + 1, axis) * share
    np.testing.assert_allclose(found.relevance.sum(axis=1), up, rtol=2e-4, atol=2e-4 * np.abs(up).max())


def target_of(made: Transformer) -> Any:
    return f"{TARGET}@-1" if made.read == "last" else TARGET


CASES = [
    *[(spelling, "class", False) for spelling in SPELLINGS],
    *[("products", read, False) for read in READS if read != "class"],
    *[(spelling, "last", True) for spelling in ("masked", "operator")],
    ("products", "mean", True),
]


@pytest.mark.few(10)
@pytest.mark.parametrize("method", ["attention_rollout", "chefer"])
@pytest.mark.parametrize(("spelling", "read", "ids"), CASES)
def test_by_its_definition(method: str, spelling: str, read: str, ids: bool) -> None:
    made = Transformer(spelling, read, ids)
    x = inputs(made)
    found = onnxlrp.load(made.proto()).explain(x, target_of(made), method=method)
    np.testing.assert_allclose(found.logit, made.forward(x)[0][:, TARGET], rtol=1e-4)
    compare(found, made, chefer(made, x) if method == "chefer" else rollout(made, x))
    said = {"class": "token 0 of", "mean": "the mean of", "last": f"token {made.count - 1} of", "two": "token 0, 1 of",
            "pooling": "the queries of"}[read]  # fmt: skip
    assert said in found.notes["attention"]
    assert ("tokens" in found.notes) == (not ids)


def test_residual_is_an_option() -> None:
    made = Transformer()
    model, x = onnxlrp.load(made.proto()), inputs(made)
    for residual in (0.0, 0.25, 1.0):
        found = model.explain(x, TARGET, method="attention_rollout", residual=residual)
        compare(found, made, rollout(made, x, residual))
    with pytest.raises(UsageError, match="residual"):
        model.explain(x, TARGET, method="attention_rollout", residual=2)


def test_every_class_of_a_sample_and_small_batches() -> None:
    """Rollout is the same for each class, Chefer's relevance is not; batches change neither."""
    made = Transformer()
    model, x = onnxlrp.load(made.proto()), inputs(made, 5)
    for method, same in (("attention_rollout", True), ("chefer", False)):
        found = model.explain(x, targets=[0, 1, 2], method=method)
        assert np.allclose(found.relevance[0], found.relevance[1]) == same
        single = np.stack([model.explain(x, t, method=method, batch_size=2).relevance for t in range(3)])
        np.testing.assert_allclose(found.relevance, single, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["attention_rollout", "chefer"])
def test_refused_where_there_is_no_attention_between_tokens(method: str) -> None:
    from support.small_nets import Net

    plain = Net(3, 8, 8)
    y = plain.dense(plain.op("Flatten", plain.relu(plain.conv("x", 3, 2))), 128, 3)
    with pytest.raises(UnsupportedError, match="no attention"):
        onnxlrp.load(plain.model(y, 3)).explain(np.zeros((1, 3, 8, 8), np.float32), 0, method=method)
    # Axial: rows attend to rows of their own column alone.
    axial = Net(3, 8, 6)
    t = axial.op("Transpose", axial.conv("x", 3, 4), perm=[0, 3, 2, 1])
    weights = axial.op("Softmax", axial.op("MatMul", t, axial.op("Transpose", t, perm=[0, 1, 3, 2])), axis=-1)
    y = axial.dense(axial.op("Flatten", axial.op("MatMul", weights, t)), 192, 3)
    with pytest.raises(UnsupportedError, match="windows") as caught:
        onnxlrp.load(axial.model(y, 3)).explain(np.zeros((1, 3, 8, 6), np.float32), 0, method=method)
    assert "gradient_x_input" in caught.value.fix
