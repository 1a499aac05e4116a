"""`export`: plain onnxruntime on the saved file gives what `explain` gives, by standard operators alone."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxlrp
from onnxlrp import files
from onnxlrp.engines.emit import winners
from onnxlrp.errors import UsageError
from support import small_nets
from support.paths import MODELS

NAMES = [name for name in ("digits", "shapes") if (MODELS / f"{name}.onnx").exists()]
METHODS = ("epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1_flat", "deep_taylor", "guided_backprop")
BATCHES = (1, 3, 8)
Array = np.ndarray[Any, Any]


@cache
def loaded(name: str) -> onnxlrp.Model:
    return onnxlrp.load(MODELS / f"{name}.onnx")


@cache
def inputs(name: str) -> Array:
    """Eight pictures as the model takes them: random values between the lowest and the highest pixel."""
    model = loaded(name)
    low, high = model.preprocessing.bounds()
    x = np.random.default_rng(0).random((8, *model.graph.inputs[0].shape))
    return np.asarray(low + x * (high - low), np.float32)


def session(model: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def near(actual: Array, wanted: Array, tolerance: float = 1e-5) -> None:
    assert actual.shape == wanted.shape
    np.testing.assert_allclose(actual, wanted, atol=tolerance * np.abs(wanted).max(), rtol=0)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_the_saved_file_explains_as_explain_does(name: str, method: str, tmp_path: Path) -> None:
    model, x = loaded(name), inputs(name)
    saved = session(str(model.export(tmp_path / "e.onnx", method=method, target="input")))
    ids = np.arange(8) % model.classes
    untouched = session(str(MODELS / f"{name}.onnx"))
    (entry,) = untouched.get_inputs()
    for batch in BATCHES:
        scores, relevance = saved.run(None, {entry.name: x[:batch], "target": ids[:batch]})
        e = model.explain(x[:batch], target=ids[:batch], method=method)
        near(relevance, e.relevance)
        near(scores, e.output)
        near(scores, untouched.run(None, {entry.name: x[:batch]})[0])


@pytest.mark.few(2)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["top1", "top3"])
@pytest.mark.parametrize("method", METHODS[:2])
def test_top_takes_the_image_alone(name: str, target: str, method: str, tmp_path: Path) -> None:
    model, x = loaded(name), inputs(name)
    saved = session(str(model.export(tmp_path / "e.onnx", method=method, target=target)))
    (entry,) = saved.get_inputs()
    assert [value.name for value in saved.get_outputs()] == [model.graph.outputs[0].name, "relevance"]
    for batch in BATCHES:
        scores, relevance = saved.run(None, {entry.name: x[:batch]})
        e = model.explain(x[:batch], target=target, method=method)
        near(relevance, e.relevance)
        near(scores, e.output)


@pytest.mark.few(14)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", [*METHODS, "gamma", "epsilon_alpha2_beta1", "excitation_backprop", "deconvnet"])
@pytest.mark.parametrize("target", ["input", "top3"])
def test_the_file_is_plain_onnx(name: str, method: str, target: str, tmp_path: Path) -> None:
    path = loaded(name).export(tmp_path / "e.onnx", method=method, target=target)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    assert {entry.domain for entry in proto.opset_import} <= {"", "ai.onnx"}
    assert not proto.functions
    for value in (*proto.graph.input, *proto.graph.output):
        free = [dim.dim_param for dim in value.type.tensor_type.shape.dim if dim.dim_param]
        assert free == ["N"], value.name
    read = {name for node in proto.graph.node for name in node.input}
    assert not [tensor.name for tensor in proto.graph.initializer if tensor.name not in read]
    assert len({node.name for node in proto.graph.node}) == len(proto.graph.node)


def test_relevance_travels_with_where_it_comes_from(tmp_path: Path) -> None:
    path = loaded("digits").export(tmp_path / "e.onnx", method="gamma", target="top1", gamma=0.1)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    made = json.loads(metadata["onnxlrp.explainer"])
    assert (made["method"], made["options"], made["target"]) == ("gamma", {"gamma": 0.1}, "top1")
    assert made["sha256"] == loaded("digits").graph.sha256
    assert "grey" in metadata["onnxlrp.prep"]  # the preprocessing stays with the model


def test_options_rules_and_own_composites(tmp_path: Path) -> None:
    model, x = loaded("digits"), inputs("digits")
    rules = [("first", onnxlrp.rule("zbox(0, 1)"))]
    path = model.export(tmp_path / "e.onnx", method="gamma", target="top1", rules=rules, gamma=0.1)
    (relevance,) = session(str(path)).run(["relevance"], {"image": x})
    near(relevance, model.explain(x, method="gamma", rules=rules, gamma=0.1).relevance)
    zplus = onnxlrp.rule("zplus")
    own = onnxlrp.Composite(
        [("activation", onnxlrp.rule("pass")), ("dense", zplus), ("convolution", zplus)], name="own"
    )
    path = model.export(tmp_path / "o.onnx", method=own, target="top1")
    (relevance,) = session(str(path)).run(["relevance"], {"image": x})
    near(relevance, model.explain(x, method=own).relevance)


def test_a_file_of_moderate_size(tmp_path: Path) -> None:
    """Weights are shared with the forward pass: what is saved is hardly larger than the model."""
    for name in NAMES:
        for method in METHODS:
            path = loaded(name).export(tmp_path / "e.onnx", method=method)
            assert path.stat().st_size < 1.3 * (MODELS / f"{name}.onnx").stat().st_size + 50_000


def unchecked(path: Path, checked: str) -> bytes:
    """The explainer whose one-hot is made of another tensor, and not divided: what runs without the check."""
    proto = onnx.load(path)
    (hot,) = [node for node in proto.graph.node if node.op_type == "OneHot"]
    hot.input[0] = checked
    for node in [node for node in proto.graph.node if node.name in ("lrp/target/Gather", "lrp/target/Add")]:
        proto.graph.node.remove(node)
    if checked == "target":
        (ratio,) = [node for node in proto.graph.node if node.op_type == "Div" and node.input[0] == hot.output[0]]
        ratio.op_type = "Identity"
        del ratio.input[1:]
    return proto.SerializeToString()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["epsilon_plus_flat", "gradient", "deep_taylor"])
def test_a_class_that_does_not_exist_is_an_error_of_the_runtime(name: str, method: str, tmp_path: Path) -> None:
    model, x = loaded(name), inputs(name)
    path = model.export(tmp_path / "e.onnx", method=method)
    saved, entry, classes = session(str(path)), model.graph.inputs[0].name, model.classes
    for wrong in (classes, 99, -1, -2, -classes, -classes - 1, 2**40, -(2**40)):
        with pytest.raises(Exception, match="target/Gather"):
            saved.run(None, {entry: x[:2], "target": np.array([0, wrong])})
    ids = np.arange(8) % classes
    feeds = {entry: x, "target": ids}
    without = session(unchecked(path, "target"))
    for mine, plain in zip(saved.run(None, feeds), without.run(None, feeds), strict=True):
        np.testing.assert_array_equal(mine, plain)
    # A runtime that checks no index answers NaN, which no one takes for a heatmap.
    where = next(node.output[0] for node in onnx.load(path).graph.node if node.name == "lrp/target/Where")
    careless = session(unchecked(path, where))
    for wrong in (classes, -1, -classes):
        relevance: Array = careless.run(["relevance"], {entry: x[:2], "target": np.array([0, wrong])})[0]
        assert np.isnan(relevance[1]).any()
        assert np.isfinite(relevance[0]).all()


def test_the_reference_runtime_refuses_it_too(tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    model = onnxlrp.load(small_nets.plain())
    saved = ReferenceEvaluator(str(model.export(tmp_path / "e.onnx", method="gradient")))
    x = np.random.default_rng(0).normal(size=(1, *model.graph.inputs[0].shape)).astype(np.float32)
    entry = model.graph.inputs[0].name
    for k in range(model.classes):
        (relevance,) = cast(list[Array], saved.run(["relevance"], {entry: x, "target": np.array([k])}))
        near(relevance, model.explain(x, k, method="gradient").relevance, 1e-4)
    for wrong in (model.classes, -1, -model.classes):
        with pytest.raises(IndexError):
            saved.run(None, {entry: x, "target": np.array([wrong])})


def pooled() -> onnx.ModelProto:
    """Poolings whose windows overlap, with and without padding or a tail, and a slice with steps."""
    n = small_nets.Net(3, 19, 19)
    y = n.relu(n.conv("x", 3, 4))
    y = n.op("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2])
    y = n.op("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = n.op("Slice", y, np.array([1]), np.array([5]), np.array([3]), np.array([3]))
    return n.model(n.op("Flatten", n.op("GlobalAveragePool", n.conv(y, 4, 5))))


@pytest.mark.parametrize("method", ["epsilon_plus_flat", "gradient"])
def test_no_padding_is_negative(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluator of onnx and tract lack negative amounts: cropping is a Slice."""
    from onnx.reference import ReferenceEvaluator

    monkeypatch.setattr(winners, "LEAST", 0)
    model = onnxlrp.load(pooled())
    path = model.export(tmp_path / "e.onnx", method=method)
    graph = onnx.load(path).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    amounts = [constants[node.input[1]] for node in graph.node if node.op_type == "Pad"]
    assert len(amounts) > 10
    assert min(each.min() for each in amounts) >= 0
    x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
    ids = np.array([1, 3])
    feed = {model.graph.inputs[0].name: x, "target": ids}
    (relevance,) = cast(list[Array], ReferenceEvaluator(str(path)).run(["relevance"], feed))
    exact = onnxlrp.load(pooled(), engine="reference")
    near(relevance, exact.explain(x, ids, method=method).relevance)


