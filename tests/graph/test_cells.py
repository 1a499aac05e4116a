"""Cells written step by step, in the forms of exporters: the relevance of the same operator, by numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.graph.load import load
from onnxlrp.graph.operators import JOINT
from onnxlrp.graph.verify import verify
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import small_nets
from support.recurrent_models import CLASSES, GATES, Net

FORMS = ("two products", "apart", "ahead, gathered", "ahead, sliced")
NETS = {
    "LSTM": Net("LSTM"),
    "GRU": Net("GRU", attributes={"linear_before_reset": 1}),
    "RNN": Net("RNN"),
    "RNN of Relu": Net("RNN", functions=("Relu",)),
    "RNN without bias": Net("RNN", bias=False),
}


def by_hand(net: Net, form: str) -> onnx.ModelProto:
    """The layer of a net step by step.

    Args:
        net: A net of one direction.
        form: How x W and h R come together: two Gemms and an Add; Gemms that are taken apart, and an Add for each gate
            (torch's GRUCell); x W of all steps at once, of which each step is gathered or sliced.
    """
    gates, width = GATES[net.op], net.width
    rows = gates * width
    own, state = np.split(net.weights.get("B", np.zeros((1, 2 * rows), np.float32))[0], 2)
    arrays = {"W": net.weights["W"][0], "R": net.weights["R"][0], "V": net.weights["V"], "b": own, "c": state}
    arrays |= {"Wt": arrays["W"].T.copy(), "zero": np.zeros((1, width), np.float32), "parts": np.array([width] * gates)}
    arrays |= {"one": np.array([1]), "n": np.array([1])}
    nodes: list[Any] = []

    def op(kind: str, *inputs: str, out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, out.split(","), name=f"node/{out}", **attributes))
        return out

    def gates_of(name: str, t: int) -> list[str]:
        made = [f"{name}.{k}" for k in range(gates)]
        op("Split", name, "parts", out=",".join(made), axis=1)
        return made if gates > 1 else [name]

    if form.startswith("ahead"):
        op("Add", op("MatMul", "x", "Wt", out="x/product"), "b", out="x/W")
    op("Shape", "x", out="count", start=0, end=1)
    arrays["width"] = np.array([width])
    op("ConstantOfShape", op("Concat", "count", "width", out="shape", axis=0), out="h")
    h = c = "h"
    function = net.functions[0] if net.functions else "Tanh"
    for t in range(net.steps):
        arrays |= {f"t{t}": np.array(t), f"from{t}": np.array([t]), f"to{t}": np.array([t + 1])}
        if form == "ahead, sliced":
            step = op("Slice", "x/W", f"from{t}", f"to{t}", "one", out=f"x{t}/cut")
            a = op("Squeeze", step, "one", out=f"x{t}/W")
        elif form.startswith("ahead"):
            a = op("Gather", "x/W", f"t{t}", out=f"x{t}/W", axis=1)
        else:
            step = op("Gather", "x", f"t{t}", out=f"x{t}", axis=1)
            a = op("Gemm", step, "W", "b", out=f"x{t}/W", transB=1)
        b = op("Gemm", h, "R", "c", out=f"h{t}/R", transB=1)
        if form == "apart" or net.op == "GRU":
            xs, hs = gates_of(a, t), gates_of(b, t)
            last = gates - 1 if net.op == "GRU" else gates
            z = [op("Add", p, q, out=f"z{t}.{k}") for k, (p, q) in enumerate(zip(xs[:last], hs[:last], strict=True))]
        else:
            xs = hs = []
            z = gates_of(op("Add", a, b, out=f"z{t}"), t) if gates > 1 else [op("Add", a, b, out=f"z{t}")]
        if net.op == "RNN":
            h = op(function, z[0], out=f"h{t + 1}")
        elif net.op == "LSTM":
            i, o, f = (op("Sigmoid", z[k], out=f"s{t}.{k}") for k in range(3))
            new = op("Mul", i, op("Tanh", z[3], out=f"g{t}"), out=f"ig{t}")
            c = op("Add", op("Mul", f, c, out=f"fc{t}"), new, out=f"c{t}")
            h = op("Mul", o, op("Tanh", c, out=f"tc{t}"), out=f"h{t + 1}")
        else:
            update, reset = (op("Sigmoid", z[k], out=f"s{t}.{k}") for k in range(2))
            kept = op("Mul", reset, hs[2], out=f"rh{t}")
            n = op("Tanh", op("Add", xs[2], kept, out=f"zn{t}"), out=f"n{t}")
            h = op("Add", op("Mul", op("Sub", h, n, out=f"d{t}"), update, out=f"ud{t}"), n, out=f"h{t + 1}")
    op("MatMul", h, "V", out="y")
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", net.steps, net.inputs]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES]),
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "cells", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.few(7)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETS)
def test_relevance_is_that_of_arras(name: str, form: str) -> None:
    net, proto = NETS[name], by_hand(NETS[name], form)
    graph, feeds = load(proto), net.feeds()
    assert any(layer.op == JOINT for layer in graph.layers)
    assert verify(graph, proto.SerializeToString(), [2]) < 1e-5
    seeds = np.random.default_rng(2).normal(size=(4, CLASSES)).astype(np.float32)
    _, want, _ = net.by_numpy(feeds, seeds)
    composite = make_composite("recurrent")
    for engine, tolerance in (("reference", 1e-9), ("ort", 1e-4)):
        found = small_nets.explained(graph, composite, {**feeds, SEED: seeds}, engine, mode="relevance")["relevance"]
        small_nets.agree(found, want, tolerance)


def test_each_matrix_stands_once() -> None:
    graph = load(by_hand(NETS["LSTM"], "two products"))
    shapes = [value.shape for value in graph.constants.values() if value.ndim == 2]
    assert shapes.count((4, 16)) == shapes.count((3, 16)) == 1


def test_a_network_without_cells_keeps_its_sums() -> None:
    """Two branches that are added up are layers of their own, as the file has them."""
    arrays = {"a": np.ones((3, 4), np.float32), "b": np.ones((3, 4), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("MatMul", ["x", "b"], ["q"]),
        helper.make_node("Add", ["p", "q"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(k, TensorProto.FLOAT, ["N", n]) for k, n in (("x", 3), ("y", 4))]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "branches", ends[:1], ends[1:], stored)
    made = onnxlrp.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert [layer.op for layer in made.graph.layers] == ["Gemm", "Gemm", "Add", "Relu"]
    assert made.default_method.name == "epsilon"
