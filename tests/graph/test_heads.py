"""Ends of models as exporters write them: the logit of the named class is explained, and its score shown unchanged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.commands import summary
from onnxlrp.errors import UsageError
from onnxlrp.graph.outputs import heads
from support.small_nets import Net

Array = np.ndarray[Any, Any]
X = np.random.default_rng(5).normal(size=(4, 5)).astype(np.float32)
ONE, AXIS = np.array([1.0]), np.array([1])
RNG = np.random.default_rng(0)
FIRST, BIAS = RNG.normal(size=(6, 5)), RNG.normal(size=6)
SECOND, OFFSET = RNG.normal(size=(3, 6)), RNG.normal(size=3)


def logits(x: Array, classes: int) -> Array:
    hidden = np.maximum(x @ FIRST.T + BIAS, 0)
    return np.asarray(hidden @ SECOND[:classes].T + OFFSET[:classes])


def slopes(x: Array, classes: int) -> Array:
    """∂z_k/∂x of each sample and class, [N, K, 5]."""
    open_units = (x @ FIRST.T + BIAS > 0).astype(float)
    return np.einsum("kh,nh,hi->nki", SECOND[:classes], open_units, FIRST)


def network(tail: Callable[[Net, str], str], classes: int = 3, output: str = "") -> onnx.ModelProto:
    n = Net(5)
    hidden = n.relu(n.op("Gemm", "x", FIRST, BIAS, transB=1))
    y = tail(n, n.op("Gemm", hidden, SECOND[:classes], OFFSET[:classes], transB=1))
    model = n.model(y)
    integer = any(node.op_type in ("ArgMax", "Gather", "OneHot") for node in model.graph.node) and "topk" not in y
    if integer:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    if output:
        for node in model.graph.node:
            node.output[:] = [output if name == y else name for name in node.output]
        model.graph.output[0].name = output
    return model


def softmax(z: Array) -> Array:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def powers(n: Net, z: str, shifted: bool) -> str:
    return n.op("Exp", n.op("Sub", z, n.op("ReduceMax", z, AXIS)) if shifted else z)


def written(n: Net, z: str, shifted: bool = True) -> str:
    e = powers(n, z, shifted)
    return n.op("Div", e, n.op("ReduceSum", e, AXIS))


def finite(n: Net, z: str) -> str:
    e = powers(n, z, shifted=True)
    return n.op("Div", e, n.op("Add", n.op("ReduceSum", e, AXIS), np.array(1e-8)))


def written_log(n: Net, z: str) -> str:
    shifted = n.op("Sub", z, n.op("ReduceMax", z, AXIS))
    return n.op("Sub", shifted, n.op("Log", n.op("ReduceSum", n.op("Exp", shifted), AXIS)))


def best(n: Net, z: str) -> str:
    return n.op("ArgMax", n.op("Softmax", z, axis=1), axis=1, keepdims=0)


def label(n: Net, z: str) -> str:
    return n.op("Reshape", n.op("Gather", np.array([7, 8, 9]), best(n, z), axis=0), np.array([-1]))


TAILS: dict[str, tuple[Callable[[Net, str], str], str, tuple[str, ...]]] = {
    "clip": (lambda n, z: n.op("Clip", n.op("Softmax", z), np.array(1e-7), np.array(1.0)), "Softmax", ("Clip",)),
    "log": (lambda n, z: n.op("Log", n.op("Add", n.op("Softmax", z), np.array(1e-9))), "LogSoftmax", ("Clip", "Log")),
    "percent": (lambda n, z: n.op("Mul", n.op("Softmax", z), np.array(100.0)), "Softmax", ("Mul",)),
    "exp of log": (lambda n, z: n.op("Exp", n.op("LogSoftmax", z)), "Softmax", ()),
    "kept finite": (finite, "Softmax", ()),
    "written out": (written, "Softmax", ()),
    "without the maximum": (lambda n, z: written(n, z, shifted=False), "Softmax", ()),
    "log written out": (written_log, "LogSoftmax", ()),
    "sigmoid": (
        lambda n, z: n.op("Div", ONE, n.op("Add", n.op("Exp", n.op("Neg", z)), ONE)),
        "Sigmoid",
        (),
    ),
    "log of sigmoid": (lambda n, z: n.op("Log", n.op("Sigmoid", z)), "LogSigmoid", ("Log",)),
    "argmax": (best, "Softmax", ()),
    "label": (label, "Softmax", ()),
    "one-hot": (lambda n, z: n.op("OneHot", best(n, z), np.array([3]), np.array([0, 1])), "Softmax", ()),
    "topk": (lambda n, z: n.ops("TopK", n.op("Softmax", z), np.array([2]), results=2, axis=1)[0], "Softmax", ()),
}
DECISIONS = ("argmax", "label", "one-hot", "topk")


@pytest.mark.parametrize("case", TAILS)
def test_the_logit_of_the_class_is_explained(case: str) -> None:
    tail, kind, behind = TAILS[case]
    model = onnxlrp.load(network(tail), engine="reference")
    assert model.classes == 3
    assert model.head.kind == kind
    if case not in DECISIONS:
        assert model.head.functions[1:] == behind
    z = logits(X.astype(float), 3)
    for k in range(3):
        e = model.explain(X, k, "gradient")
        np.testing.assert_allclose(e.relevance, slopes(X.astype(float), 3)[:, k], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(e.logit, z[:, k], rtol=1e-4)
    assert (model.explain(X, method="gradient").target == z.argmax(1)).all()
    shown = (sigmoid if kind.endswith("Sigmoid") else softmax)(z) * (100 if case == "percent" else 1)
    np.testing.assert_allclose(e.probabilities, shown, rtol=1e-4, atol=1e-5)


def flattened(n: Net, z: str) -> list[str]:
    p = n.op("Sigmoid", n.op("Reshape", z, np.array([-1])))
    return [n.op("Unsqueeze", column, AXIS) for column in (n.op("Sub", ONE, p), p)]


COLUMNS: dict[str, tuple[Callable[[Net, str], list[str]], int]] = {
    "subtracted": (lambda n, z: [n.op("Sub", ONE, p := n.op("Sigmoid", z)), p], 1),
    "the other way round": (lambda n, z: [p := n.op("Sigmoid", z), n.op("Sub", ONE, p)], 0),
    "added": (lambda n, z: [n.op("Add", n.op("Neg", p := n.op("Sigmoid", z)), ONE), p], 1),
    "stacked": (flattened, 1),
    "of no Gemm": (lambda n, z: [n.op("Sub", ONE, p := n.op("Sigmoid", n.op("Tanh", z))), p], 1),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_two_columns_of_one_sigmoid_have_opposite_maps(case: str) -> None:
    columns, positive = COLUMNS[case]
    model = onnxlrp.load(network(lambda n, z: n.op("Concat", *columns(n, z), axis=1), classes=1), engine="reference")
    z, slope = logits(X.astype(float), 1)[:, 0], slopes(X.astype(float), 1)[:, 0]
    if case == "of no Gemm":
        z, slope = np.tanh(z), slope * (1 - np.tanh(z) ** 2)[:, None]
    for k, sign in ((positive, 1), (1 - positive, -1)):
        e = model.explain(X, k, "gradient")
        np.testing.assert_allclose(e.relevance, sign * slope, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(e.logit, sign * z, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(e.probabilities[:, k], sigmoid(sign * z), rtol=1e-4)
    for_, against = (model.explain(X, k, "epsilon").relevance for k in (positive, 1 - positive))
    np.testing.assert_allclose(against, -for_, rtol=1e-4, atol=1e-5)


# Files whose output is no score that rises with its class.


def loaded(tail: Callable[[Net, str], str], classes: int = 3, kind: int = TensorProto.FLOAT) -> onnxlrp.Model:
    source = network(tail, classes)
    source.graph.output[0].type.tensor_type.elem_type = kind
    return onnxlrp.load(source, engine="reference")


FALLING: dict[str, tuple[Callable[[Net, str], str], str]] = {
    "-log p": (lambda n, z: n.op("Neg", n.op("Log", n.op("Softmax", z))), "LogSoftmax"),
    "in bits": (lambda n, z: n.op("Div", n.op("LogSoftmax", z), np.array(-np.log(2))), "LogSoftmax"),
    "1 - p": (lambda n, z: n.op("Sub", ONE, n.op("Softmax", z)), "Softmax"),
    "-p": (lambda n, z: n.op("Mul", n.op("Softmax", z), np.array([-1.0])), "Softmax"),
}


@pytest.mark.parametrize("case", FALLING)
def test_an_output_that_falls_with_the_score_is_said(case: str, tmp_path: Path, capsys: Any) -> None:
    tail, kind = FALLING[case]
    model, z = loaded(tail), logits(X.astype(float), 3)
    assert model.head.kind == kind
    e = model.explain(X, 1, "gradient")
    np.testing.assert_allclose(e.relevance, slopes(X.astype(float), 3)[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e.probabilities, softmax(z), rtol=1e-4)
    assert (model.explain(X, method="gradient").target == z.argmax(1)).all()
    onnx.save(network(tail), tmp_path / "m.onnx")
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 0
    assert "the output falls where the score of a class rises" in capsys.readouterr().out
    as_it_is = model.explain(X, 1, "gradient", head="as-is")
    wanted = {
        "-log p": -np.log(softmax(z)),
        "in bits": -np.log2(softmax(z)),
        "1 - p": 1 - softmax(z),
        "-p": -softmax(z),
    }
    np.testing.assert_allclose(as_it_is.logit, wanted[case][:, 1], rtol=1e-4, atol=1e-6)


def test_what_is_no_head_does_not_turn_scores() -> None:
    """Negative logits are logits."""
    e = loaded(lambda n, z: n.op("Neg", z)).explain(X, 1, "gradient")
    np.testing.assert_allclose(e.relevance, -slopes(X.astype(float), 3)[:, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("shape", [None, (-1,), (-1, 1, 1)], ids=["plain", "flat", "deep"])
def test_the_complement_of_a_sigmoid_is_that_of_the_negative_logit(classes: int, shape: Any) -> None:
    def tail(n: Net, z: str) -> str:
        p = n.op("Sub", ONE, n.op("Sigmoid", z))
        return p if shape is None else n.op("Reshape", p, np.array([-1, classes, *shape[1:]]))

    model, z = loaded(tail, classes), logits(X.astype(float), classes)
    e = model.explain(X, 0, "gradient")
    np.testing.assert_allclose(e.relevance, -slopes(X.astype(float), classes)[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e.logit, -z[:, 0], rtol=1e-4)
    np.testing.assert_allclose(e.probabilities, sigmoid(-z), rtol=1e-4)
    assert not model.head.remark


def compared(op: str, first: bool, then: str = "") -> Callable[[Net, str], str]:
    def tail(n: Net, z: str) -> str:
        p, least = n.op("Sigmoid", z), np.array([0.5, 0.3, 0.2])
        y = n.op(op, p, least) if first else n.op(op, least, p)
        return n.op(then, y) if then else y

    return tail


def where(n: Net, z: str) -> str:
    return n.op("Where", n.op("Greater", n.op("Sigmoid", z), np.array(0.5)), np.array(1.0), np.array(0.0))


# Whether the decision is for a class where its score is low.
THRESHOLDS: dict[str, tuple[Callable[[Net, str], str], int, bool]] = {
    "greater": (compared("Greater", first=True), TensorProto.BOOL, False),
    "or equal": (compared("GreaterOrEqual", first=True), TensorProto.BOOL, False),
    "than the number": (compared("Less", first=False), TensorProto.BOOL, False),
    "not less": (compared("Less", first=True, then="Not"), TensorProto.BOOL, False),
    "less": (compared("Less", first=True), TensorProto.BOOL, True),
    "number greater": (compared("GreaterOrEqual", first=False), TensorProto.BOOL, True),
    "one or zero": (where, TensorProto.FLOAT, False),
    "rounded": (lambda n, z: n.op("Round", n.op("Sigmoid", z)), TensorProto.FLOAT, False),
    "as numbers": (
        lambda n, z: n.op("Cast", n.op("Greater", n.op("Sigmoid", z), np.array(0.5)), to=TensorProto.INT64),
        TensorProto.INT64,
        False,
    ),
}


@pytest.mark.parametrize("case", THRESHOLDS)
def test_a_threshold_of_every_score_is_a_decision(case: str) -> None:
    tail, kind, falls = THRESHOLDS[case]
    model, z = loaded(tail, kind=kind), logits(X.astype(float), 3)
    assert model.head.decision
    assert model.head.kind == "Sigmoid"
    assert ("falls" in model.head.remark) == falls
    e = model.explain(X, 1, "gradient")
    np.testing.assert_allclose(e.relevance, slopes(X.astype(float), 3)[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e.probabilities, sigmoid(z), rtol=1e-4)


@pytest.mark.parametrize("case", ["greater", "sign"])
def test_a_threshold_of_logits_shows_no_shares_of_them(case: str) -> None:
    """Each class is decided by itself: no softmax of all."""
    if case == "sign":
        model = loaded(lambda n, z: n.op("Sign", z))
    else:
        model = loaded(lambda n, z: n.op("Greater", z, np.array(0.0)), kind=TensorProto.BOOL)
    z = logits(X.astype(float), 3)
    e = model.explain(X, 2, "gradient")
    np.testing.assert_allclose(e.relevance, slopes(X.astype(float), 3)[:, 2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e.probabilities, z, rtol=1e-4)
    assert e.quantity == "score"


def test_equality_with_the_largest_is_the_decision_for_it() -> None:
    model = loaded(
        lambda n, z: n.op("Equal", p := n.op("Softmax", z), n.op("ReduceMax", p, AXIS)), kind=TensorProto.BOOL
    )
    assert model.head.decision
    z = logits(X.astype(float), 3)
    assert (model.explain(X, method="gradient").target == z.argmax(1)).all()
    np.testing.assert_allclose(model.explain(X, 1, "gradient").probabilities, softmax(z), rtol=1e-4)


# Softmaxes that stand as other formulas: the logits, as of the logits z before them.
FREQUENCIES = np.array([0.5, 1.0, 2.0])


def again(n: Net, weighted: str, inverse: bool = False) -> str:
    total = n.op("ReduceSum", weighted, AXIS)
    return n.op("Mul", weighted, n.op("Reciprocal", total)) if inverse else n.op("Div", weighted, total)


TURNED: dict[str, tuple[Callable[[Net, str], str], Callable[[Array], Array], Array]] = {
    "other frequencies": (
        lambda n, z: again(n, n.op("Mul", n.op("Softmax", z), FREQUENCIES)),
        lambda z: z + np.log(FREQUENCIES),
        np.ones(3),
    ),
    "divided": (
        lambda n, z: again(n, n.op("Div", n.op("Softmax", z), FREQUENCIES), inverse=True),
        lambda z: z - np.log(FREQUENCIES),
        np.ones(3),
    ),
    "of powers": (
        lambda n, z: again(n, n.op("Mul", n.op("Exp", n.op("Sub", z, n.op("ReduceMax", z, AXIS))), FREQUENCIES)),
        lambda z: z + np.log(FREQUENCIES),
        np.ones(3),
    ),
    "a temperature": (
        lambda n, z: again(n, n.op("Pow", n.op("Softmax", z), np.array([0.5]))),
        lambda z: z / 2,
        np.full(3, 0.5),
    ),
    "both": (
        lambda n, z: again(n, n.op("Pow", n.op("Mul", n.op("Softmax", z), FREQUENCIES), np.array(3.0))),
        lambda z: 3 * (z + np.log(FREQUENCIES)),
        np.full(3, 3.0),
    ),
}


@pytest.mark.parametrize("case", TURNED)
def test_a_softmax_of_turned_logits(case: str) -> None:
    tail, turned, factor = TURNED[case]
    model, z = loaded(tail), turned(logits(X.astype(float), 3))
    assert model.head.functions == ("Softmax",)
    for k in range(3):
        e = model.explain(X, k, "gradient")
        np.testing.assert_allclose(e.relevance, factor[k] * slopes(X.astype(float), 3)[:, k], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(e.logit, z[:, k], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e.probabilities, softmax(z), rtol=1e-4)


@pytest.mark.parametrize("factors", [FREQUENCIES, -FREQUENCIES, FREQUENCIES * [0, 1, 1]], ids=["plus", "minus", "zero"])
@pytest.mark.parametrize("normalised", [False, True])
def test_factors_that_give_no_softmax_are_explained_as_they_stand(factors: Array, normalised: bool) -> None:
    if normalised and (factors > 0).all():
        pytest.skip("a softmax")

    def tail(n: Net, z: str) -> str:
        weighted = n.op("Mul", n.op("Softmax", z), factors)
        return again(n, weighted) if normalised else weighted

    model = loaded(tail)
    shares = softmax(logits(X.astype(float), 3)) * factors
    shares /= shares.sum(1, keepdims=True) if normalised else 1
    assert model.head.kind == "Scores"
    np.testing.assert_allclose(model.explain(X, 2, "gradient").logit, shares[:, 2], rtol=1e-4)


def over_all(n: Net, z: str) -> str:
    """Of 2 x 3 classes, the second three of twice the logits of the first."""
    both = n.op("Reshape", n.op("Concat", z, n.op("Mul", z, np.array(2.0)), axis=1), np.array([-1, 2, 3]))
    e = n.op("Exp", n.op("Sub", both, n.op("ReduceMax", both, np.array([1, 2]))))
    return n.op("Reshape", n.op("Div", e, n.op("ReduceSum", e, np.array([-1, 1]))), np.array([-1, 6]))


def test_a_softmax_over_several_axes() -> None:
    model, z = loaded(over_all), logits(X.astype(float), 3)
    assert model.classes == 6
    assert model.head.functions == ("Softmax",)
    for k in range(6):
        e = model.explain(X, k, "gradient")
        np.testing.assert_allclose(
            e.relevance, (1 + k // 3) * slopes(X.astype(float), 3)[:, k % 3], rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(e.probabilities, softmax(np.concatenate([z, 2 * z], 1)), rtol=1e-4)


def test_scores_without_logits_are_explained_and_shown_as_they_stand(tmp_path: Path, capsys: Any) -> None:
    def mean(n: Net, z: str) -> str:
        twice = n.op("Softmax", n.op("Mul", z, np.array([2.0, 1, 1])))
        return n.op("Mul", n.op("Add", n.op("Softmax", z), twice), np.array(0.5))

    model = onnxlrp.load(network(mean))
    z = logits(X.astype(float), 3)
    wanted = (softmax(z) + softmax(z * [2, 1, 1])) / 2
    e = model.explain(X, 1, "gradient")
    assert model.head.kind == "Scores"
    np.testing.assert_allclose(e.probabilities, wanted, rtol=1e-4)
    np.testing.assert_allclose(e.logit, wanted[:, 1], rtol=1e-4)
    onnx.save(network(mean), tmp_path / "mean.onnx")
    np.save(tmp_path / "x.npy", X[0])
    assert main(["explain", *(str(tmp_path / name) for name in ("mean.onnx", "x.npy")), "-o", str(tmp_path)]) == 0
    assert "as they stand" in capsys.readouterr().out


def test_the_output_as_it_is() -> None:
    model = onnxlrp.load(network(lambda n, z: n.op("Softmax", z)), engine="reference")
    p, slope = softmax(logits(X.astype(float), 3)), slopes(X.astype(float), 3)
    wanted = p[:, :1] * (slope[:, 0] - np.einsum("nk,nki->ni", p, slope))
    e = model.explain(X, 0, "gradient", head="as-is")
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(e.logit, p[:, 0], rtol=1e-4)
    assert e.provenance["head"] == "as-is"
    with pytest.raises(UsageError, match="decision"):
        onnxlrp.load(network(best)).explain(X, 0, "gradient", head="as-is")
    with pytest.raises(UsageError, match="does not exist"):
        model.explain(X, 0, "gradient", head="logit")


# -- regression


def plain(n: Net, z: str) -> str:
    return n.op("Identity", z)


@pytest.mark.parametrize("how", ["task", "metadata", "name"])
def test_values_of_a_regression_are_no_shares(how: str) -> None:
    source = network(plain, output="variable" if how == "name" else "y")
    if how == "metadata":
        source.metadata_props.add(key="onnxlrp.task", value="regression")
    asked: dict[str, Any] = {"task": "regression"} if how == "task" else {}
    model = onnxlrp.load(source)
    e = model.explain(X, 2, "occlusion", **asked)
    z = logits(X.astype(float), 3)
    assert e.is_value
    assert e.to_dict()["samples"][0]["top"][0].keys() == {"id", "label", "value"}
    np.testing.assert_allclose(e.probabilities, z, rtol=1e-4)
    for i in range(5):
        hidden = X.astype(float) * (np.arange(5) != i)
        np.testing.assert_allclose(e.relevance[:, i], (z - logits(hidden, 3))[:, 2], rtol=1e-3, atol=1e-5)
    shares = model.explain(X, 2, "occlusion", task="classification")
    np.testing.assert_allclose(shares.probabilities, softmax(z), rtol=1e-4)
    hidden = X.astype(float) * (np.arange(5) != 0)
    wanted = (softmax(z) - softmax(logits(hidden, 3)))[:, 2]
    np.testing.assert_allclose(shares.relevance[:, 0], wanted, rtol=1e-3, atol=1e-5)


def test_the_guess_of_a_task_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(network(plain), "m.onnx")
    np.save("x.npy", X[0])
    assert main(["explain", "m.onnx", "x.npy"]) == 0
    assert "--task regression" in capsys.readouterr().out
    assert main(["explain", "m.onnx", "x.npy", "--task", "regression"]) == 0
    said = capsys.readouterr().out
    assert "3 values" in said
    assert "top-3" not in said
    assert main(["inspect", "m.onnx", "--task", "regression", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["head"]["kind"] == "Values"


# -- classifiers of ai.onnx.ml, as converters write them


def classical(op: str, **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(op, ["x"], ["label", "scores"], domain="ai.onnx.ml", **attributes)
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([node], "m", [x], outputs), ir_version=10, opset_imports=opsets)


@pytest.mark.parametrize("rows", [1, 2], ids=["untouched", "read"])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC"])
def test_margins_of_a_linear_classifier_are_no_logits(transform: str, rows: int, tmp_path: Path, capsys: Any) -> None:
    """One row for two classes is run as the untouched file, two rows are read."""
    weights, offsets = [2.0, -1.0, 0.5, 1.5][: 2 * rows], [0.25, -0.5][:rows]
    source = classical(
        "LinearClassifier", classlabels_ints=[0, 1], coefficients=weights, intercepts=offsets, post_transform=transform
    )
    _, scores = outputs(source, PLANE)
    e = onnxlrp.load(source).explain(PLANE, 1, "occlusion")
    np.testing.assert_allclose(e.probabilities, scores, rtol=1e-5)
    onnx.save(source, tmp_path / "m.onnx")
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 0
    said = capsys.readouterr().out
    assert ("2 margins of a linear classifier" in said) == (transform == "NONE")
    assert "--task regression" not in said


def machine() -> onnx.ModelProto:
    """Two support vectors, (1, 1) of class 1 and (-1, -1) of class 0; columns are d and -d."""
    return classical(
        "SVMClassifier",
        classlabels_ints=[0, 1],
        coefficients=[0.5, -0.5],
        kernel_type="LINEAR",
        kernel_params=[0.0, 0.0, 0.0],
        rho=[0.0],
        support_vectors=[-1.0, -1.0, 1.0, 1.0],
        vectors_per_class=[1, 1],
        post_transform="NONE",
    )


def forest() -> onnx.ModelProto:
    """One tree: class 1 with .9 where x_0 > 0, class 0 with .8 elsewhere."""
    return classical(
        "TreeEnsembleClassifier",
        classlabels_int64s=[0, 1],
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0],
        nodes_hitrates=[1.0, 1.0, 1.0],
        class_treeids=[0, 0, 0, 0],
        class_nodeids=[1, 1, 2, 2],
        class_ids=[0, 1, 0, 1],
        class_weights=[0.8, 0.2, 0.1, 0.9],
        post_transform="NONE",
    )


def outputs(model: onnx.ModelProto, x: Array) -> tuple[Array, Array]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found, scores = session.run(None, {"x": x})
    return found, scores


PLANE = np.array([[1, 2], [-1, -0.5], [2, -1], [-2, 1]], np.float32)


def test_columns_of_a_support_vector_machine_are_those_of_its_classes() -> None:
    found, columns = outputs(machine(), PLANE)
    assert (columns.argmax(1) != found).all()
    e = onnxlrp.load(machine()).explain(PLANE, method="occlusion")
    assert (e.target == found).all()
    decision = PLANE.sum(1)
    np.testing.assert_allclose(e.probabilities, np.stack([-decision, decision], 1), rtol=1e-5)
    sign = np.where(found == 1, 1, -1)[:, None]
    np.testing.assert_allclose(e.relevance, sign * PLANE, rtol=1e-4, atol=1e-6)
    assert e.quantity == "score"


def test_probabilities_of_a_forest_are_shown_as_they_are() -> None:
    _, shares = outputs(forest(), PLANE)
    e = onnxlrp.load(forest()).explain(PLANE, 1, "occlusion")
    np.testing.assert_allclose(e.probabilities, shares, rtol=1e-6)
    assert e.quantity == "probability"
    np.testing.assert_allclose(e.relevance[:, 0], np.where(PLANE[:, 0] > 0, 0.7, 0), atol=1e-6)


def test_what_is_known_of_a_head_is_known_of_its_graph_alone() -> None:
    graph = onnxlrp.load(network(lambda n, y: y)).graph
    output = graph.outputs[0].name
    assert heads.head_of(graph, output).kind == ""
    regressing = dataclasses.replace(graph, metadata={**graph.metadata, "task": "regression"})
    assert heads.head_of(regressing, output).kind == "Values"
    assert heads.head_of(graph, output).kind == ""


BEST = lambda n, z: n.op("ArgMax", z, axis=1, keepdims=0)  # noqa: E731
LIMITS = np.array([[0.5, 0.2, 0.7]])


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (BEST, "the output is the best class alone, by ArgMax: explained are the 3 logits before it"),
        (best, "the output is the best class alone, by ArgMax: explained are the logits before Softmax"),
        (
            lambda n, z: n.op("Cast", n.op("Greater", z, LIMITS), to=1),
            "the output compares each class with a threshold: the 3 scores before it are explained",
        ),
    ],
    ids=["argmax", "argmax of softmax", "thresholds"],
)
def test_inspect_and_explain_say_what_is_explained_before_a_decision(
    tail: Callable[[Net, str], str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(network(tail), "m.onnx")
    np.save("x.npy", X[0])
    for words in (["inspect", "m.onnx"], ["explain", "m.onnx", "x.npy", "-m", "gradient", "-o", "r.npz"]):
        assert main(words) == 0
        assert f"head    {said}" in capsys.readouterr().out
    z = logits(X[:1].astype(float), 3)
    stored = np.load("r.npz")
    assert stored["target"].tolist() == z.argmax(1).tolist()
    np.testing.assert_allclose(stored["relevance"][0], slopes(X[:1].astype(float), 3)[0, z.argmax()], rtol=1e-4)


@pytest.mark.parametrize("factor", [[[1.0, 2.0, 0.5]], [[1.0, -2.0, 0.5]]])
def test_factors_of_classes_behind_a_softmax_are_said_to_be_explained_as_they_stand(factor: Any) -> None:
    """They change which class is best: no logit decides it."""
    model = onnxlrp.load(network(lambda n, z: n.op("Mul", n.op("Softmax", z, axis=1), np.array(factor))))
    assert "as they stand" in summary.head(model.head, model.classes)
    p = softmax(logits(X.astype(float), 3))
    slope = np.einsum("nj,nji->ni", p, slopes(X.astype(float), 3))
    e = model.explain(X, 1, "gradient")
    np.testing.assert_allclose(e.output, p * factor, rtol=1e-4)
    wanted = factor[0][1] * p[:, 1:2] * (slopes(X.astype(float), 3)[:, 1] - slope)
    np.testing.assert_allclose(e.relevance, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("way", ["written out", "opset 11"])
def test_a_softmax_over_several_axes_has_a_class_for_each_of_their_places(way: str) -> None:
    def tail(n: Net, z: str) -> str:
        z = n.op("Reshape", n.op("Gemm", z, np.eye(6)[:, :3], transB=1), np.array([-1, 2, 3]))
        if way == "opset 11":
            return n.op("Softmax", z, axis=1)
        e = n.op("Exp", n.op("Sub", z, n.op("ReduceMax", z, np.array([1, 2]))))
        return n.op("Div", e, n.op("ReduceSum", e, np.array([1, 2])))

    made = network(tail)
    if way == "opset 11":
        made.opset_import[0].version = 11
    model = onnxlrp.load(made)
    z = np.concatenate([logits(X.astype(float), 3), np.zeros((len(X), 3))], axis=1)
    assert (model.classes, model.head.kind) == (6, "Softmax")
    e = model.explain(X, 1, "gradient")
    np.testing.assert_allclose(e.probabilities, softmax(z), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(e.logit, z[:, 1], rtol=1e-4)
    np.testing.assert_allclose(e.relevance, slopes(X.astype(float), 3)[:, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["Neg of Log", "Neg of LogSoftmax"])
def test_a_negative_log_likelihood_is_read_by_the_logit_and_said_to_fall(way: str) -> None:
    ops = ("Softmax", "Log") if way == "Neg of Log" else ("LogSoftmax",)

    def tail(n: Net, z: str) -> str:
        y = n.op(ops[0], z, axis=1)
        return n.op("Neg", n.op("Log", y) if len(ops) > 1 else y)

    model = onnxlrp.load(network(tail))
    assert "falls where the score of a class rises" in summary.head(model.head, model.classes)
    z = logits(X.astype(float), 3)
    e = model.explain(X, method="gradient")
    assert e.target.tolist() == z.argmax(1).tolist()
    np.testing.assert_allclose(e.probabilities, softmax(z), rtol=1e-4)
    np.testing.assert_allclose(e.logit, z.max(1), rtol=1e-4)
