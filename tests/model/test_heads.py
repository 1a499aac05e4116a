"""Heads: which logit is explained whatever a model ends in, what its scores are shown as, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.commands import summary
from onnxlrp.engines import ENGINES
from onnxlrp.errors import UsageError
from onnxlrp.graph.outputs import heads
from support.small_nets import Net

X = np.random.default_rng(3).normal(size=(3, 2, 4, 4)).astype(np.float32)
Array = np.ndarray[Any, Any]


def ending(*ops: tuple[Any, ...], classes: int = 4, flat: bool = True, scale: float = 1.0) -> onnx.ModelProto:
    """A small network whose logits [N, K], or [N, K, 1, 1], go through these operators: (name, attributes)."""
    n = Net(2, 4, 4, seed=1)
    a = n.op("GlobalAveragePool", n.relu(n.conv("x", 2, 6)))
    y = n.dense(n.op("Flatten", a), 6, classes) if flat else n.conv(a, 6, classes, kernel=(1, 1))
    if scale != 1:
        y = n.op("Mul", y, np.array(scale))
    for op, attributes in ops:
        y = n.op(op, y, **attributes)
    model = n.model(y)
    if any(op == "ArgMax" for op, _ in ops):
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return model


def near(actual: Array, wanted: Array, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(actual, wanted, atol=tolerance * np.abs(wanted).max(), rtol=0)


def softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


SOFTMAX, LOG = ("Softmax", {"axis": 1}), ("LogSoftmax", {"axis": 1})
HEADS = {
    "none": ((), softmax),
    "softmax": ((SOFTMAX,), softmax),
    "log softmax": ((LOG,), softmax),
    "sigmoid": ((("Sigmoid", {}),), lambda z: 1 / (1 + np.exp(-z))),
    "argmax of softmax": ((SOFTMAX, ("ArgMax", {"axis": 1, "keepdims": 0})), softmax),
    "argmax": ((("ArgMax", {"axis": 1}),), softmax),
}


@pytest.mark.few(9)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("target", ["top1", "top3", 2])
def test_the_logit_is_explained_whatever_follows_it(head: str, target: Any) -> None:
    ops, shown = HEADS[head]
    bare = onnxlrp.load(ending(), engine="reference").explain(X, target, ledger=True)
    e = onnxlrp.load(ending(*ops), engine="reference").explain(X, target, ledger=True)
    near(e.relevance, bare.relevance)
    assert (e.target == bare.target).all()
    near(np.asarray(e.logit), np.asarray(bare.logit))
    logits = bare.output.reshape(3, -1)
    near(e.probabilities, shown(logits))
    assert [[i for i, _, _ in row] for row in e.top(4)] == np.argsort(-logits, axis=1).tolist()


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("ops", [(), (SOFTMAX,), (SOFTMAX, ("Flatten", {}))], ids=["logits", "softmax", "flattened"])
def test_logits_may_have_the_shape_of_a_convolution(name: str, ops: Any) -> None:
    flat = onnxlrp.load(ending(flat=False), engine="reference")
    wanted = flat.explain(X, targets=[1, 3])
    try:
        model = onnxlrp.load(ending(*ops, flat=False), engine=name)
    except UsageError as error:
        pytest.skip(error.message)
    assert model.classes == 4
    near(model.explain(X, targets=[1, 3]).relevance, wanted.relevance)
    best = model.explain(X)
    assert (best.target == np.argmax(flat.explain(X).output.reshape(3, -1), axis=1)).all()


def test_convolution_shaped_logits_equal_a_dense_layer() -> None:
    """The same weights as 1x1 convolution and as Gemm; both by the epsilon rule."""
    conv, dense = ending(flat=False), ending()
    for source, tensor in list(zip(conv.graph.initializer, dense.graph.initializer, strict=True))[2:]:
        array = numpy_helper.to_array(source).reshape(numpy_helper.to_array(tensor).shape)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    both = [onnxlrp.load(m).explain(X, 1, "epsilon").relevance for m in (conv, dense)]
    near(both[0], both[1])


def test_a_head_is_found_with_its_kind() -> None:
    for head, (ops, _) in HEADS.items():
        graph = onnxlrp.load(ending(*ops)).graph
        found = heads.head_of(graph, graph.outputs[0].name)
        wanted = {"log softmax": "LogSoftmax", "sigmoid": "Sigmoid", "none": "", "argmax": ""}.get(head, "Softmax")
        assert found.kind == wanted
        assert graph.producer(found.logits).op == "Gemm"  # type: ignore[union-attr]


# -- one logit


def test_one_sigmoid_logit_speaks_for_and_against_its_class() -> None:
    model = onnxlrp.load(ending(("Sigmoid", {}), classes=1))
    against = onnxlrp.load(ending(("Sigmoid", {}), classes=1, scale=-1.0))
    assert model.classes == 1
    e, turned = model.explain(X, method="epsilon"), against.explain(X, method="epsilon")
    near(turned.relevance, -e.relevance)
    near(1 / (1 + np.exp(-np.asarray(e.logit, np.float64))), e.output[:, 0])
    near(e.probabilities, e.output.astype(np.float64))
    assert "supports the class" in summary.head(model.head, 1)
    with pytest.raises(UsageError, match="1"):
        model.explain(X, target=1)


def test_a_value_is_no_probability() -> None:
    e = onnxlrp.load(ending(classes=1)).explain(X)
    assert e.is_value
    assert summary.top(e[0]) == ("value", summary.number(float(e.output[0, 0])))
    assert "%" not in summary.top(e[0])[1]
    assert " of value " in summary.sum_of(onnxlrp.load(ending(classes=1)).explain(X, ledger=True)[0])
    assert set(e.to_dict()["samples"][0]["top"][0]) == {"id", "label", "value"}
    scored = onnxlrp.load(ending(("Sigmoid", {}), classes=1)).explain(X)
    assert not scored.is_value
    assert set(scored.to_dict()["samples"][0]["top"][0]) == {"id", "label", "probability"}


def test_a_value_below_zero_leaves_deep_taylor_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    sign = np.sign(onnxlrp.load(ending(classes=1)).explain(X).output[0, 0])
    monkeypatch.chdir(tmp_path)
    onnx.save(ending(classes=1, scale=float(-sign)), "negative.onnx")
    np.save("x.npy", X[0])
    assert main(["explain", "negative.onnx", "x.npy", "-m", "deep_taylor"]) == 0
    said = capsys.readouterr()
    assert "head    one value" in said.out
    assert "not positive" in said.out
    assert "its heatmap is empty" in said.err
    assert not onnxlrp.load("negative.onnx").explain(X[0], method="deep_taylor").relevance.any()
    assert main(["explain", "negative.onnx", "x.npy", "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert target["logit"] < 0
