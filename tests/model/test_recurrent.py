"""What the model offers of recurrent layers: many targets, exported files, gates as units, open lengths, a toy task."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.compile import forward
from onnxlrp.errors import UnsupportedError
from support import small_nets
from support.conformance import prepared
from support.recurrent_models import NETS, Net

NET = Net("LSTM", "bidirectional", "mean", initial=False)
X = NET.feeds()["x"]


@pytest.mark.parametrize("engine", ["ort", "reference"])
@pytest.mark.parametrize("method", ["recurrent", "gradient"])
def test_several_targets_are_those_of_one_each(engine: str, method: str) -> None:
    model = onnxlrp.load(NET.proto(), engine=engine)
    together = model.explain(X, method=method, targets=[0, 1, 2]).relevance
    for n in range(3):
        alone = model.explain(X, n, method).relevance
        np.testing.assert_allclose(together[n], alone, rtol=1e-4, atol=1e-6 * np.abs(alone).max())


def test_an_exported_explainer_runs_without_this_package(tmp_path: Any) -> None:
    model = onnxlrp.load(NET.proto())
    model.export(tmp_path / "explainer.onnx", method="recurrent")
    onnx.checker.check_model(str(tmp_path / "explainer.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "explainer.onnx")
    y, heat = session.run(["y", "relevance"], {"x": X, "target": np.full(len(X), 1)})
    e = model.explain(X, 1, "recurrent")
    np.testing.assert_allclose(y, e.output, atol=1e-6)
    np.testing.assert_allclose(heat, e.relevance, atol=1e-6 * np.abs(heat).max())


@pytest.mark.parametrize("name", ["LSTM forward, all steps", "LSTM reverse, peepholes", "LSTM bidirectional, lengths"])
def test_what_the_gates_give_is_what_the_operator_has(name: str) -> None:
    """The output gate times the squashed cell, of every step, against the states of onnxruntime's operator."""
    net, feeds = NETS[name], NETS[name].feeds()
    model = onnxlrp.load(net.proto())
    prefix = {2: ["rnn.forward", "rnn.reverse"], 1: ["rnn"]}[net.directions]
    names = [f"{one}.{part}" for one in prefix for part in ("output", "cell.activation")]
    program = forward(model.graph, activations=names)
    run = prepared("ort", small_nets.forward(model.graph), program)
    found = run(feeds)
    proto = net.proto()
    proto.graph.output.append(helper.make_empty_tensor_value_info("Y"))
    states = onnxruntime.InferenceSession(proto.SerializeToString()).run(["Y"], feeds)[0]
    lengths = feeds.get("lengths", np.full(len(feeds["x"]), net.steps))
    for d, one in enumerate(prefix):
        own = found[f"activation/{one}.output"] * found[f"activation/{one}.cell.activation"]
        for n, length in enumerate(lengths):
            np.testing.assert_allclose(own[n, :length], states[:length, d, n], atol=1e-6)


def test_a_cell_at_one_step_is_a_unit() -> None:
    net = Net("LSTM")
    x = net.feeds()["x"].astype(np.float64)
    model = onnxlrp.load(net.proto(), engine="reference")
    slope = model.explain(x, method="gradient", output="rnn.cell:2@3").relevance
    step = np.random.default_rng(0).normal(size=x.shape)

    def cells(x: Any) -> Any:
        found = []
        for sample in x:
            (cell,) = net.cells()
            cell.run(sample, 4, np.zeros(net.width), np.zeros(net.width))
            found.append(cell.tape[3][-1][2])
        return np.array(found)

    want = (cells(x + 1e-5 * step) - cells(x - 1e-5 * step)) / 2e-5
    np.testing.assert_allclose((slope * step).sum(axis=(1, 2)), want, rtol=1e-5)
    assert not slope[:, 4:].any()


