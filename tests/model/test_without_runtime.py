"""Without onnxruntime models load, the engine `reference` runs, and what would be faster is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.graph.frontend.constant_branches import take_branches
from support import without_runtime
from support.without_runtime import ROOT, explained

DIGITS, SEVEN = str(ROOT / "models/digits.onnx"), str(ROOT / "models/samples/digit_7.png")
FIX = "pip install onnxruntime"


@pytest.mark.slow
def test_explain_says_what_would_be_faster(tmp_path: Path) -> None:
    done = without_runtime.run("command", "explain", DIGITS, SEVEN, "-o", f"{tmp_path}/seven.npz")
    assert done.returncode == 0, done.stderr
    assert "onnxruntime is not installed" in done.stderr
    assert FIX in done.stderr
    with np.load(tmp_path / "seven.npz") as file:
        found = file["relevance"]
    wanted = onnxlrp.load(DIGITS, "ort").explain(SEVEN).relevance
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.slow
def test_hiding_methods_run(tmp_path: Path) -> None:
    done = without_runtime.run("command", "explain", DIGITS, SEVEN, "-m", "occlusion", "-o", f"{tmp_path}/seven.png")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [["inspect", DIGITS], ["methods"], ["rules"], ["doctor"]], ids=lambda words: words[0])
def test_other_commands(words: list[str]) -> None:
    done = without_runtime.run("command", *words)
    assert done.returncode == 0, done.stderr
    if words[0] in ("inspect", "doctor"):
        assert "pip install" in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--engine", "ort"], ["--providers", "cpu"]], ids=lambda words: words[0][2:])
def test_what_needs_it_names_the_command(words: list[str], tmp_path: Path) -> None:
    done = without_runtime.run("command", "explain", DIGITS, SEVEN, *words, "-o", f"{tmp_path}/seven.png")
    assert done.returncode == 2
    assert FIX in done.stderr


@pytest.mark.slow
def test_a_model_of_unread_layers_names_the_command(tmp_path: Path) -> None:
    node = helper.make_node("NonZero", ["x"], ["n"])
    cast = helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT)
    total = helper.make_node("ReduceSum", ["f"], ["t"])
    y = helper.make_node("Mul", ["x", "t"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([node, cast, total, y], "g", ends[:1], ends[1:])
    path = tmp_path / "nonzero.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    done = without_runtime.run("command", "inspect", str(path))
    assert done.returncode == 4, done.stdout
    assert FIX in done.stderr


STORED = [str(path) for path in sorted((ROOT / "tests/zoo").glob("*.onnx"))]


@pytest.mark.slow
def test_every_exporter_s_file_gives_the_same_map(tmp_path: Path) -> None:
    """The graph is the one that onnxruntime's folding leads to: the reference engine's numbers are equal."""
    done = without_runtime.run("explain", f"{tmp_path}/found.npz", *STORED)
    assert done.returncode == 0, done.stderr
    wanted = explained(STORED, "reference")
    with np.load(tmp_path / "found.npz") as found:
        for path, relevance in wanted.items():
            np.testing.assert_allclose(found[path], relevance, atol=1e-9 * np.abs(relevance).max(), err_msg=path)


def test_a_branch_that_shapes_decide_is_taken() -> None:
    """Where the condition is the rank of x, the branch is known; where it is x itself, it is not."""
    for decided in (True, False):
        model = onnx.shape_inference.infer_shapes(_branching(decided))
        taken = take_branches(model, 1 << 15)
        assert ("If" in {node.op_type for node in taken.graph.node}) is not decided
        if decided:
            from onnx.reference import ReferenceEvaluator

            onnx.checker.check_model(taken)
            (y,) = ReferenceEvaluator(taken).run(None, {"x": np.ones((2, 3), np.float32)})
            np.testing.assert_array_equal(y, np.full((2, 3), 8.0))


def _branching(decided: bool) -> onnx.ModelProto:
    """y = 2 + 2·3·x if the second length of x is 3 (or x[0, 0] is), else x; the names inside of both are the same."""

    def body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        held = numpy_helper.from_array(np.array(3, np.float32), "held")
        made = helper.make_tensor_value_info("made", TensorProto.FLOAT, None)
        return helper.make_graph(nodes, "body", [], [made], [held])

    yes = body(
        helper.make_node("Mul", ["double", "held"], ["inner"]), helper.make_node("Add", ["inner", "two"], ["made"])
    )
    no = body(helper.make_node("Identity", ["double"], ["made"]))
    constants = [
        numpy_helper.from_array(np.array(2, np.float32), "two"),
        numpy_helper.from_array(np.array(1), "one"),
        numpy_helper.from_array(np.array(3), "three"),
    ]
    source = helper.make_node("Shape", ["x"], ["s"]) if decided else helper.make_node("Cast", ["row"], ["s"], to=7)
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["double"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Concat", ["t1", "t1"], ["row"], axis=0),
        source,
        helper.make_node("Gather", ["s", "one"], ["length"]),
        helper.make_node("Equal", ["length", "three"], ["is"]),
        helper.make_node("If", ["is"], ["y"], then_branch=yes, else_branch=no),
    ]
    nodes.insert(2, helper.make_node("Reshape", ["total", "flat"], ["t1"]))
    constants.append(numpy_helper.from_array(np.array([1]), "flat"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.slow
def test_the_engine_is_said_in_json(tmp_path: Path) -> None:
    done = without_runtime.run("command", "doctor", "--json")
    assert json.loads(done.stdout)["default"] == "reference"
