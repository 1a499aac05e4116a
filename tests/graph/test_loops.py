"""Loops of a known number of steps: read as their steps, with the results of onnxruntime; others are not read."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.frontend import loops
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import model, node, values

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
STEPS, WIDTH = 5, 4


def body(nodes: Any, inputs: Any, outputs: Any, constants: Any = None) -> Any:
    """The graph of a step; `inputs` and `outputs` are names, a number's as ("t", INT)."""
    kinds = [(name, FLOAT) if isinstance(name, str) else name for name in (*inputs, *outputs)]
    ends = [helper.make_tensor_value_info(name, kind, None if kind == FLOAT else ()) for name, kind in kinds]
    stored = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    return helper.make_graph(nodes, "step", ends[: len(inputs)], ends[len(inputs) :], stored)


def weights() -> dict[str, Any]:
    return {"w": values(3, WIDTH), "r": values(WIDTH, WIDTH, seed=1), "v": values(WIDTH, 2, seed=2)}


CELL = [
    node("MatMul", ["at", "w"], ["a"]), node("MatMul", ["before", "r"], ["b"]), node("Add", ["a", "b"], ["z"]),
    node("Tanh", ["z"], ["after"]), node("Mul", ["after", "at_sum"], ["given"]),
]  # fmt: skip
SUM = node("ReduceSum", ["at", "last_axis"], ["at_sum"], keepdims=1)
ZERO = [
    node("Shape", ["x"], ["n"], end=1), node("Concat", ["n", "width"], ["shape"], axis=0),
    node("ConstantOfShape", ["shape"], ["zero"]),
]  # fmt: skip
COMMON = {"width": np.array([WIDTH]), "last_axis": np.array([-1])}


def scan(axis: int = 1, reverse: int = 0, output_axis: int = 1, output_reverse: int = 0) -> Any:
    """Two inputs that are scanned, one of them backwards, a state, and a result of every step."""
    turned = {0: [1, 0, 2], 1: [0, 1, 2]}[axis]
    step = body(
        [SUM, *CELL, node("Add", ["given", "other_sum"], ["out"]),
         node("ReduceSum", ["other", "last_axis"], ["other_sum"], keepdims=1)][::1],
        ["before", "at", "other"], ["after", "out"],
    )  # fmt: skip
    step.node.insert(0, step.node[-1])
    del step.node[-1]
    nodes = [
        *ZERO, node("Transpose", ["x"], ["t"], perm=turned),
        node("Scan", ["zero", "t", "t"], ["last", "all"], body=step, num_scan_inputs=2, scan_input_axes=[axis, axis],
             scan_input_directions=[reverse, 1 - reverse], scan_output_axes=[output_axis],
             scan_output_directions=[output_reverse]),
        node("Mul", ["all", "ramp"], ["weighted"]), node("ReduceSum", ["weighted", "steps_axis"], ["sum"], keepdims=0),
        node("Add", ["sum", "last"], ["both"]), node("MatMul", ["both", "v"], ["y"]),
    ]  # fmt: skip
    ramp = {1: values(STEPS, 1), -1: values(STEPS)}[output_axis]  # of the steps, whose order counts
    constants = weights() | COMMON | {"steps_axis": np.array([output_axis]), "ramp": ramp}
    return model(nodes, constants, ("N", STEPS, 3))


def loop(going: str = "always", count: Any = STEPS) -> Any:
    """A Loop that picks its step by its number, with a state and a result of every step."""
    ends: dict[str, list[Any]] = {
        "always": [node("Identity", ["more"], ["goes"])],
        "constant": [node("Constant", [], ["goes"], value=numpy_helper.from_array(np.array(True)))],
        "less": [node("Add", ["t", "one"], ["next"]), node("Less", ["next", "limit"], ["goes"])],
        "data": [node("ReduceMax", ["after"], ["most"], keepdims=0), node("Less", ["most", "far"], ["goes"])],
    }
    constants = {"one": np.array(1), "limit": np.array(3), "far": np.array(9, np.float32)}
    constants["before_all"] = np.array(True)
    nodes = [node("Gather", ["x", "t"], ["at"], axis=1), SUM, *CELL, *ends[going]]
    step = body(nodes, [("t", INT), ("more", BOOL), "before"], [("goes", BOOL), "after", "given"])
    length = [node("Shape", ["x"], ["steps"], start=1, end=2), node("Squeeze", ["steps"], ["count"])]
    if count is None:
        length = []
    main = [
        *ZERO, *length,
        node("Loop", ["" if count is None else "count", "before_all", "zero"], ["last", "all"], body=step),
        node("Mul", ["all", "ramp"], ["weighted"]), node("ReduceSum", ["weighted", "first_axis"], ["sum"], keepdims=0),
        node("Add", ["sum", "last"], ["both"]), node("MatMul", ["both", "v"], ["y"]),
    ]  # fmt: skip
    constants |= {"first_axis": np.array([0]), "ramp": values(3 if going == "less" else STEPS, 1, 1)}
    return model(main, weights() | COMMON | constants, ("N", STEPS, 3))