def test_recorded_relevance_is_that_of_each_step() -> None:
    """What the cells and the candidates have of an LSTM, step by step in numpy."""
    net, seeds = Net("LSTM"), np.eye(3)[[1] * 4]
    feeds = net.feeds()
    model = onnxlrp.load(net.proto(), engine="reference")
    e = model.explain(feeds["x"], 1, "recurrent", record=["rnn.candidate", "rnn.cell_previous"])
    v = net.weights["V"].astype(float)
    for n, x in enumerate(feeds["x"].astype(float)):
        (cell,) = net.cells()
        _, h, _ = cell.run(x, net.steps, np.zeros(net.width), np.zeros(net.width))
        r_h = cell.linear(h @ v, (h @ v) * seeds[n], (v.T, h))[0]
        r_c = np.zeros(net.width)
        for t in reversed(range(net.steps)):
            before, (i, _, f, g), c = cell.tape[t][2], cell.tape[t][4], cell.tape[t][5]
            s = (r_c + r_h) / (c + 1e-3 * np.where(c >= 0, 1, -1))
            np.testing.assert_allclose(e.layers["rnn.candidate"][n, t], i * g * s, atol=1e-6)
            np.testing.assert_allclose(e.layers["rnn.cell_previous"][n, t], f * before * s, atol=1e-6)
            _, r_h, r_c = cell._lstm_back(cell.tape[t], r_h, r_c)


def test_open_lengths_are_those_of_the_array() -> None:
    net = Net("GRU", "bidirectional")
    proto = net.proto()
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "steps"
    model = onnxlrp.load(proto)
    for steps in (6, 11, 1):
        x = np.random.default_rng(0).normal(size=(2, steps, net.inputs)).astype(np.float32)
        other = Net("GRU", "bidirectional", steps=steps)
        _, want, _ = other.by_numpy({"x": x}, (other.by_numpy({"x": x}, np.zeros((2, 3)))[0] * np.eye(3)[[1, 1]]))
        got = model.explain(x, 1, "recurrent").relevance
        np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())


def test_a_rule_that_mixes_steps_is_refused() -> None:
    model = onnxlrp.load(NETS["RNN of Relu"].proto())
    with pytest.raises(UnsupportedError, match="mixes the steps"):
        model.explain(NETS["RNN of Relu"].feeds()["x"], 0, "gradient", redirect=True)


def test_relevance_is_on_the_marked_numbers_alone() -> None:
    """An LSTM that adds up the numbers with a mark: each marked one is its own relevance, and no other has any."""
    weights = {"W": np.zeros((1, 4, 2)), "R": np.zeros((1, 4, 1)), "B": np.zeros((1, 8))}
    weights["W"][0] = [[0, 40], [0, 0], [0, 0], [1, 0]]  # gates i, o, f and the candidate; columns number and mark
    weights["B"][0, :4] = [-20, 30, 30, 0]
    node = helper.make_node(
        "LSTM", ["t", "W", "R", "B"], ["", "h"], hidden_size=1, activations=["Sigmoid", "Affine", "Affine"],
        activation_alpha=[1.0, 1.0], activation_beta=[0.0, 0.0],
    )  # fmt: skip
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node]
    nodes.append(helper.make_node("Squeeze", ["h", "first"], ["y"]))
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 2]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])]  # fmt: skip
    stored = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    stored.append(numpy_helper.from_array(np.array([0]), "first"))
    graph = helper.make_graph(nodes, "adder", ends[:1], ends[1:], stored)
    model = onnxlrp.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    rng = np.random.default_rng(0)
    x = np.stack([rng.uniform(-1, 1, (5, 8)), rng.integers(0, 2, (5, 8))], axis=-1).astype(np.float32)
    e = model.explain(x, 0, "recurrent", epsilon=1e-9)
    marked = x[..., 0] * x[..., 1]
    np.testing.assert_allclose(e.output[:, 0], marked.sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(e.relevance[..., 0], marked, atol=1e-4)
    assert not e.relevance[..., 1].any()
