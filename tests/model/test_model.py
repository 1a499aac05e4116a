"""Model: what `explain` takes and gives, where errors come from, and what is kept between calls."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import onnxlrp
from onnxlrp.errors import InputError, UnsupportedError, UsageError
from onnxlrp.rules.lrp import Epsilon, Gamma, ZPlus
from support import small_nets
from support.paths import MODELS

DIGITS = MODELS / "digits.onnx"
SEVEN, THREE = (MODELS / "samples" / f"digit_{i}.png" for i in (7, 3))
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def model() -> onnxlrp.Model:
    return onnxlrp.load(DIGITS)


@pytest.fixture(scope="module")
def batch(model: onnxlrp.Model) -> Array:
    return np.asarray(model.read([MODELS / "samples" / f"digit_{i}.png" for i in range(5)]).values)


def near(actual: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(np.asarray(actual), wanted, atol=tolerance * np.abs(wanted).max(), rtol=0)


def small() -> onnx.ModelProto:
    """x [N, 3, 6, 6] → convolution → ReLU → flatten → dense → 4 scores."""
    rng = np.random.default_rng(0)
    weights = {"w": (5, 3, 3, 3), "b": (5,), "v": (80, 4), "c": (4,)}
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["z"], name="/body/conv/Conv"),
        helper.make_node("Relu", ["z"], ["a"], name="/body/act/Relu"),
        helper.make_node("Flatten", ["a"], ["f"], name="/Flatten"),
        helper.make_node("Gemm", ["f", "v", "c"], ["y"], name="/head/Gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(rng.normal(size=s).astype(np.float32) * 0.3, n) for n, s in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# -- sources


def test_a_source_is_a_path_bytes_or_a_proto_and_is_never_changed(model: onnxlrp.Model, batch: Array) -> None:
    content, proto = DIGITS.read_bytes(), onnx.load(DIGITS)
    before = proto.SerializeToString()
    wanted = model.explain(batch).relevance
    for source in (str(DIGITS), content, proto):
        near(onnxlrp.load(source).explain(batch).relevance, wanted)
    assert proto.SerializeToString() == before
    assert DIGITS.read_bytes() == content


def test_the_package_loads_and_explains_in_one_call(model: onnxlrp.Model, batch: Array, tmp_path: Path) -> None:
    near(onnxlrp.explain(DIGITS, batch, target=3), model.explain(batch, target=3))
    assert onnxlrp.export(DIGITS, tmp_path / "e.onnx").stat().st_size > 1000


# -- inputs


def test_pictures_paths_arrays_and_lists_of_them(model: onnxlrp.Model, tmp_path: Path) -> None:
    one = model.explain(SEVEN)
    assert one.relevance.shape == (1, 1, 28, 28)
    assert one.relevance.dtype == np.float32
    x = model.preprocessing.apply(Image.open(SEVEN))
    np.save(tmp_path / "seven.npy", x[0])
    for other in (str(SEVEN), Image.open(SEVEN), x, x[0], tmp_path / "seven.npy", [SEVEN], [x[0]]):
        near(model.explain(other), one)
    both = model.explain([SEVEN, Image.open(THREE)])
    assert both.relevance.shape == (2, 1, 28, 28)
    near(both.relevance[:1], one, 1e-5)
    assert list(both.target) == [7, 3]
    assert both.names is not None
    assert both.names[0] == "digit_7"
    mixed = model.explain([SEVEN, x, np.concatenate([x, x])])
    assert len(mixed) == 4
    near(mixed.relevance, np.repeat(one.relevance, 4, axis=0))


def test_read_is_what_explain_takes(model: onnxlrp.Model) -> None:
    samples = model.read([SEVEN, THREE])
    assert (len(samples), samples.pictures) == (2, True)
    near(model.explain(samples[1:]), model.explain(THREE))
    near(model.explain([samples[:1], samples]), model.explain([SEVEN, SEVEN, THREE]))


@pytest.mark.parametrize(
    ("x", "error"),
    [
        ("no_such_file.png", InputError),
        (np.zeros((3, 28, 28)), InputError),
        (np.full((1, 28, 28), np.nan), InputError),
        (np.array(["a"]), InputError),
        ([], InputError),
        (np.zeros((0, 1, 28, 28)), InputError),
        ([np.zeros((1, 28, 28)), np.zeros((1, 27, 28))], InputError),
    ],
)
def test_inputs_refused(model: onnxlrp.Model, x: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        model.explain(x)


# -- targets


def test_targets(model: onnxlrp.Model, batch: Array) -> None:
    ids = [3, 1, 4, 1, 5]
    each = model.explain(batch, target=ids)
    assert list(each.target) == ids
    for n, class_id in enumerate(ids):
        near(each.relevance[n : n + 1], model.explain(batch[n], target=class_id), 1e-4)
    near(model.explain(batch, target=np.array(ids)), each)
    near(model.explain(batch, target="4"), model.explain(batch, target=4))
    top = model.explain(batch)
    assert list(top.target) == list(top.output.argmax(axis=1)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", ["epsilon_plus_flat", "epsilon_gamma_box", "gradient"])
def test_several_targets_lead(model: onnxlrp.Model, batch: Array, method: str) -> None:
    several = model.explain(batch, targets=[2, "8"], method=method)
    assert several.relevance.shape == (2, 5, 1, 28, 28)
    assert several.target.tolist() == [[2] * 5, [8] * 5]
    for row, class_id in zip(several.relevance, (2, 8), strict=True):
        near(row, model.explain(batch, target=class_id, method=method), 1e-4)
    top = model.explain(batch, target="top3", method=method)
    assert top.relevance.shape == (3, 5, 1, 28, 28)
    near(top.relevance[0], model.explain(batch, method=method), 1e-4)
    order = np.argsort(-top.output, axis=1)[:, :3].T
    assert (top.target == order).all()


@pytest.mark.parametrize(
    "options",
    [
        {"target": 10},
        {"target": -1},
        {"target": "circle"},
        {"target": "top11"},
        {"target": [1, 2]},
        {"target": 1.5},
        {"target": True},
        {"targets": []},
        {"targets": ["top1", 3]},
        {"method": "epsilon_pluss"},
        {"gamma": 0.1},
        {"method": "gamma", "epsilon": 1},
        {"method": onnxlrp.Composite([("*", Epsilon())]), "epsilon": 1},
        {"record": ["conv9"]},
        {"batch_size": 0},
    ],
)
def test_requests_refused(model: onnxlrp.Model, batch: Array, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        model.explain(batch, **options)
    assert caught.value.fix


# -- methods


def test_options_by_name_equal_a_composite_of_the_same_rules(model: onnxlrp.Model, batch: Array) -> None:
    by_name = model.explain(batch, method="gamma", gamma=0.5)
    own = onnxlrp.Composite(
        [
            ("dense", Gamma(0.5)),
            ("convolution", onnxlrp.rule("gamma(0.5)")),
            ("activation", onnxlrp.rule("pass")),
        ]
    )
    near(model.explain(batch, method=own), by_name)
    ruled = model.explain(batch, method="epsilon", rules=[("convolution", ZPlus()), ("first", ZPlus())])
    near(ruled, model.explain(batch, method="epsilon_plus"))
    assert own.entries == model.composite(own).entries


def test_a_composite_without_a_rule_for_a_layer_says_which(model: onnxlrp.Model, batch: Array) -> None:
    with pytest.raises(UnsupportedError, match="no rule for"):
        model.explain(batch, method=onnxlrp.Composite([("dense", Epsilon())]))


def test_zbox_is_bounded_by_the_preprocessing_or_by_hand(model: onnxlrp.Model, batch: Array) -> None:
    stated = model.explain(batch, method="epsilon_gamma_box")
    near(model.explain(batch, method="epsilon_gamma_box", low=0.0, high=1.0), stated)
    near(model.explain(batch, method="epsilon_gamma_box", low=[0.0], high=np.ones((1, 1, 1))), stated)
    other = model.explain(batch, method="epsilon_gamma_box", low=-1.0, high=1.0)
    assert np.abs(other.relevance - stated.relevance).max() > 1e-4
    bare = onnxlrp.load(small())
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 6)).astype(np.float32)
    with pytest.raises(UsageError, match="lowest and highest"):
        bare.explain(x, method="epsilon_gamma_box")
    by_channel = bare.explain(x, method="epsilon_gamma_box", low=[-4.0, -5.0, -6.0], high=6.0)
    whole = np.broadcast_to(np.array([-4.0, -5.0, -6.0])[:, None, None], (3, 6, 6))
    near(by_channel, bare.explain(x, method="epsilon_gamma_box", low=whole, high=6.0))


def test_bounds_of_a_model_with_channels_last() -> None:
    first = small()
    last = small()
    last.graph.node.insert(0, helper.make_node("Transpose", ["pixels"], ["x"], perm=[0, 3, 1, 2], name="to_nchw"))
    del last.graph.input[:]
    last.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 6, 6, 3]))
    x = np.random.default_rng(1).random((2, 3, 6, 6), dtype=np.float32)
    options: dict[str, Any] = {"method": "epsilon_gamma_box", "low": [-0.1, -0.2, -0.3], "high": [1.1, 1.2, 1.3]}
    wanted = onnxlrp.load(first).explain(x, **options).relevance
    near(onnxlrp.load(last).explain(x.transpose(0, 2, 3, 1), **options), wanted.transpose(0, 2, 3, 1))
    picture = Image.fromarray((x[0].transpose(1, 2, 0) * 255).astype(np.uint8))
    pictured = [onnxlrp.load(m, prep={"prep": "imagenet"}).explain(picture, method="epsilon_gamma_box")
                for m in (first, last)]  # fmt: skip
    near(pictured[1].relevance, pictured[0].relevance.transpose(0, 2, 3, 1))


def test_preprocessing_is_stated_by_a_name_a_file_or_fields(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("preset = 'imagenet'\n")
    wanted = onnxlrp.load(small(), prep={"prep": "imagenet"}).preprocessing
    assert onnxlrp.load(small(), prep="imagenet").preprocessing.mean == wanted.mean
    assert onnxlrp.load(small(), prep=tmp_path / "own.toml").preprocessing.mean == wanted.mean
    with pytest.raises(UsageError, match="prep=3 is of type int"):
        onnxlrp.load(small(), prep=3)  # type: ignore[arg-type]


# -- what an explanation brings


def test_record_and_ledger(model: onnxlrp.Model, batch: Array) -> None:
    small_model = onnxlrp.load(small())
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 6)).astype(np.float32)
    e = small_model.explain(x, target=1, method="epsilon", record=["body.conv", "body"], ledger=True)
    assert {path: values.shape for path, values in e.layers.items()} == {
        "body.conv": (2, 5, 4, 4),
        "body": (2, 5, 4, 4),
    }
    assert e.ledger is not None
    assert [row.layer for row in e.ledger] == ["head", "/Flatten", "body.act", "body.conv"]  # type: ignore[attr-defined]
    sums = e.layers["body.conv"].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(sums, e.ledger[-1].arrived, rtol=1e-4)  # type: ignore[attr-defined]
    several = small_model.explain(x, targets=[0, 3, 2], record=["body"])
    assert several.layers["body"].shape == (3, 2, 5, 4, 4)
    assert model.explain(batch).ledger is None
    one = e[1]
    assert one.ledger is not None
    assert one.ledger[0].arrived.shape == (1,)  # type: ignore[attr-defined]


def test_sums_close_for_every_sample_and_target(model: onnxlrp.Model, batch: Array) -> None:
    from onnxlrp.explanation.ledger import sums

    for options in ({}, {"target": "top3"}, {"method": "epsilon_gamma_box"}):
        e = model.explain(batch, ledger=True, **options)  # type: ignore[arg-type]
        assert e.ledger is not None
        assert all(row.error < 1e-4 for row in e.ledger)  # type: ignore[attr-defined]
        gone = sum(sums(e.ledger).values())  # type: ignore[arg-type]
        near(e.total + gone, e.logit, 1e-4)


def test_provenance(model: onnxlrp.Model, batch: Array) -> None:
    e = model.explain(batch, method="gamma", gamma=0.1)
    assert e.provenance["method"] == e.method == "gamma"
    assert e.provenance["options"] == {"gamma": 0.1}
    assert e.provenance["engine"] == model.engine.name
    assert e.provenance["onnxlrp"] == onnxlrp.__version__
    assert len(str(e.provenance["sha256"])) == 64
    assert e.labels == tuple("0123456789")


# -- engines, batches, what is kept


@pytest.mark.parametrize(
    "method", ["epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1", "guided_backprop"]
)
def test_engines_agree(model: onnxlrp.Model, batch: Array, method: str) -> None:
    exact = onnxlrp.load(DIGITS, engine="reference")
    near(model.explain(batch, method=method), exact.explain(batch, method=method).relevance, 1e-4)


def test_engine_and_providers_by_name() -> None:
    assert onnxlrp.load(DIGITS, engine="ort", providers=["CPUExecutionProvider"]).engine.name == "ort"
    with pytest.raises(UsageError, match="otr"):
        onnxlrp.load(DIGITS, engine="otr")


def test_batch_size_splits_alike(model: onnxlrp.Model, batch: Array) -> None:
    whole = model.explain(batch, target=[3, 1, 4, 1, 5], ledger=True)
    for size in (1, 2, 5, 9):
        split = model.explain(batch, target=[3, 1, 4, 1, 5], ledger=True, batch_size=size)
        near(split, whole)
        near(split.output, whole.output)
        assert split.ledger is not None
        assert whole.ledger is not None
        near(split.ledger[-1].passed, whole.ledger[-1].passed)  # type: ignore[attr-defined]
    near(model.explain(batch, target="top3", batch_size=2), model.explain(batch, target="top3"))


def test_a_program_is_compiled_once(batch: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxlrp.compile import compiler as module

    calls: list[object] = []
    compiled = module.compile
    monkeypatch.setattr(module, "compile", lambda *a, **k: calls.append(k) or compiled(*a, **k))
    model = onnxlrp.load(DIGITS)
    model.prepare(target=3)
    for count in (1, 3, 5):
        model.explain(batch[:count], target=3)
        model.explain(batch[:count], target=list(range(count)))
    assert len(calls) == 1
    model.explain(batch, method="gamma", gamma=0.1)
    model.explain(batch, method="gamma", gamma=0.1)
    model.explain(batch, method="gamma", gamma=0.2)
    assert len(calls) == 3
    for low in (0.0, np.zeros((1, 1, 1)), -1.0):
        model.explain(batch, method="epsilon_gamma_box", low=low, high=1.0)
    assert len(calls) == 5


def test_a_model_of_one_batch_size_is_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, free = onnxlrp.load(small()), onnxlrp.load(small())
    fixed.graph = dataclasses.replace(fixed.graph, batch=4)
    prepare, seen = fixed.engine.prepare, []

    def watched(*args: Any) -> Any:
        run = prepare(*args)
        return lambda inputs: seen.append(len(inputs["x"])) or run(inputs)  # type: ignore[func-returns-value]

    monkeypatch.setattr(fixed.engine, "prepare", watched)
    x = np.random.default_rng(1).normal(size=(6, 3, 6, 6)).astype(np.float32)
    for options in ({"target": [0, 1, 2, 3, 0, 1]}, {"target": "top3"}, {"targets": [2, 1]}, {"ledger": True}):
        wanted, got = free.explain(x, **options), fixed.explain(x, **options)  # type: ignore[arg-type]
        near(got, wanted)
        near(got.output, wanted.output)
        near(got.total, wanted.total)
        assert (got.target == wanted.target).all()
    assert set(seen) == {4}


# -- preprocessing


def test_strict_refuses_what_nobody_states() -> None:
    picture = Image.fromarray(np.zeros((6, 6, 3), np.uint8))
    assert onnxlrp.load(small()).explain(picture).preprocessing.assumed  # type: ignore[union-attr]
    with pytest.raises(UnsupportedError, match="--strict"):
        onnxlrp.load(small(), strict=True).explain(picture)
    stated = onnxlrp.load(small(), strict=True, prep={"prep": "imagenet", "color": "RGB", "crop": 1.0})
    assert not stated.explain(picture).preprocessing.assumed  # type: ignore[union-attr]


def test_an_operator_without_a_rule_is_named_with_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxlrp.layers import LAYERS

    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    odd = small()
    odd.graph.node[1].op_type = "Tanh"
    model = onnxlrp.load(odd)
    x = np.ones((1, 3, 6, 6), np.float32)
    with pytest.raises(UnsupportedError, match=r"Tanh.*/body/act/Relu.*body\.act"):
        model.explain(x)
    assert [seen.path for _, seen, rule in model.layers(model.composite()) if rule is None] == ["body.act"]
    passed = model.explain(x, rules=[("Tanh", onnxlrp.rule("pass"))])
    assert passed.relevance.shape == x.shape