def nested() -> Any:
    """A Loop around a Loop, whose number of steps is that of the outer step, and an If that knows its branch."""
    inner = body(
        [node("Tanh", ["s"], ["u"]), node("Identity", ["c"], ["d"])], [("i", INT), ("c", BOOL), "s"], [("d", BOOL), "u"]
    )
    branches = {
        f"{which}_branch": helper.make_graph(
            [node(op, ["p"], [f"{which}.q"])], which, [], [onnx.ValueInfoProto(name=f"{which}.q")]
        )
        for which, op in (("then", "Sigmoid"), ("else", "Neg"))
    }
    nodes = [
        node("Identity", ["more"], ["goes"]), node("Loop", ["t", "more", "before"], ["p"], body=inner),
        node("Less", ["t", "two"], ["early"]), node("If", ["early"], ["q"], **branches),
        node("Gather", ["x", "t"], ["at"], axis=1), node("MatMul", ["at", "w"], ["a"]),
        node("Add", ["q", "a"], ["after"]),
    ]  # fmt: skip
    step = body(nodes, [("t", INT), ("more", BOOL), "before"], [("goes", BOOL), "after"])
    main = [*ZERO, node("Loop", ["count", "yes", "zero"], ["last"], body=step), node("MatMul", ["last", "v"], ["y"])]
    constants = {"count": np.array(STEPS), "yes": np.array(True), "two": np.array(2)}
    return model(main, weights() | COMMON | constants, ("N", STEPS, 3))


MODELS = {
    "scan": scan,
    "scan, steps first": lambda: scan(axis=0),
    "scan, backwards": lambda: scan(reverse=1, output_reverse=1),
    "scan, results elsewhere": lambda: scan(output_axis=-1, output_reverse=1),
    "loop": loop,
    "loop, a condition that is true": lambda: loop("constant"),
    "loop, a condition of its number": lambda: loop("less"),
    "loop, no number": lambda: loop("less", None),
    "nested": nested,
}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", MODELS)
def test_scores_gradients_and_relevance(name: str) -> None:
    proto = MODELS[name]()
    assert verify(load(proto), proto.SerializeToString(), [1, 3]) < 1e-5
    loaded, rng = onnxlrp.load(proto), np.random.default_rng(0)
    assert loaded.default_method.name == "recurrent" or name == "nested"
    x = rng.normal(size=(2, STEPS, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    e = loaded.explain(x, 1, "gradient")
    np.testing.assert_allclose(e.output, session.run(["y"], {"x": x})[0], atol=1e-5)
    step = 1e-3 * rng.normal(size=x.shape).astype(np.float32)
    ends = [session.run(["y"], {"x": (x + sign * step).astype(np.float32)})[0][:, 1] for sign in (1, -1)]
    np.testing.assert_allclose((e.relevance * step).sum(axis=(1, 2)), (ends[0] - ends[1]) / 2, atol=3e-6)
    heat = loaded.explain(x, 1, "recurrent", ledger=True)
    assert heat.ledger is not None
    for row in heat.ledger:
        assert np.abs(row.residual).max() <= 1e-4 * max(1e-3, np.abs(row.scale).max()), row


def test_what_is_the_same_at_every_step_stands_once() -> None:
    """A matrix that the body turns is one constant: cells that use it again are known by it."""
    proto = loop()
    step = next(a.g for a in next(n for n in proto.graph.node if n.op_type == "Loop").attribute if a.name == "body")
    step.node.insert(0, node("Transpose", ["r"], ["turned"]))
    next(n for n in step.node if "r" in n.input and n.op_type == "MatMul").input[1] = "turned"
    graph = load(proto)
    square = [name for name, value in graph.constants.items() if value.shape == (WIDTH, WIDTH)]
    assert len(square) == 1
    assert {layer.name for layer in graph.layers if "[t=3]" in layer.name}


def test_a_condition_on_data_is_not_read() -> None:
    graph = load(loop("data"), untouched=True)
    assert graph.opaque is not None
    assert "Loop" in graph.opaque.reason.message


def test_a_loop_of_too_many_steps_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MOST_NODES", 20)
    for made in (loop(), scan()):
        graph = load(made, untouched=True)
        assert graph.opaque is not None
        assert "would be more than 20 nodes" in graph.opaque.reason.message
        assert "--size" in graph.opaque.reason.fix


def test_a_scan_of_opset_8_is_refused_by_name() -> None:
    """Its body sees one sample at a time; onnx's converter makes a scan over the batch of it."""
    step = body([node("Add", ["before", "at"], ["after"]), node("Identity", ["after"], ["out"])], ["before", "at"],
                ["after", "out"])  # fmt: skip
    nodes = [node("Scan", ["", "x0", "x"], ["last", "all"], body=step, num_scan_inputs=1, name="scan")]
    nodes.insert(0, node("ReduceMean", ["x"], ["x0"], axes=[1], keepdims=0))
    made = model([*nodes, node("Relu", ["last"], ["y"])], {}, (4, 4, 4), opset=8)
    with pytest.raises(UnsupportedError, match="is of opset 8"):
        load(made)
