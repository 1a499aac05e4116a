"""Models of many layers in a row take steps in proportion to their length."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxlrp
from support.small_nets import Net


def residual(blocks: int) -> onnx.ModelProto:
    n, t = Net(), "x"
    for _ in range(blocks):
        t = n.relu(n.op("Add", t, n.conv(t, 2, 2, kernel=(1, 1))))
    out = n.op("Flatten", n.op("GlobalAveragePool", t))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(n.nodes, "long", [value("x", 1, ["N", 2, 3, 3])], [value(out, 1, ["N", 2])], n.weights)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def steps(blocks: int, method: str) -> int:
    """The calls, returns and resumed generators of Python while a model is loaded and prepared."""
    data, count = residual(blocks).SerializeToString(), 0

    def counted(*event: Any) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        onnxlrp.load(data).prepare(target=0, method=method)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradient", "epsilon"])
def test_loading_and_preparing_are_linear(method: str) -> None:
    steps(1, method)  # imports
    few, more, most = (steps(blocks, method) for blocks in (20, 60, 140))
    assert (most - more) / 80 < 1.2 * (more - few) / 40


def test_consumers_are_the_layers_that_read_a_tensor() -> None:
    graph = onnxlrp.load(residual(3)).graph
    for name in {*graph.shapes, *graph.constants, "none"}:
        assert graph.consumers(name) == tuple(layer for layer in graph.layers if name in layer.inputs)
    assert np.unique([len(graph.consumers(name)) for name in graph.shapes]).tolist() == [0, 1, 2]


class Counted(tuple[Any, ...]):
    """Layers that count how often they are gone through."""

    turns = 0

    def __iter__(self) -> Any:
        Counted.turns += 1
        return super().__iter__()


def test_the_layers_are_gone_through_once_for_all_consumers() -> None:
    graph = onnxlrp.load(residual(3)).graph
    counted = dataclasses.replace(graph, layers=Counted(graph.layers))
    for name in counted.shapes:
        counted.consumers(name)
    assert Counted.turns == 1
