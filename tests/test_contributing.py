"""The recipes of CONTRIBUTING.md, tried."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp import layers, rules
from onnxlrp.methods import registry as methods

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# (\w+)\n(.*?)```", TEXT, flags=re.DOTALL))


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a recipe's code as a module; what it registers is gone after the test."""
    for registry in (layers.LAYERS, rules.RULES, methods.METHODS):
        assert len(registry)  # all of it is imported
        monkeypatch.setattr(registry, "_rows", dict(registry._rows))

    def run(name: Any) -> Any:
        module = types.ModuleType(f"recipe_{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(BLOCKS[name], module.__dict__)
        return module

    return run


def network(activation: Any) -> Any:
    rng = np.random.default_rng(0)
    weights = {"w1": rng.normal(size=(6, 4)), "b1": rng.normal(size=4), "w2": rng.normal(size=(4, 3))}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["z"]),
        helper.make_node(activation, ["z"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])


X = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)


def test_there_is_a_test_for_each_recipe() -> None:
    assert sorted(BLOCKS) == ["attribution", "engine", "method", "operator", "rule"]


def test_operator(recipe: Callable[..., Any]) -> None:
    model = network("Shrink")
    with pytest.raises(onnxlrp.OnnxLrpError, match="Shrink"):
        onnxlrp.load(model).explain(X)
    recipe("operator")
    loaded = onnxlrp.load(model, engine="reference")
    gradient = loaded.explain(X, target=1, method="gradient").relevance
    step = 1e-6
    for i in range(6):
        bump = np.zeros(6)
        bump[i] = step
        up, down = (loaded.explain((X + s * bump).astype(np.float64), target=1).logit for s in (1, -1))
        # Inputs are float32, so that the step is what arrives.
        moved = ((X + bump).astype(np.float32).astype(float) - (X - bump).astype(np.float32).astype(float))[:, i]
        np.testing.assert_allclose((up - down) / moved, gradient[:, i], rtol=1e-4, atol=1e-6)


def test_rule(recipe: Callable[..., Any]) -> None:
    recipe("rule")
    half = onnxlrp.Composite([("dense", rules.parse("half_weights")), ("activation", rules.parse("pass"))])
    plain = onnxlrp.Composite([("dense", rules.parse("epsilon(0.000002)")), ("activation", rules.parse("pass"))])
    model = network("Relu")
    for i in model.graph.initializer:
        if i.name == "b1":
            i.CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), "b1"))
    loaded = onnxlrp.load(model, engine="reference")
    a, b = (loaded.explain(X, method=m).relevance for m in (half, plain))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_method(recipe: Callable[..., Any]) -> None:
    recipe("method")
    e = onnxlrp.load(network("Relu")).explain(X, method="half_epsilon")
    assert e.relevance.shape == X.shape
    assert np.abs(e.relevance).max() > 0


def test_attribution(recipe: Callable[..., Any]) -> None:
    recipe("attribution")
    loaded = onnxlrp.load(network("Relu"))
    slope = loaded.explain(X, target=1, method="gradient").relevance
    found = loaded.explain(X, target=1, method="gradient_norm", power=2).relevance
    np.testing.assert_allclose(found, slope**2, rtol=1e-6)


def test_engine(recipe: Callable[..., Any]) -> None:
    exact = onnxlrp.load(network("Relu"), engine="reference").explain(X).relevance
    found = onnxlrp.load(network("Relu"), engine=recipe("engine").Rounded()).explain(X).relevance
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)


def test_onnx_is_not_changed() -> None:
    model = network("Relu")
    before = model.SerializeToString()
    onnxlrp.load(model).explain(X)
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
