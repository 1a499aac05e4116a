"""A quantised model is compared with its file when it is loaded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxlrp.errors import CheckFailed
from onnxlrp.graph import verify_quantized
from onnxlrp.graph.frontend import simplify
from onnxlrp.graph.load import load
from support import small_nets


def model(integer: bool = False) -> onnx.ModelProto:
    """A convolution of float weights, or a product of integers, between quantised activations."""
    n = small_nets.Net(3, 8, 8)
    ends = np.array(0.03, np.float32), np.array(128, np.uint8)
    q = n.op("QuantizeLinear", "x", *ends)
    if integer:
        weight = n.rng.integers(-5, 5, (8, 8)).astype(np.int8)
        q = n.op("QLinearMatMul", q, *ends, weight, np.array(0.1, np.float32), np.array(0, np.int8), *ends)
    x = n.op("DequantizeLinear", q, *ends)
    y = n.op("DequantizeLinear", n.op("QuantizeLinear", n.conv(x, 3, 4), *ends), *ends)
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", y)))


def test_a_model_that_rounds_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by onnxruntime's optimiser, which rounds the weights."""
    kept = [name for name in simplify._DISABLED if name != "WeightBiasQuantization"]
    assert "onnxlrp.quantised" not in load(model()).metadata
    monkeypatch.setattr(simplify, "_DISABLED", tuple(kept))
    with pytest.raises(CheckFailed, match="deviates from the untouched model"):
        load(model())


def test_what_cannot_be_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **options: object) -> float:
        raise RuntimeError("no such input")

    monkeypatch.setattr(verify_quantized, "verify", fails)
    assert (
        load(model()).metadata["onnxlrp.quantised"] == "it could not be compared with the untouched file: no such input"
    )


def test_integer_operators_may_depend_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def deviates(*arguments: object, **options: object) -> float:
        raise CheckFailed('"y" deviates', "")

    assert "onnxlrp.quantised" not in load(model(integer=True)).metadata
    monkeypatch.setattr(verify_quantized, "verify", deviates)
    assert load(model(integer=True)).metadata["onnxlrp.quantised"].endswith('on this processor: "y" deviates')
    with pytest.raises(CheckFailed):
        load(model())


def test_float_models_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_quantized, "verify", None)
    n = small_nets.Net(3, 8, 8)
    assert load(n.model(n.relu(n.conv("x", 3, 4)))).layers
