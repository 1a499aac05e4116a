"""What is explained where nobody says it: an output that depends on the sample, and a place where nothing is predicted.

Values come from numpy, and from onnxruntime's session of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UsageError
from support.small_nets import Net

RNG = np.random.default_rng(8)


def test_an_output_that_hands_on_a_mask_is_not_chosen() -> None:
    """An encoder that gives back its mask, [N, T], beside states of words, [N, T, 4]."""
    nodes = [
        helper.make_node("Gather", ["table", "src"], ["memory"]),
        helper.make_node("Identity", ["mask"], ["mask_out"]),
    ]
    table = RNG.normal(size=(9, 4)).astype(np.float32)
    ends = [helper.make_tensor_value_info("src", 7, ["N", 5]), helper.make_tensor_value_info("mask", 9, ["N", 5])]
    outs = [helper.make_tensor_value_info("mask_out", 9, ["N", 5]), helper.make_tensor_value_info("memory", 1, None)]
    graph = helper.make_graph(nodes, "g", ends, outs, [numpy_helper.from_array(table, "table")])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnxlrp.load(proto)
    assert model.choice is not None
    assert model.choice.output == "memory"
    x = np.array([[1, 2, 3, 4, 5]])
    e = model.explain(x, target="2@3", method="gradient_x_input", given={"mask": np.ones(5, bool)})
    np.testing.assert_allclose(e.relevance, [[0, 0, 0, table[4, 2], 0]], rtol=1e-6)


def heads(last: str) -> onnx.ModelProto:
    """Scores of three classes, or of one, at each of 6 x 7 positions, all far below zero."""
    n, classes = Net(3, 6, 7, seed=4), 3 if last == "separate" else 1
    z = n.op("Add", n.conv("x", 3, classes), np.array(-9.0))
    return n.model(n.op("Sigmoid", z))


@pytest.mark.parametrize("last", ["separate", "one"])
def test_where_no_class_is_predicted_the_highest_score_is_explained(last: str) -> None:
    proto, x = heads(last), RNG.normal(size=(2, 3, 6, 7)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"x": x})[0]
    assert (scores < 0.5).all()
    model = onnxlrp.load(proto)
    e = model.explain(x)
    best = scores.reshape(2, -1).argmax(axis=1)
    np.testing.assert_array_equal(e.target, best // 42)
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(e.logit))), scores.reshape(2, -1).max(axis=1), rtol=1e-4)
    assert "highest score" in " ".join(text for text, _ in model.for_target().notes)
    with pytest.raises(UsageError, match="is predicted as"):
        model.explain(x, target=f"{int(best[0] // 42)}@predicted")


def branching() -> onnx.ModelProto:
    """p = σ(w x), or σ(v x) where p is above one half: of one sample, for If takes one condition."""
    other = helper.make_graph(
        [helper.make_node("MatMul", ["x", "v"], ["b"]), helper.make_node("Sigmoid", ["b"], ["q"])],
        "then", [], [helper.make_tensor_value_info("q", 1, [1, 1])],
    )  # fmt: skip
    same = helper.make_graph(
        [helper.make_node("Identity", ["p"], ["r"])], "else", [], [helper.make_tensor_value_info("r", 1, [1, 1])]
    )
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["p"]),
        helper.make_node("Greater", ["p", "half"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=other, else_branch=same),
    ]
    constants = {
        "w": np.array([[1], [-1], [2], [0]], np.float32), "v": np.array([[0], [3], [1], [1]], np.float32),
        "half": np.array(0.5, np.float32),
    }  # fmt: skip
    ends = [helper.make_tensor_value_info("x", 1, [1, 4]), helper.make_tensor_value_info("y", 1, [1, 1])]
    weights = [numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_branch_by_values_of_the_sample_is_hidden_from() -> None:
    proto, x = branching(), np.array([[1, 0.5, 1, -1]], np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    model = onnxlrp.load(proto)
    e = model.explain(x)
    assert model.default_method.name == "occlusion"

    def score(v: np.ndarray) -> Any:
        return session.run(None, {"x": v})[0][0, 0]

    np.testing.assert_allclose(e.output, [[score(x)]], rtol=1e-6)
    hidden = [score(np.where(np.arange(4) == i, 0, x).astype(np.float32)) for i in range(4)]
    np.testing.assert_allclose(e.relevance[0], score(x) - np.array(hidden), atol=1e-6)


def test_inspect_of_a_model_whose_default_has_no_rules(tmp_path: Path, capsys: Any) -> None:
    n = Net(4)
    onnx.save(n.model(n.op("Cast", n.op("Greater", "x", np.zeros(4)), to=1)), path := tmp_path / "steps.onnx")
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "default for a model of steps alone" in out
    assert "layer" not in out.splitlines()[-1]


def test_a_wave_shorter_than_a_window_is_tried_longer() -> None:
    """A filter of 400 samples at steps of 160 does not fit 224."""
    n = Net("T")  # type: ignore[arg-type]
    framed = n.op("Conv", n.op("Unsqueeze", "x", np.array([1])), RNG.normal(size=(2, 1, 400)), strides=[160])
    proto = n.model(n.op("ReduceMean", framed, np.array([2]), keepdims=0))
    model, x = onnxlrp.load(proto), RNG.normal(size=(1, 800)).astype(np.float32)
    assert model.graph.inputs[0].shape == (16000,)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(model.explain(x).output, session.run(None, {"x": x})[0], rtol=1e-4)
