"""Names of units: what they stand for, the axis of channels, and errors that say what to type."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxlrp.errors import InputError, UsageError
from onnxlrp.graph.axes.channels import channel_axes
from onnxlrp.graph.graph import Graph, Layer, Tensor
from onnxlrp.graph.outputs import units
from support import small_nets, unit_models
from support.small_nets import Net


def graph_of(make: Callable[[], onnx.ModelProto]) -> Graph:
    return small_nets.load(make())


@pytest.mark.parametrize("case", unit_models.CASES.values(), ids=unit_models.CASES)
def test_channels_lie_where_the_layer_puts_them(case: unit_models.Case) -> None:
    found = units.unit(graph_of(case.make), case.tensor)
    assert (found.tensor, found.axis, found.channels) == (case.tensor, case.axis, case.channels)
    at = "".join(f",{i}" for i in case.position)[1:]
    one = units.unit(graph_of(case.make), f"{case.tensor}:1" + f"@{at}" * bool(at))
    expected = np.zeros(found.shape)
    place = list(case.position)
    place.insert(case.axis, 1)
    expected[tuple(place)] = 1
    np.testing.assert_array_equal(np.broadcast_to(one.mask(), found.shape), expected)


def chain(shape: tuple[int, ...], *layers: tuple[str, tuple[int, ...], dict[str, Any]]) -> dict[str, int]:
    """The axes of channels of "t0", "t1", … behind an input "x"; constants are "w", indices "i", axes "a"."""
    made, shapes, before = [], {"x": shape}, "x"
    for n, (op, result, attributes) in enumerate(layers):
        inputs = [name.replace("_", before) for name in attributes.pop("inputs", "_").split()]
        made.append(Layer(op, f"t{n}", "", tuple(inputs), (f"t{n}",), attributes))
        shapes[f"t{n}"] = before_shape = result
        assert before_shape
        before = f"t{n}"
    constants = {"w": np.zeros((4, 5)), "i": np.array(0), "a": np.array([2, 3])}
    last = Tensor(before, shapes[before], "float32")
    return channel_axes(Graph(tuple(made), (Tensor("x", shape, "float32"),), (last,), constants, shapes))


@pytest.mark.parametrize(
    ("name", "shape", "layers", "axes"),
    [
        ("flattened maps", (3, 8, 8), [("Conv", (4, 8, 8), {"inputs": "_ w"}), ("Flatten", (256,), {})], [0, 0]),
        (
            "patches become tokens, with one more for the class",
            (3, 8, 8),
            [
                ("Conv", (6, 2, 2), {"inputs": "_ w"}),
                ("Reshape", (6, 4), {}),
                ("Transpose", (4, 6), {"perm": (0, 2, 1)}),
                ("Concat", (5, 6), {"inputs": "w _", "axis": 1}),
                ("Add", (5, 6), {"inputs": "_ w"}),
                ("LayerNormalization", (5, 6), {}),
                ("Gather", (6,), {"inputs": "_ i", "axis": 1}),
            ],
            [0, 0, 1, 1, 1, 1, 0],
        ),
        (
            "heads of attention",
            (5, 6),
            [
                ("MatMul", (5, 6), {"inputs": "_ w"}),
                ("Reshape", (5, 2, 3), {}),
                ("Transpose", (2, 5, 3), {"perm": (0, 2, 1, 3)}),
                ("Transpose", (5, 2, 3), {"perm": (0, 2, 1, 3)}),
                ("Reshape", (5, 6), {}),
            ],
            [1, 2, 2, 2, 1],
        ),
        (
            "shuffled channels",
            (3, 8, 8),
            [
                ("Conv", (6, 8, 8), {"inputs": "_ w"}),
                ("Reshape", (2, 3, 8, 8), {}),
                ("Transpose", (3, 2, 8, 8), {"perm": (0, 2, 1, 3, 4)}),
                ("Reshape", (6, 8, 8), {}),
                ("Relu", (6, 8, 8), {}),
            ],
            [0, None, None, 0, 0],
        ),
        (
            "means over space, kept and not",
            (3, 8, 8),
            [
                ("Conv", (6, 8, 8), {"inputs": "_ w"}),
                ("ReduceMean", (6, 1, 1), {"inputs": "_ a", "keepdims": 1}),
                ("ReduceMean", (6,), {"inputs": "t0 a", "keepdims": 0}),
            ],
            [0, 0, 0],
        ),
        (
            "channels last, averaged",
            (8, 8, 3),
            [
                ("Transpose", (3, 8, 8), {"perm": (0, 3, 1, 2)}),
                ("Conv", (6, 8, 8), {"inputs": "_ w"}),
                ("Transpose", (8, 8, 6), {"perm": (0, 2, 3, 1)}),
                ("ReduceMean", (6,), {"axes": (1, 2), "keepdims": 0}),
            ],
            [0, 0, 2, 0],
        ),
        ("a signal", (3, 12), [("Conv", (6, 12), {"inputs": "_ w"}), ("Relu", (6, 12), {})], [0, 0]),
        ("a matrix from the left", (4, 6), [("MatMul", (5, 6), {"inputs": "w _"})], [0]),
    ],
)
def test_the_axis_of_channels_is_followed(name: str, shape: Any, layers: Any, axes: list[int | None]) -> None:
    found = chain(shape, *[(op, result, dict(attributes)) for op, result, attributes in layers])
    for n, axis in enumerate(axes):
        assert axis is None or found[f"t{n}"] == axis, f"{name}: {layers[n]}"


def with_paths(graph: Graph, paths: dict[str, str]) -> Graph:
    return dataclasses.replace(
        graph, layers=tuple(dataclasses.replace(y, path=paths.get(y.name, "")) for y in graph.layers)
    )


def test_a_path_is_the_result_of_its_last_layer_and_nodes_and_tensors_reach_inside() -> None:
    graph = with_paths(graph_of(unit_models.maps), {"conv0": "stem.conv", "relu1": "stem.act", "conv2": "body"})
    for word, tensor in (("stem", "relu1"), ("stem.conv", "conv0"), ("stem.act", "relu1"), ("body", "conv2")):
        assert units.unit(graph, word).tensor == tensor
        assert units.unit(graph, word).label == word
    assert units.unit(graph, "relu3").tensor == "relu3"  # a node without a path
    assert units.unit(graph, "x").tensor == "x"  # the input


def test_a_module_s_result_is_before_the_softmax_that_makes_scores() -> None:
    n = Net(5)
    made = n.model(n.op("Softmax", n.dense(n.relu(n.dense("x", 5, 6)), 6, 4), axis=1))
    graph = small_nets.load(made)
    graph = with_paths(graph, {layer.name: "head" for layer in graph.layers})
    logits = next(y.outputs[0] for y in reversed(graph.layers) if y.op == "Gemm")
    assert units.unit(graph, "head").tensor == logits
    assert units.unit(graph, graph.outputs[0].name).tensor == graph.outputs[0].name


def test_names_may_hold_colons_and_the_longest_name_wins() -> None:
    graph = graph_of(unit_models.maps)
    layers = tuple(
        dataclasses.replace(y, outputs=("a/conv:0",)) if y.name == "conv2"
        else dataclasses.replace(y, inputs=("a/conv:0",)) if y.name == "relu3" else y
        for y in graph.layers
    )  # fmt: skip
    shapes = {"a/conv:0" if name == "conv2" else name: shape for name, shape in graph.shapes.items()}
    graph = dataclasses.replace(graph, layers=layers, shapes=shapes)
    assert units.unit(graph, "a/conv:0").is_whole
    found = units.unit(graph, "a/conv:0:3@1,2")
    assert (found.tensor, found.channel, found.position) == ("a/conv:0", 3, (1, 2))
    assert units.unit(graph, "a/conv:0@1,2").position == (1, 2)


def test_a_direction_is_read_from_a_file(tmp_path: Path) -> None:
    graph = graph_of(unit_models.maps)
    vector = np.arange(5.0)
    np.save(tmp_path / "cav.npy", vector)
    found = units.unit(graph, f"relu3:{tmp_path / 'cav.npy'}")
    np.testing.assert_array_equal(np.broadcast_to(found.mask(), (5, 6, 6))[:, 2, 3], vector)
    assert units.unit(graph, f"relu3:{tmp_path / 'cav.npy'}@1,2").mask().sum() == vector.sum()
    np.save(tmp_path / "short.npy", vector[:3])
    with pytest.raises(UsageError, match="5 channels"):
        units.unit(graph, f"relu3:{tmp_path / 'short.npy'}")
    np.save(tmp_path / "nan.npy", vector * np.nan)
    with pytest.raises(UsageError, match="NaN"):
        units.unit(graph, f"relu3:{tmp_path / 'nan.npy'}")
    with pytest.raises(InputError):
        units.unit(graph, "relu3:missing.npy")


@pytest.mark.parametrize(
    ("word", "message", "fix"),
    [
        ("rleu3", '"rleu3"', '"relu3"'),
        ("rleu3:2", '"rleu3"', '"relu3"'),
        ("relu3:5", "5 channels", "0 to 4"),
        ("relu3:-1", '"relu3:-1"', "relu3:12"),
        ("relu3:two", '"relu3:two"', "relu3:12"),
        ("relu3:1@6,0", "6 x 6 positions", "@5,5"),
        ("relu3:1@2", "6 x 6 positions", "@0,0"),
        ("gemm6:1@0", "without positions", "leave out @"),
        ("", '""', "known"),
    ],
)
def test_what_is_not_there_is_refused_with_what_to_type(word: str, message: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        units.unit(graph_of(unit_models.maps), word)
    assert message in caught.value.message
    assert fix in caught.value.fix


def test_integers_are_no_activations() -> None:
    n = Net(5)
    hidden = n.dense("x", 5, 6)
    chosen = n.op("Cast", n.op("ArgMax", hidden, axis=1, keepdims=1), to=onnx.TensorProto.FLOAT)
    graph = small_nets.load(n.model(n.op("Add", n.dense(n.relu(hidden), 6, 4), chosen)))
    whole = next(y for y in graph.layers if y.op == "ArgMax")
    with pytest.raises(UsageError, match="int64"):
        units.unit(graph, whole.name)


def test_layers_by_a_pattern_have_names_that_lead_back_to_them() -> None:
    graph = with_paths(graph_of(unit_models.maps), {"conv0": "a.conv", "relu1": "a.act", "conv2": "b", "relu3": "b"})
    found = units.layers(graph, r".*conv.*|b")
    assert [one.tensor for one in found] == ["conv0", "conv2", "relu3"]
    assert [one.label for one in found] == ["a.conv", "conv2", "b"]  # b is the result of relu3
    assert all(units.unit(graph, one.label).tensor == one.tensor for one in found)
    with pytest.raises(UsageError, match="no layer"):
        units.layers(graph, "stem.*")
    with pytest.raises(UsageError, match="regular expression"):
        units.layers(graph, "(")
