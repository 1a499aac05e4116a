"""`export` with weights in half precision: computed in float32, near the plain file, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp import runtime
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.model.exporting.half_weights import halve
from support import small_nets
from support.arrays import Array


def network() -> onnx.ModelProto:
    n = small_nets.Net(3, 8, 8)
    y = n.relu(n.conv(n.relu(n.conv("x", 3, 16)), 16, 16, strides=[2, 2]))
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", y)))


def run(path: str, x: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def test_the_file_is_smaller_and_near(tmp_path: Path) -> None:
    """What it explains is exactly the model of rounded weights, as another load of such a model says."""
    model = onnxlrp.load(network())
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    path = str(model.export(tmp_path / "e.onnx", target="top1", precision="fp16"))
    written = onnx.load(path)
    kinds = {tensor.name: tensor.data_type for tensor in written.graph.initializer if np.prod(tensor.dims) >= 256}
    assert set(kinds.values()) == {TensorProto.FLOAT16}
    values = (*written.graph.input, *written.graph.output)
    assert {value.type.tensor_type.elem_type for value in values} == {TensorProto.FLOAT}
    assert {helper.get_attribute_value(n.attribute[0]) for n in written.graph.node if n.op_type == "Cast"} == {
        TensorProto.FLOAT}  # fmt: skip
    rounded = network()
    for tensor in rounded.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size >= 256:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    wanted = onnxlrp.load(rounded, engine="reference").explain(x)
    scores, relevance = run(path, x)
    small_nets.agree(scores, wanted.output, 1e-5)
    small_nets.agree(relevance, wanted.relevance, 1e-5)
    about = next(entry.value for entry in written.metadata_props if entry.key == "onnxlrp.explainer")
    assert 0 < json.loads(about)["compared"] < 1e-2
    assert json.loads(about)["precision"] == "fp16"


def test_it_goes_with_an_opset(tmp_path: Path) -> None:
    path = onnxlrp.load(network()).export(tmp_path / "e.onnx", target="top1", precision="fp16", opset=17)
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    assert written.opset_import[0].version == 17


def one_weight(array: Array, op: str = "Mul") -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name in ("x", "y")]
    node = helper.make_node(op, ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(array.astype(np.float32), "w")])
    return helper.make_model(graph)


@pytest.mark.parametrize(
    ("scale", "halved"), [(1.0, True), (1e-3, True), (1e5, False), (1e-7, False), (1e-12, False), (0.0, True)]
)
def test_what_half_precision_cannot_hold_stays(scale: float, halved: bool) -> None:
    array = np.linspace(0.5, 1, 512) * scale
    model = one_weight(array)
    halve(model, {})
    (tensor,) = model.graph.initializer
    assert (tensor.data_type == TensorProto.FLOAT16) == halved
    if halved:
        np.testing.assert_allclose(numpy_helper.to_array(tensor), array, rtol=2**-11)


def test_weights_that_are_only_named_are_halved() -> None:
    """Large weights lie beside the model until it is written."""
    array = np.linspace(-1, 1, 512).astype(np.float32)
    model = one_weight(array)
    model.graph.initializer[0].ClearField("raw_data")
    (tensor,) = model.graph.initializer
    weights = halve(model, {"w": array})
    assert list(weights) == [tensor.name] == [model.graph.node[0].input[0]]
    np.testing.assert_array_equal(weights[tensor.name], array.astype(np.float16))


def test_what_moves_too_far_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("onnxlrp.model.export.HALF", 1e-7)
    with pytest.raises(UnsupportedError, match="half precision would differ by"):
        onnxlrp.load(network()).export(tmp_path / "e.onnx", target="top1", precision="fp16")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_measured_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    model = onnxlrp.load(network())
    monkeypatch.setattr(runtime, "missing", lambda: "onnxruntime is not installed")
    with pytest.raises(UnsupportedError, match="can be measured"):
        model.export(tmp_path / "e.onnx", target="top1", precision="fp16")
    assert not list(tmp_path.iterdir())


def test_other_precisions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="precision 'int8'"):
        onnxlrp.load(network()).export(tmp_path / "e.onnx", precision="int8")
