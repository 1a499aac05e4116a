"""What a model needs, read off its shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import onnxlrp
from onnxlrp.errors import InputError, UsageError
from onnxlrp.graph.frontend.weightless import separate_weights
from onnxlrp.graph.load import load
from onnxlrp.graph.reading import memory, memory_limit
from onnxlrp.graph.reading.read import read
from support.tiny_models import conv, model, node, values


@pytest.mark.parametrize(
    ("text", "count"),
    [("8G", 8 << 30), ("500M", 500 << 20), ("1.5g", 3 << 29), ("64 KiB", 64 << 10), ("4096", 4096), (4096, 4096),
     ("2TB", 2 << 40)],
)  # fmt: skip
def test_sizes(text: str | int, count: int) -> None:
    assert memory_limit.limit(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "0.0G", "1e9", "8 parsecs", "1" * 30])
def test_no_sizes(text: Any) -> None:
    with pytest.raises(UsageError, match="is no size") as caught:
        memory_limit.limit(text)
    assert "--max-memory" in caught.value.fix


def test_the_default_is_what_the_machine_has() -> None:
    assert 1 << 20 < memory_limit.limit(None) == pytest.approx(memory_limit.available(), rel=0.2)


def test_an_estimate_is_the_sum_of_its_tensors() -> None:
    """Weights 4 x 4 x 3 x 3, a table of 64 x 64 folded from two scalars, and Conv's operand and result for a sample."""
    nodes = [
        conv("x", "c", "w", pads=[1, 1, 1, 1]), node("Expand", ["one", "shape"], ["table"]),
        node("ReduceSum", ["table"], ["sum"], keepdims=0), node("Add", ["c", "sum"], ["y"]),
    ]  # fmt: skip
    constants = {"w": values(4, 4, 3, 3), "one": np.ones(1, np.float32), "shape": np.array([64, 64])}
    source = model(nodes, constants, shape=(7, 4, 8, 8))
    skeletal, weights = separate_weights(read(source))
    found = memory.estimate(memory.inferred(skeletal), weights, batch=7)
    assert found.weights == 4 * (4 * 4 * 3 * 3 + 1) + 8 * 2
    assert found.folded == 4 * (64 * 64 + 1)
    assert found.layer == 4 * 2 * (4 * 8 * 8)
    assert memory.stored(source).weights == found.weights


def test_a_limit_is_kept_and_raised() -> None:
    source = model([conv("x", "c", "w"), node("Relu", ["c"], ["y"])], {"w": values(4, 4, 3, 3)})
    with pytest.raises(InputError, match="the limit is 100 bytes") as caught:
        load(source, max_memory=100)
    assert "--max-memory" in caught.value.fix
    load(source, max_memory="1M")
    with pytest.raises(InputError, match="the limit is 1024 bytes"):
        onnxlrp.load(source, max_memory="1K")


def test_large_tables_of_shape_arithmetic_are_folded() -> None:
    """What onnxruntime leaves at first, since it is no shape, is a constant in the end."""
    nodes = [
        node("ConstantOfShape", ["shape"], ["zeros"]), node("Cast", ["zeros"], ["table"], to=1),
        node("Transpose", ["table"], ["turned"], perm=[0, 2, 1]), node("Add", ["x", "turned"], ["y"]),
    ]  # fmt: skip
    source = model(nodes, {"shape": np.array([4, 128, 64])}, shape=("N", 4, 64, 128))
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Add"]


@pytest.mark.parametrize("growing", ["ConstantOfShape", "Mul"])
def test_constants_of_weights_are_foreseen(growing: str) -> None:
    """Large weights never reach onnxruntime's folding: what they grow to is foreseen too."""
    big = np.ones((1, 100_000), np.float32)
    made = {
        "Mul": [node("Mul", ["a", "b"], ["c"])],
        "ConstantOfShape": [
            node("ReduceSum", ["a"], ["n"], keepdims=0), node("Cast", ["n"], ["i"], to=7),
            node("Concat", ["i1", "i1"], ["s"], axis=0), node("ConstantOfShape", ["s"], ["c"]),
        ],
    }[growing]  # fmt: skip
    if growing == "ConstantOfShape":
        made.insert(2, node("Reshape", ["i", "flat"], ["i1"]))
    nodes = [*made, node("ReduceSum", ["c"], ["d"], keepdims=0), node("Add", ["x", "d"], ["y"])]
    source = model(nodes, {"a": big, "b": big.T.copy(), "flat": np.array([1])})
    with pytest.raises(InputError, match="the limit is"):
        load(source, max_memory="1G")


def test_a_range_tells_its_length() -> None:
    """Its operands have no axes."""
    node = helper.make_node("Range", ["start", "limit", "step"], ["y"])
    operands = {"start": np.array(0), "limit": np.array(50), "step": np.array(2)}
    assert memory.result(node, operands, {"": 23}) == 25 * 8


def test_integers_that_become_floats_are_foreseen() -> None:
    """Weights of 1 MB take 4."""
    weight = np.ones((1000, 1000), np.int8)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("MatMulInteger", ["q", "w", "z"], ["p"]),
        node("Cast", ["p"], ["f"], to=1), node("Mul", ["f", "s"], ["y"]),
    ]  # fmt: skip
    source = model(nodes, {"w": weight}, shape=("N", 1000))
    assert [layer.op for layer in load(source, max_memory="5M").layers] == ["DynamicQuantizeLinear", "Gemm"]
    with pytest.raises(InputError, match=r"constants 4\.0 MB"):
        load(source, max_memory="3M")
