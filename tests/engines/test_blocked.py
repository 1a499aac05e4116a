"""Elementwise nodes in the layout of convolutions: the same values bit by bit, with fewer reorders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from onnxlrp.engines.blocked import DOMAIN, move_elementwise
from support.arrays import Array
from support.small_nets import Net

REORDERS = ("ReorderInput", "ReorderOutput")


def session(model: Any, **options: Any) -> Any:
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 4
    for name, value in options.items():
        setattr(chosen, name, value)
    return onnxruntime.InferenceSession(
        model if isinstance(model, str) else model.SerializeToString(), chosen, providers=["CPUExecutionProvider"]
    )


def optimised(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Return a model as onnxruntime optimises it for this processor."""
    path = folder / "optimised.onnx"
    session(model, optimized_model_filepath=str(path))
    made = onnx.load(path)
    if not any(node.domain == DOMAIN for node in made.graph.node):
        pytest.skip("onnxruntime has no blocked layout on this processor")
    return made


def run(model: onnx.ModelProto, x: Array) -> list[Array]:
    plain = session(model, graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    results: list[Array] = plain.run(None, {plain.get_inputs()[0].name: x})
    return results


def reorders(model: onnx.ModelProto) -> int:
    return sum(node.op_type in REORDERS for node in model.graph.node)


def around(model: onnx.ModelProto, op: str) -> list[str]:
    """Return the operators that make the operands of the nodes of one operator."""
    maker = {name: node.op_type for node in model.graph.node for name in node.output}
    return [maker.get(name, "") for node in model.graph.node if node.op_type == op for name in node.input]


class Stack(Net):
    """A network of convolutions of 3x3."""

    def convolved(self, x: str, given: int, wanted: int) -> str:
        """x through a convolution with a bias."""
        weight, bias = self.rng.normal(size=(wanted, given, 3, 3)) * 0.2, self.rng.normal(size=wanted)
        return self.op("Conv", x, weight.astype(np.float32), bias.astype(np.float32), pads=[1, 1, 1, 1])

    def states(self, shapes: dict[str, Sequence[int]], *results: str) -> onnx.ModelProto:
        """The model, with the shapes of tensors."""
        kind = TensorProto.FLOAT
        made = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("input", kind, ["N", *self.shape])],
            [helper.make_tensor_value_info(name, kind, None) for name in results],
            self.weights,
            value_info=[helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, shape in shapes.items()],
        )
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def number(value: float) -> Array:
    return np.array(value, np.float32)


def inputs(shape: tuple[int, ...]) -> Iterator[Array]:
    for batch in (1, 3):
        yield np.random.default_rng(batch).normal(size=(batch, *shape)).astype(np.float32)


EXPRESSIONS = {
    "quotient": ("Div", "Add"),
    "difference": ("Sub", "Abs"),
    "extremum": ("Min", "Neg"),
    "mask": ("Sub", "HardSigmoid"),
    "limit": ("Max", "Clip"),
}


