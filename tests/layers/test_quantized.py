"""Quantised activations: the clip mask of the gradient, relevance that passes, and whole quantised models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import small_nets
from conformance import each_engine, prepared

import onnxlrp
from onnxlrp.composites import preset
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph import facts

Array = np.ndarray[Any, Any]
KINDS = {"uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16}


def rounded(n: small_nets.Net, x: str, scale: Any, zero: Array, **axis: int) -> str:
    """x through QuantizeLinear and DequantizeLinear."""
    scale = np.asarray(scale, np.float32)
    return n.op("DequantizeLinear", n.op("QuantizeLinear", x, scale, zero, **axis), scale, zero, **axis)


def gradient(graph: Any, x: Array, r: Array, name: str = "reference") -> tuple[Array, Array]:
    """The output, and the vector-Jacobian product of r."""
    program = small_nets.compile(graph, preset("gradient"), mode="relevance")
    found = prepared(name, small_nets.forward(graph), program)({"x": x, "relevance": r})
    return found["logits"], found["relevance"]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_pair_is_its_slope_in_steps_of_one_quantum(kind: str) -> None:
    """(y(x + s) - y(x - s)) / 2s is 1 within the range, 0 beyond it; y is written from ONNX's definition."""
    ends = np.iinfo(KINDS[kind])
    scale, zero = 0.25, np.array(ends.min // 2 + 7, KINDS[kind])
    n = small_nets.Net(40)
    graph = small_nets.load(n.model(n.op("Neg", rounded(n, "x", scale, zero))))
    low, high = ((float(end) - float(zero)) * scale for end in (ends.min, ends.max))
    # Off the middle between two integers, where rounding jumps, and up to three quanta beyond the range.
    quanta = np.concatenate([np.arange(-3, 17), np.arange(-16, 4)])
    x = (np.where(np.arange(40) < 20, low, high) + (quanta + 0.3) * scale)[np.newaxis]

    def y(x: Array) -> Array:
        return -(np.clip(np.round(x / scale) + float(zero), ends.min, ends.max) - float(zero)) * scale

    r = np.random.default_rng(0).normal(size=x.shape)
    output, back = gradient(graph, x, r)
    np.testing.assert_allclose(output, y(x), rtol=1e-6)
    slope = (y(x + scale) - y(x - scale)) / (2 * scale)
    whole = np.isin(slope, (0, -1))  # at the two ends a step crosses the border
    assert whole.sum() >= 36
    assert {0.0, -1.0} == set(slope[whole])
    np.testing.assert_allclose(back[whole], (r * slope)[whole], rtol=1e-6)


@each_engine
def test_channels_have_scales_of_their_own(name: str) -> None:
    n = small_nets.Net(2, 3)
    scale, zero = np.array([0.5, 0.25], np.float32), np.array([100, 0], np.uint8)
    graph = small_nets.load(n.model(n.op("Neg", rounded(n, "x", scale, zero, axis=1))))
    x = np.array([[[-60.0, 1.0, 90.0], [-1.0, 1.0, 90.0]]], np.float32)
    r = np.full(x.shape, 2.0, np.float32)
    output, back = gradient(graph, x, r, name)
    np.testing.assert_allclose(output, [[[50.0, -1.0, -77.5], [0.0, -1.0, -63.75]]], rtol=1e-5)
    np.testing.assert_allclose(back, [[[0.0, -2.0, 0.0], [0.0, -2.0, 0.0]]], atol=1e-6)


def test_each_half_has_the_slope_of_its_own_units() -> None:
    """Of a model that takes integers, the gradient is per integer."""
    n = small_nets.Net(3)
    model = n.model(n.op("Neg", n.op("DequantizeLinear", "x", np.array(0.25, np.float32), np.array(3, np.uint8))))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    graph = small_nets.load(model)
    output, back = gradient(graph, np.array([[0, 3, 255]], np.uint8), np.ones((1, 3)))
    np.testing.assert_allclose(output, [[0.75, 0.0, -63.0]])
    np.testing.assert_allclose(back, [[-0.25, -0.25, -0.25]])


@pytest.mark.parametrize("name", ["ort", "emulator"])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_quantised_activations_between_whole_layers(kind: str, name: str) -> None:
    """Max pooling and reshaping of integers: all engines read what they read of floats."""
    n = small_nets.Net(2, 6, 6, seed=3)
    zero = np.array(np.iinfo(KINDS[kind]).min, KINDS[kind])
    scale = np.array(0.02, np.float32)
    a = n.op("QuantizeLinear", n.conv("x", 2, 4), scale, zero)
    b = n.op("MaxPool", a, kernel_shape=[2, 2], strides=[1, 1])
    c = n.op("Flatten", n.relu(n.conv(n.op("DequantizeLinear", b, scale, zero), 4, 3)))
    model = n.model(n.dense(c, 75, 4))
    graph = small_nets.load(model)
    x = small_nets.batch(graph)
    for method in ("epsilon_plus_flat", "gradient", "gamma"):
        exact, quick = (
            small_nets.explained(graph, preset(method), x, engine, ledger=True) for engine in ("reference", name)
        )
        small_nets.agree(quick["relevance"], exact["relevance"], 1e-4)
    rows = onnxlrp.load(model, "reference").explain(x["x"], 1, "gamma", ledger=True).ledger
    assert rows
    assert {"QuantizeLinear", "DequantizeLinear", "MaxPool"} <= {row.op for row in rows}  # type: ignore[attr-defined]
    assert max(row.error for row in rows) <= 1e-6  # type: ignore[attr-defined]


@pytest.mark.parametrize(("zero", "nonnegative"), [(-128, True), (-100, False), (0, False)])
def test_what_cannot_be_negative(zero: int, nonnegative: bool) -> None:
    n = small_nets.Net(6)
    graph = small_nets.load(n.model(n.op("Neg", rounded(n, "x", 0.5, np.array(zero, np.int8)))))
    tensor = next(layer.outputs[0] for layer in graph.layers if layer.op == "DequantizeLinear")
    assert (tensor in facts.nonnegative(graph)) == nonnegative


def test_scores_given_as_integers_are_read_as_what_they_stand_for() -> None:
    n = small_nets.Net(6)
    logits = n.dense("x", 6, 4)
    scores = n.op("QuantizeLinear", n.op("Softmax", logits), np.array(1 / 256, np.float32), np.array(0, np.uint8))
    model = n.model(scores)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    x = small_nets.batch(small_nets.load(model))["x"]
    e = onnxlrp.load(model).explain(x)
    np.testing.assert_allclose(e.output.sum(axis=1), 1, rtol=1e-5)
    assert e.head == "Softmax"


def test_blocks_of_one_scale_are_refused_by_name() -> None:
    n = small_nets.Net(4, 3)
    n.opset = 21
    scale, zero = np.full((1, 2, 3), 0.5, np.float32), np.zeros((1, 2, 3), np.uint8)
    a = rounded(n, "x", scale, zero, axis=1, block_size=2)
    model = n.model(n.dense(n.op("Flatten", a), 12, 4))
    with pytest.raises(UnsupportedError, match="QuantizeLinear"):
        onnxlrp.load(model).prepare(0)


SHARED = Path(__file__).parents[3] / "shared" / "data" / "models"
MOBILENET = SHARED / "mobilenet_v1_0.25_128_quant_qdq.onnx"


@pytest.mark.skipif(not MOBILENET.exists(), reason="the shared models are not here")
def test_a_published_int8_model_is_explained() -> None:
    """Forward as the untouched file says, and a ledger that closes."""
    x = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    options = onnxruntime.SessionOptions()
    # What the file says: fused to integer kernels it rounds elsewhere.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(MOBILENET), options)
    fixed = session.get_inputs()[0].shape[0]
    batches = [x] if fixed != 1 else [x[:1], x[1:]]
    wanted = np.concatenate([session.run(None, {session.get_inputs()[0].name: b})[0] for b in batches])
    model = onnxlrp.load(MOBILENET)
    for method in ("epsilon_plus_flat", "epsilon", "gamma"):
        e = model.explain(x, method=method, ledger=True)
        assert np.abs(np.round(e.output * 256) - wanted.reshape(e.output.shape)).max() <= 1
        assert {"QuantizeLinear", "DequantizeLinear"} <= {row.op for row in e.ledger}  # type: ignore[attr-defined,union-attr]
        assert max(row.error for row in e.ledger) <= 1e-4  # type: ignore[attr-defined,union-attr]
