"""A regression with several values: each is explained and shown as it is, never as a share of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxlrp
from onnxlrp.commands import summary
from support.arrays import Array
from support.small_nets import Net

VALUES = 3


def regression(output: str = "y", metadata: Mapping[str, str] | None = None) -> tuple[onnx.ModelProto, Array]:
    """Three values of a linear model, and its matrix [3, 6]."""
    n = Net(6, seed=2)
    weights = n.rng.normal(size=(6, VALUES)).astype(np.float32)
    file = n.model(n.op("MatMul", "x", weights))
    file.graph.node[-1].output[0] = file.graph.output[0].name = output
    helper.set_model_props(file, dict(metadata or {}))
    return file, weights.T


KNOWN: dict[str, Any] = {
    "name": (regression("variable"), {}),
    "coordinates": (regression("landmarks"), {}),
    "metadata": (regression(metadata={"task": "regression"}), {}),
    "user": (regression(), {"task": "regression"}),
}


@pytest.mark.parametrize("how", KNOWN)
def test_values_are_shown_and_explained_as_they_are(how: str) -> None:
    (file, w), said = KNOWN[how]
    model = onnxlrp.load(file, engine="reference")
    x = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    y = x @ w.T
    for k in range(VALUES):
        found = model.explain(x, k, method="epsilon", epsilon=1e-12, **said)
        np.testing.assert_allclose(found.relevance, w[k] * x, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.logit, y[:, k], rtol=1e-5)
        np.testing.assert_allclose(found.probabilities, y, rtol=1e-5)
        assert (found.quantity, found.is_value) == ("value", True)
        assert found.title().split(" · ")[1] == f"{y[0, k]:.4g}"
        assert summary.top(found[0])[0] == "values"
        # What is hidden changes the value, not a probability.
        hidden = model.explain(x, k, method="occlusion", window=1, stride=1, baseline="zero", **said)
        np.testing.assert_allclose(hidden.relevance, w[k] * x, rtol=1e-4, atol=1e-5)


def test_where_nothing_tells_the_guess_is_said_with_the_way_out() -> None:
    file, _ = regression()
    model = onnxlrp.load(file, engine="reference")
    text = summary.head(model.head, model.classes, model.labels is not None)
    assert "taken for scores of classes" in text
    assert "--task regression" in text
    named = onnxlrp.load(regression("variable")[0], engine="reference")
    said = summary.head(named.head, named.classes, named.labels is not None)
    assert "taken for a regression by the name or form of the output" in said
    assert "--task classification" in said
