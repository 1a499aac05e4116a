"""Exported explainers under a user's default session, at every level of optimisation, and in OpenVINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxlrp
from support import small_nets
from support.arrays import Array
from support.paths import DATA

LEVELS = [level for level in dir(onnxruntime.GraphOptimizationLevel) if level.startswith("ORT_")]
METHODS = ("epsilon_plus_flat", "gradient")


def run(model: str | bytes, feed: dict[str, Array], level: str = "") -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if level:
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))


def rounded(n: small_nets.Net, x: str, scale: float, zero: int) -> str:
    ends = np.array(scale, np.float32), np.array(zero, np.uint8)
    return n.op("DequantizeLinear", n.op("QuantizeLinear", x, *ends), *ends)


def float_weights() -> onnx.ModelProto:
    """Quantised activations around a convolution of float weights, which onnxruntime would round."""
    n = small_nets.Net(3, 8, 8)
    y = n.relu(rounded(n, n.conv(rounded(n, "x", 0.03, 128), 3, 4), 0.2, 128))
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", y)))


def two_scales() -> onnx.ModelProto:
    """Two scales in a row, which onnxruntime would make one."""
    n = small_nets.Net(256)
    y = rounded(n, "x", 0.028376810252666473, 133)
    return n.model(rounded(n, y, 0.02539633959531784, 100))


def integer_weights() -> onnx.ModelProto:
    """Weights behind their own DequantizeLinear, with a scale for each output."""
    n = small_nets.Net(6)
    weight = n.rng.integers(-128, 128, (6, 4)).astype(np.int8)
    scales = np.array([0.01, 0.02, 0.03, 0.04], np.float32)
    w = n.op("DequantizeLinear", weight, scales, np.zeros(4, np.int8), axis=1)
    return n.model(rounded(n, n.op("MatMul", rounded(n, "x", 0.03, 7), w), 0.11, 30))


QUANTISED = {build.__name__: build for build in (float_weights, two_scales, integer_weights)}


@pytest.mark.parametrize("name", QUANTISED)
def test_a_quantised_model_is_exported_exactly(name: str, tmp_path: Path) -> None:
    """Scores are those of the untouched file without optimisation, relevance that of `explain`, at every level."""
    source = QUANTISED[name]()
    model = onnxlrp.load(source)
    (tensor,) = model.graph.inputs
    x = np.random.default_rng(0).normal(size=(5, *tensor.shape)).astype(np.float32)
    (wanted,) = run(source.SerializeToString(), {"x": x}, "ORT_DISABLE_ALL").values()
    explained = model.explain(x, method="gradient")
    np.testing.assert_allclose(explained.output, wanted, atol=1e-6)
    saved = str(model.export(tmp_path / "e.onnx", method="gradient", target="top1"))
    assert "DequantizeLinear" not in {node.op_type for node in onnx.load_model(saved).graph.node}
    for level in ("", *LEVELS):
        found = run(saved, {"x": x}, level)
        relevance = found.pop("relevance")
        (scores,) = found.values()
        np.testing.assert_allclose(scores, wanted, atol=1e-6)
        small_nets.agree(relevance, explained.relevance, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["mobilenet_v1_0.25_128_quant_qdq.onnx", "shufflenet-v2-12-int8.onnx"])
def test_published_quantised_models_are_exported_exactly(file: str, tmp_path: Path) -> None:
    """To 3e-3 of the largest value: sums in another order let single values round to the other side."""
    path = DATA / "models" / file
    if not path.exists():
        pytest.skip("the shared models are not here")
    model = onnxlrp.load(path)
    (tensor,) = model.graph.inputs
    rng, shape = np.random.default_rng(0), (1, *tensor.shape)
    x = rng.normal(size=shape).astype(np.float32) if tensor.dtype == "float32" else rng.integers(
        0, 256, shape).astype(tensor.dtype)  # fmt: skip
    explained = model.explain(x)
    saved = str(model.export(tmp_path / "e.onnx", target="top1"))
    for level in ("", *LEVELS):
        found = run(saved, {tensor.name: x}, level)
        small_nets.agree(found.pop("relevance"), explained.relevance, 3e-3)
        (scores,) = found.values()
        small_nets.agree(scores, explained.output, 3e-3)


def shared_filters() -> onnx.ModelProto:
    """What other runtimes stumble over: convolutions of as many outputs as inputs with strides, pools side by side."""
    n = small_nets.Net(3, 16, 16)
    y = n.op("MaxPool", n.relu(n.conv("x", 3, 8)), kernel_shape=[2, 2], strides=[2, 2])
    y = n.relu(n.conv(y, 8, 8, strides=[2, 2]))
    y = n.op("ConvTranspose", y, n.rng.normal(size=(8, 8, 2, 2)), strides=[2, 2])
    y = n.conv(n.relu(y), 8, 6, strides=[2, 2])
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", n.relu(y))))


@pytest.fixture(scope="module", params=METHODS)
def explained(request: Any, tmp_path_factory: Any) -> tuple[str, Array, Any]:
    model = onnxlrp.load(shared_filters())
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    path = tmp_path_factory.mktemp("export") / "e.onnx"
    return str(model.export(path, method=request.param, target="top1")), x, model.explain(x, method=request.param)


def test_exports_avoid_what_other_runtimes_refuse_or_compute_wrong(explained: Any) -> None:
    nodes = onnx.load_model(explained[0]).graph.node
    assert not {"MaxUnpool", "HardSigmoid"} & {node.op_type for node in nodes}
    read = {op: {node.input[1] for node in nodes if node.op_type == op} for op in ("Conv", "ConvTranspose")}
    assert read["ConvTranspose"]
    assert not read["Conv"] & read["ConvTranspose"]
    small_nets.agree(run(explained[0], {"x": explained[1]})["relevance"], explained[2].relevance, 1e-5)


def test_the_file_keeps_one_copy_of_a_filter(explained: Any) -> None:
    model = onnx.load_model(explained[0])
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert len({tensor.raw_data for tensor in weights}) == len(weights)


def large_poolings() -> onnx.ModelProto:
    """Poolings of enough windows that their winners are found by comparison, behind a concatenation."""
    n = small_nets.Net(3, 96, 96)
    y = n.op("Concat", n.relu(n.conv("x", 3, 6)), n.relu(n.conv("x", 3, 10)), axis=1)
    y = n.op("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = n.op("MaxPool", n.relu(n.conv(y, 16, 40)), kernel_shape=[2, 2], strides=[2, 2])
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", y)))


@pytest.fixture(scope="module", params=METHODS)
def pooled(request: Any, tmp_path_factory: Any) -> tuple[str, Array, Array]:
    """An exported explainer with large poolings, an input, and the relevance in float64."""
    source = large_poolings()
    x = np.random.default_rng(0).normal(size=(1, 3, 96, 96)).astype(np.float32)
    path = tmp_path_factory.mktemp("pooled") / "e.onnx"
    onnxlrp.load(source).export(path, method=request.param, target="top1")
    exact = onnxlrp.load(source, engine="reference").explain(x, method=request.param).relevance
    return str(path), x, exact


@pytest.mark.slow
def test_large_poolings_are_explained_alike_at_every_level(pooled: Any) -> None:
    path, x, exact = pooled
    nodes = onnx.load_model(path).graph.node
    assert all(len(node.output) == 1 for node in nodes if node.op_type == "MaxPool"), "indices are slow"
    assert "ScatterElements" not in {node.op_type for node in nodes}
    for level in ("", *LEVELS):
        small_nets.agree(run(path, {"x": x}, level)["relevance"], exact, 1e-4)


@pytest.mark.slow
def test_openvino_explains_large_poolings_alike(pooled: Any) -> None:
    openvino = pytest.importorskip("openvino")
    path, x, exact = pooled
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    small_nets.agree(core.compile_model(core.read_model(path), "CPU")([x])["relevance"], exact, 1e-4)


def test_openvino_explains_alike(explained: Any) -> None:
    openvino = pytest.importorskip("openvino")
    path, x, wanted = explained
    core = openvino.Core()
    # Its default is bfloat16 where the processor has it.
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = core.compile_model(core.read_model(path), "CPU")([x])
    small_nets.agree(found["relevance"], wanted.relevance, 1e-5)