@pytest.mark.parametrize("channels", [24, 32])
@pytest.mark.parametrize("ops", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_values_are_the_same_bit_by_bit(ops: tuple[str, str], channels: int, tmp_path: Path) -> None:
    """Of channels that are a multiple of the block, and of others."""
    net = Stack(16, 7, 5)
    a, b = (net.convolved("input", 16, channels) for _ in range(2))
    second = {
        "Add": lambda x: net.op("Add", x, number(1e-3)),
        "Clip": lambda x: net.op("Clip", x, number(-0.5), number(0.5)),
        "HardSigmoid": lambda x: net.op("HardSigmoid", x, alpha=1e38, beta=0.0),
    }.get(ops[1], lambda x: net.op(ops[1], x))
    inner = second(b)
    outer = net.op(ops[0], a, inner)
    result = net.convolved(outer, channels, 16)
    shape = (channels, 7, 5)
    model = optimised(net.states(dict.fromkeys((a, b, inner, outer), shape), result), tmp_path)
    moved = onnx.ModelProto.FromString(model.SerializeToString())
    saved = move_elementwise(moved.graph, {})
    assert saved.moved
    assert (saved.before, saved.after) == (reorders(model), reorders(moved))
    assert saved.after < saved.before
    for x in inputs(net.shape):
        for one, other in zip(run(model, x), run(moved, x), strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.isfinite(one).all()


def test_lanes_behind_the_last_channel_are_zero(tmp_path: Path) -> None:
    """The premise of what is followed through lanes: convolutions and ReorderInput leave zeros there."""
    net = Stack(24, 6, 6)
    first = net.convolved("input", 24, 24)
    result = net.convolved(net.op("Relu", first), 24, 40)
    model = optimised(net.states({}, result), tmp_path)
    blocked = [n.output[0] for n in model.graph.node if n.domain == DOMAIN and n.op_type != "ReorderOutput"]
    assert len(blocked) == 3
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in blocked)
    for x in inputs(net.shape):
        _, *found = run(model, x)
        block = 8 if found[0].shape[1] == 24 else 16
        for array, channels in zip(found, (24, 24, 40), strict=True):
            lanes = np.moveaxis(array.reshape(len(x), -1, 36, block), 3, 2).reshape(len(x), -1, 36)
            assert lanes[:, :channels].any()
            assert not lanes[:, channels:].any()


@pytest.mark.parametrize("channels", [24, 32])
def test_no_lane_gets_what_would_leak(channels: int, tmp_path: Path) -> None:
    """0 / 0 in a lane would be NaN in all channels behind the next convolution."""
    net = Stack(16, 6, 6)
    a, b = (net.convolved("input", 16, channels) for _ in range(2))
    quotient = net.op("Div", a, b)
    result = net.convolved(quotient, channels, 16)
    model = optimised(net.states(dict.fromkeys((a, b, quotient), (channels, 6, 6)), result), tmp_path)
    moved = onnx.ModelProto.FromString(model.SerializeToString())
    move_elementwise(moved.graph, {})
    lanes = next(t.dims[0] for t in moved.graph.initializer if len(t.dims) == 4) > channels
    assert (around(moved, "Div") == ["ReorderOutput"] * 2) == lanes
    for x in inputs(net.shape):
        for one, other in zip(run(model, x), run(moved, x), strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.isfinite(other).all()


def test_what_is_finite_in_a_lane_can_overflow_behind_it(tmp_path: Path) -> None:
    """The product of two sums is judged with what the sums leave there."""
    net = Stack(16, 6, 6)
    a, b = (net.convolved("input", 16, 24) for _ in range(2))
    large = [net.op("Add", x, number(1e38)) for x in (a, b)]
    product = net.op("Mul", *large)
    small = net.op("Min", product, net.op("Sub", a, b))
    result = net.convolved(small, 24, 16)
    names = (a, b, *large, product, small, net.nodes[-3].output[0])
    model = optimised(net.states(dict.fromkeys(names, (24, 6, 6)), result), tmp_path)
    moved = onnx.ModelProto.FromString(model.SerializeToString())
    move_elementwise(moved.graph, {})
    for x in inputs(net.shape):
        np.testing.assert_array_equal(run(model, x)[0], run(moved, x)[0])
        assert np.isfinite(run(moved, x)[0]).all()


@pytest.mark.parametrize("inner", [(32, 1, 1), (1, 6, 6)])
def test_broadcast_operands_stay_plain(inner: tuple[int, ...], tmp_path: Path) -> None:
    net = Stack(16, 6, 6)
    a = net.convolved("input", 16, 32)
    axes = np.array([2, 3] if inner[1] == 1 else [1])
    factor = net.op("ReduceMax", a, axes, keepdims=1)
    inverse = net.op("Neg", factor)
    product = net.op("Div", a, inverse)
    result = net.convolved(product, 32, 16)
    shapes: dict[str, Sequence[int]] = {a: (32, 6, 6), factor: inner, inverse: inner, product: (32, 6, 6)}
    model = optimised(net.states(shapes, result), tmp_path)
    moved = onnx.ModelProto.FromString(model.SerializeToString())
    move_elementwise(moved.graph, {})
    assert around(moved, "Div")[0] == "ReorderOutput"
    for x in inputs(net.shape):
        np.testing.assert_array_equal(run(model, x)[0], run(moved, x)[0])


def test_shapes_that_are_not_known_stay_plain(tmp_path: Path) -> None:
    net = Stack(16, 6, 6)
    a, b = (net.convolved("input", 16, 32) for _ in range(2))
    result = net.convolved(net.op("Sub", a, b), 32, 16)
    model = optimised(net.states({}, result), tmp_path)
    del model.graph.value_info[:]
    before = model.SerializeToString()
    assert not move_elementwise(model.graph, {}).moved
    assert model.SerializeToString() == before
    shapes = {name: (32, 6, 6) for node in model.graph.node for name in (*node.input, *node.output)}
    assert move_elementwise(model.graph, shapes).moved == 1


@pytest.mark.parametrize(("channels", "moved"), [(32, True), (24, False)])
def test_targets_and_samples_are_one_axis_for_convolutions(channels: int, moved: bool, tmp_path: Path) -> None:
    """[T·N, C, H, W] for them, [T, N, C, H, W] for what they are multiplied with, which has no axis of targets."""
    net = Stack(16, 6, 6)
    a = net.convolved("input", 16, channels)
    three = net.op("Concat", *[net.op("Mul", a, number(k)) for k in range(3)], axis=0)
    folded = net.convolved(three, channels, channels)
    apart = net.op("Reshape", folded, np.array([3, -1, channels, 6, 6]))
    quotient = net.op("Div", apart, net.op("Add", net.op("Abs", a), number(1)))
    again = net.op("Reshape", quotient, np.array([-1, channels, 6, 6]))
    result = net.convolved(again, channels, 16)
    shape: tuple[int, ...] = (channels, 6, 6)
    made = net.states({a: shape}, result)
    kind = TensorProto.FLOAT
    made.graph.value_info.extend(helper.make_tensor_value_info(t, kind, ["TN", *shape]) for t in (folded, again))
    made.graph.value_info.extend(helper.make_tensor_value_info(t, kind, [3, "N", *shape]) for t in (apart, quotient))
    model = optimised(made, tmp_path)
    block = 16 if any(t.dims[0] == 32 for t in model.graph.initializer if len(t.dims) == 4) else 8
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    move_elementwise(changed.graph, {})
    assert ("ReorderOutput" not in around(changed, "Reshape")) == (moved or block == 8)
    for x in inputs(net.shape):
        np.testing.assert_array_equal(run(model, x)[0], run(changed, x)[0])


def test_what_gives_samples_another_shape_stays_plain(tmp_path: Path) -> None:
    net = Stack(16, 6, 6)
    a = net.convolved("input", 16, 32)
    turned = net.op("Reshape", net.op("Neg", a), np.array([-1, 32, 4, 9]))
    b = net.op("Reshape", net.op("Neg", turned), np.array([-1, 32, 3, 3]))
    result = net.convolved(net.op("Abs", b), 32, 16)
    made = net.states({a: (32, 6, 6), turned: (32, 4, 9)}, result)
    made.graph.value_info.append(helper.make_tensor_value_info(b, TensorProto.FLOAT, ["4N", 32, 3, 3]))
    model = optimised(made, tmp_path)
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    move_elementwise(changed.graph, {})
    for x in inputs(net.shape):
        np.testing.assert_array_equal(run(model, x)[0], run(changed, x)[0])


def test_outputs_and_subgraphs_read_the_plain_layout(tmp_path: Path) -> None:
    """Under the names that they had."""
    net = Stack(16, 6, 6)
    a, b = (net.convolved("input", 16, 32) for _ in range(2))
    quotient = net.op("Div", a, net.op("Add", net.op("Abs", b), number(1)))
    result = net.convolved(quotient, 32, 16)
    kind = TensorProto.FLOAT
    branches = {
        f"{which}_branch": helper.make_graph(
            [helper.make_node(op, [quotient], [which])], which, [], [helper.make_tensor_value_info(which, kind, None)]
        )
        for which, op in (("then", "Neg"), ("else", "Abs"))
    }
    condition = net.op("Greater", net.op("ReduceSum", "input", keepdims=0), number(0))
    chosen = net.op("If", condition, **branches)
    names = {name: (32, 6, 6) for node in net.nodes[2:5] for name in node.output}
    model = optimised(net.states({a: (32, 6, 6), b: (32, 6, 6), **names}, result, quotient, chosen), tmp_path)
    moved = onnx.ModelProto.FromString(model.SerializeToString())
    assert move_elementwise(moved.graph, {}).moved
    assert [value.name for value in moved.graph.output] == [value.name for value in model.graph.output]
    for x in inputs(net.shape):
        for one, other in zip(run(model, x), run(moved, x), strict=True):
            np.testing.assert_array_equal(one, other)


def test_graphs_without_the_layout_stay_as_they_are() -> None:
    net = Net(4)
    x = net.op("Add", "input", number(1))
    model = Stack.states(net, {}, net.op("Mul", x, x))  # type: ignore[arg-type]
    before = model.SerializeToString()
    assert move_elementwise(model.graph, {}).moved == 0
    assert model.SerializeToString() == before
