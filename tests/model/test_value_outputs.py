"""Outputs that are values by name or form: depths, forecasts, pictures that are made of pictures or numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import onnxlrp
from support.small_nets import Net


def ended(
    name: str, op: str = "", channels: int = 3, stride: int = 1, larger: int = 1, squeezed: bool = False
) -> onnx.ModelProto:
    n = Net(3, 8, 8, seed=1)
    y = n.conv("x", 3, channels, strides=[stride, stride])
    if larger > 1:
        y = n.op("DepthToSpace", n.conv(y, channels, channels * larger**2), blocksize=larger)
    y = n.op(op, y) if op else y
    y = n.op("Gather", y, np.array(0), axis=1) if squeezed else y
    n.nodes.append(helper.make_node("Identity", [y], [name]))
    return n.model(name)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        (ended("output", "Tanh"), True),
        (ended("output", larger=2), True),
        (ended("output"), False),
        (ended("output", channels=5, larger=2), False),
        (ended("output", "Sigmoid"), False),
        (ended("predicted_depth", channels=1, squeezed=True), True),
        (ended("optical_flow", channels=2), True),
        (ended("deepflower", channels=2), False),
    ],
    ids=["tanh", "larger", "plain", "classes", "sigmoid", "depth", "flow", "other"],
)
def test_pictures_and_depths_are_values(file: onnx.ModelProto, values: bool) -> None:
    model = onnxlrp.load(file, engine="reference").for_target()
    assert model.place is not None
    assert (str(model.place) == "all") == values
    if not values:
        return
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    y = np.asarray(onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})[0], np.float64)
    mean = y.mean(axis=(-2, -1)).reshape(2, -1)
    np.testing.assert_allclose(model.explain(x, method="gradient").output, mean, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("name", "kind"), [("forecast", "Values"), ("quantiles", "Values"), ("output", "")])
def test_names_of_forecasts(name: str, kind: str) -> None:
    n = Net(6)
    n.nodes.append(helper.make_node("MatMul", ["x", n.weight(np.ones((6, 4)))], [name]))
    assert onnxlrp.load(n.model(name), engine="reference").head.kind == kind
