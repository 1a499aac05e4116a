"""Commands on models whose layers cannot be read, and inputs that cannot be explained: done, or refused clearly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(0)
W, R, D = (RNG.normal(size=shape).astype(np.float32) for shape in ((1, 20, 3), (1, 20, 5), (5, 4)))
X = RNG.normal(size=(3, 7, 3)).astype(np.float32)


def save(name: str, nodes: Any, x: Any, y: Any, constants: Any, kind: int = TensorProto.FLOAT) -> str:
    ends = [helper.make_tensor_value_info("x", kind, x), helper.make_tensor_value_info("y", TensorProto.FLOAT, y)]
    weights = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), name)
    return name


def recurrent(name: str, factor: float = 1.0, batch_first: bool = True) -> str:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        # A function whose number is not stated: such a layer cannot be read.
        helper.make_node(
            "LSTM",
            ["t" if batch_first else "x", "w", "r"],
            ["", "h"],
            hidden_size=5,
            activations=["Sigmoid", "Tanh", "ThresholdedRelu"],
        ),
        helper.make_node("Squeeze", ["h", "zero"], ["s"]),
        helper.make_node("MatMul", ["s", "d"], ["y"]),
    ]
    constants = {"w": W, "r": R * np.float32(factor), "d": D, "zero": np.array([0])}
    shape = ["N", 7, 3] if batch_first else [7, "N", 3]
    return save(name, nodes[not batch_first :], shape, ["N", 4], constants)


@pytest.fixture
def lstm() -> str:
    np.save("x.npy", X)
    return recurrent("lstm.onnx")


def test_compare(run: Any, lstm: str) -> None:
    """Logits and heatmaps; there are no layers. The moves are those of onnxruntime's own sessions."""
    other = recurrent("other.onnx", 1.5)
    _, err = run(0, "compare", lstm, other, "x.npy", "--save", "found.json", "--json")
    assert "layers are not compared" in err
    with open("found.json", encoding="utf-8") as file:
        found = json.load(file)
    y, z = (onnxruntime.InferenceSession(name).run(None, {"x": X})[0] for name in (lstm, other))
    wanted = np.abs(y - z).max(axis=1) / np.abs(y).max(axis=1)
    np.testing.assert_allclose([row["logits"] for row in found["samples"]], wanted, rtol=1e-4)
    assert found["layers"] == []
    assert found["method"] == "occlusion"
    run(0, "compare", "--from", "found.json")
    np.testing.assert_allclose([row["cosine"] for row in _compared(run, lstm, lstm)], 1)


def _compared(run: Any, a: str, b: str) -> Any:
    run(0, "compare", a, b, "x.npy", "--save", "same.json")
    with open("same.json", encoding="utf-8") as file:
        return json.load(file)["samples"]


def test_check_and_evaluate(run: Any, lstm: str) -> None:
    out, _ = run(0, "check", lstm, "x.npy", "--json")
    assert json.loads(out)["about"]["method"] == "occlusion"
    out, err = run(0, "evaluate", lstm, "x.npy", "--metric", "deletion", "--json")
    assert [cell["method"] for cell in json.loads(out)["cells"]] == ["occlusion"]
    assert "sensitivity left out" in err  # of the default; named, it is refused
    run(4, "evaluate", lstm, "x.npy", "--metric", "deletion", "-m", "sensitivity")


def test_a_batch_on_another_axis(refused: Any) -> None:
    model = onnx.load(recurrent("first.onnx", batch_first=False))
    model.graph.node.append(helper.make_node("Transpose", ["y"], ["turned"]))
    model.graph.output[0].name = "turned"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, "turned.onnx")
    said, fix = refused(4, "inspect", "turned.onnx")
    assert "no output has the batch on axis 0" in said
    assert "batch on axis 0" in fix
    assert "--size" not in fix


def test_steps_first(run: Any, lstm: str) -> None:
    """The batch is where the operator has it: samples are given with it in front, and results are those of the file."""
    name = recurrent("first.onnx", batch_first=False)
    np.save("one.npy", X[0])
    run(0, "explain", lstm, "one.npy", "-t", 1, "-o", "a.npz")
    _, err = run(0, "explain", name, "one.npy", "-t", 1, "-o", "b.npz")
    assert "input x: the batch is axis 1 in the file" in err
    found, want = (np.load(f"{letter}.npz")["relevance"] for letter in "ba")
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_text(refused: Any) -> None:
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["small"], case_change_action="LOWER"),
        helper.make_node("OneHotEncoder", ["small"], ["k"], domain="ai.onnx.ml", cats_strings=["a", "b", "c"]),
        helper.make_node("MatMul", ["k", "d"], ["y"]),
    ]
    name = save("text.onnx", nodes, [3], [3, 4], {"d": D[:3]}, TensorProto.STRING)
    said, fix = refused(4, "inspect", name)
    assert 'the input "x" takes text' in said
    onnx.utils.extract_model(name, "numbers.onnx", ["k"], ["y"])  # the fix
    assert "extract_model" in fix


def test_no_shape(refused: Any) -> None:
    name = save("open.onnx", [helper.make_node("MatMul", ["x", "d"], ["y"])], None, None, {"d": D})
    said, fix = refused(3, "inspect", name)
    assert "declares no shape" in said
    assert "export" in fix