def test_targets_refused(tmp_path: Path) -> None:
    for target in ("3", "top11", "top0", "seven", ""):
        with pytest.raises(UsageError):
            loaded("digits").export(tmp_path / "e.onnx", target=target)
    assert not list(tmp_path.iterdir())


def test_weights_that_no_file_of_2_gb_holds_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = NAMES[0]
    whole = loaded(name).export(tmp_path / "whole.onnx", method="epsilon")
    monkeypatch.setattr("onnxlrp.model.exporting.explainer._LARGEST", 1 << 16)
    parted = loaded(name).export(tmp_path / "parted.onnx", method="epsilon")
    (data,) = tmp_path.glob("*.data")
    assert data.stat().st_size > parted.stat().st_size
    feeds = {loaded(name).graph.inputs[0].name: inputs(name), "target": np.zeros(8, np.int64)}
    for mine, other in zip(session(parted).run(None, feeds), session(whole).run(None, feeds), strict=True):
        near(mine, other, 1e-6)


def test_data_beside_a_file_is_of_its_content_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another model's data stay; an explainer that is interrupted leaves the one before whole."""
    monkeypatch.setattr("onnxlrp.model.exporting.explainer._LARGEST", 1 << 16)
    model, other, path = loaded("digits"), loaded("shapes"), tmp_path / "e.onnx"
    foreign = tmp_path / "e.onnx.data"
    foreign.write_bytes(b"weights of another model")
    feeds = {model.graph.inputs[0].name: inputs("digits"), "target": np.zeros(8, np.int64)}
    wanted = session(model.export(path, method="epsilon")).run(None, feeds)
    (first,) = {*tmp_path.glob("*.data")} - {foreign}
    shutil.copy(path, tmp_path / "copy.onnx")

    def interrupted(target: Path, data: Any) -> Path:
        if target == path:
            raise KeyboardInterrupt
        return files.replace(target, data)

    with monkeypatch.context() as patch:
        patch.setattr("onnxlrp.model.exporting.explainer.write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            other.export(path, method="epsilon")
    for mine, before in zip(session(path).run(None, feeds), wanted, strict=True):
        np.testing.assert_array_equal(mine, before)
    other.export(path, method="epsilon")
    assert len({*tmp_path.glob("*.data")} - {foreign}) == 2  # the copy's is kept
    (tmp_path / "copy.onnx").unlink()
    other.export(path, method="epsilon")
    assert not first.exists()
    session(path)
    assert foreign.read_bytes() == b"weights of another model"


def test_the_head_and_the_task_are_asked_of_an_export_as_of_explain(tmp_path: Path) -> None:
    n = small_nets.Net(6)
    y = n.op("Softmax", n.op("Gemm", n.relu(n.op("Gemm", "x", n.rng.normal(size=(6, 8)))), n.rng.normal(size=(8, 3))))
    model = onnxlrp.load(n.model(y))
    x = n.rng.normal(size=(4, 6)).astype(np.float32)
    for head in ("logits", "as-is"):
        path = model.export(tmp_path / f"{head}.onnx", "gradient", "top1", head=head, task="classification")
        session = onnxruntime.InferenceSession(str(path))
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"x": x}), strict=True))
        wanted = model.explain(x, method="gradient", head=head).relevance
        np.testing.assert_allclose(found["relevance"], wanted, atol=1e-5)
        said = {p.key: p.value for p in onnx.load(path).metadata_props}["onnxlrp.explainer"]
        assert json.loads(said)["head"] == head


def test_the_file_can_give_the_ledger(tmp_path: Path) -> None:
    """For each layer from output to input, one number of every sample; nothing of it where it is not asked for."""
    model = onnxlrp.load(MODELS / "digits.onnx")
    x = np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)
    ids = np.array([1, 4, 7])
    session = onnxruntime.InferenceSession(model.export(tmp_path / "e.onnx", "epsilon_plus_flat", ledger=True))
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x, "target": ids}), strict=True))
    wanted = model.explain(x, ids, "epsilon_plus_flat", ledger=True)
    np.testing.assert_allclose(found["relevance"], wanted.relevance, rtol=1e-4, atol=1e-6)
    arrived = [name for name in names if name.endswith("/out")]
    assert len(arrived) == len(wanted.ledger)
    for name, row in zip(arrived, wanted.ledger, strict=True):
        np.testing.assert_allclose(found[name], row.arrived, rtol=1e-4, atol=1e-5)
    plain = onnxruntime.InferenceSession(model.export(tmp_path / "p.onnx", "epsilon_plus_flat"))
    assert [output.name for output in plain.get_outputs()] == [name for name in names if "/" not in name]
