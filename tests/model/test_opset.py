"""`export` at an older opset: the same numbers, valid by onnx's checker, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.model.exporting import side_by_side
from onnxlrp.model.exporting.opset import OLDEST, convert
from support import small_nets
from support.arrays import Array


def network() -> onnx.ModelProto:
    n = small_nets.Net(3, 8, 8)
    y = n.op("MaxPool", n.relu(n.conv("x", 3, 4)), kernel_shape=[3, 3], strides=[2, 2])
    return n.model(n.op("Flatten", n.op("ReduceMean", n.relu(n.conv(y, 4, 5)), np.array([2, 3]))))


def run(model: Any, feed: dict[str, Array]) -> list[Array]:
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


@pytest.mark.parametrize("opset", [16, 17, 18, 21, 23])
def test_explains_as_explain_does(opset: int, tmp_path: Path) -> None:
    model = onnxlrp.load(network())
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    path = str(model.export(tmp_path / "e.onnx", target="top1", opset=opset))
    written = onnx.load(path)
    assert written.opset_import[0].version == opset
    onnx.checker.check_model(written, full_check=True)
    small_nets.agree(run(path, {"x": x})[1], model.explain(x).relevance, 1e-5)


def test_what_needs_a_newer_opset_is_named(tmp_path: Path) -> None:
    model = onnxlrp.load(network())
    with pytest.raises(UnsupportedError, match="opset 15: ScatterElements needs 16") as caught:
        model.export(tmp_path / "e.onnx", target="top1", opset=15)
    assert caught.value.command == "--opset 16"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [OLDEST - 1, 24, 0, -3])
def test_opsets_out_of_bounds_are_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="13 to 23"):
        onnxlrp.load(network()).export(tmp_path / "e.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def alone(op: str, *shapes: Any, opset: int = 23, constants: Any = (), kind: int = TensorProto.FLOAT,
          **attributes: Any) -> onnx.ModelProto:  # fmt: skip
    """A model of one node, whose inputs are those of the shapes, then constants."""
    given = [helper.make_tensor_value_info(f"x{i}", kind, shape) for i, shape in enumerate(shapes)]
    held = [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(constants)]
    node = helper.make_node(op, [*(v.name for v in given), *(c.name for c in held)], ["y"], **attributes)
    y = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "g", given, [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


AXES = np.array([1, 2])
SAME = {
    "axes": (alone("ReduceMax", (2, 3, 4), constants=[AXES], keepdims=0), 13),
    "all axes": (alone("ReduceMean", (2, 3)), 13),
    "default stated": (alone("Reshape", (2, 3), constants=[np.array([3, 2])], allowzero=0), 13),
    "same operator": (alone("Relu", (2, 3)), 13),
}


@pytest.mark.parametrize("case", SAME)
def test_operators_with_an_older_form_compute_the_same(case: str) -> None:
    model, opset = SAME[case]
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    feed = {"x0": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    (wanted,) = run(model, feed)
    converted = convert(model, opset)
    (found,) = run(converted, feed)
    np.testing.assert_array_equal(found, wanted)


NEWER = {
    "another meaning of the same attributes": (
        alone("AveragePool", (1, 1, 5, 5), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), 18, 19),
    "another default": (alone("RoiAlign", (1, 1, 5, 5), (1, 4), constants=[np.array([0])]), 15, 16),
    "a value that is new": (alone("Pad", (2, 3), constants=[np.array([0, 1, 0, 1])], mode="wrap"), 18, 19),
    "not the default": (alone("Reshape", (2, 3), constants=[np.array([3, 2])], allowzero=1), 13, 14),
    "a type": (alone("Relu", (2, 3), kind=TensorProto.INT32), 13, 14),
    "an operator": (alone("Gelu", (2, 3)), 19, 20),
    "axes that are no constants": (alone("ReduceMax", (2, 3), (1,), kind=TensorProto.INT64), 17, 18),
}  # fmt: skip


@pytest.mark.parametrize("case", NEWER)
def test_operators_without_an_older_form_are_refused(case: str) -> None:
    model, opset, needed = NEWER[case]
    with pytest.raises(UnsupportedError, match=f"{model.graph.node[0].op_type} needs {needed}"):
        convert(model, opset)


def test_nodes_inside_of_loops_are_converted() -> None:
    inner = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["z"])],
        "then",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    model = alone("If", (), kind=TensorProto.BOOL, then_branch=inner, else_branch=inner)
    with pytest.raises(UnsupportedError, match="Gelu needs 20"):
        convert(model, 17)


def test_a_file_that_would_differ_is_not_written(tmp_path: Path, monkeypatch: Any) -> None:
    """A wrong conversion, planted, is found by running both files."""
    planted = convert

    def wrong(model: Any, opset: int) -> Any:
        model = planted(model, opset)
        next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Abs"
        return model

    monkeypatch.setattr("onnxlrp.model.exporting.opset.convert", wrong)
    with pytest.raises(UnsupportedError, match="would differ"):
        onnxlrp.load(network()).export(tmp_path / "e.onnx", opset=17)
    assert not list(tmp_path.iterdir())


def test_relative_differences() -> None:
    a = np.array([3.0, 4.0])
    assert side_by_side.relative(a, a) == 0
    assert side_by_side.relative(np.array([3.0, 9.0]), a) == 1
    assert (
        side_by_side.relative(a, a[:1])
        == side_by_side.relative(a * np.nan, a)
        == side_by_side.relative(a, a * 0)
        == np.inf
    )
