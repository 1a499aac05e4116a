"""Any batch size, wherever the exporter put the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.batching.batch_axis import BatchAxis, batch_axis_after_reshape
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import conv, model, node, values

I64 = np.int64


def shuffle(batch: Any) -> tuple[Any, dict[str, Any]]:
    """ShuffleNet's channel shuffle, its target shapes as the exporter wrote them."""
    nodes = [
        node("Reshape", ["x", "split"], ["a"]), node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["b", "join"], ["y"]),
    ]  # fmt: skip
    return nodes, {"split": np.array([batch, 2, 2, 8, 8], I64), "join": np.array([batch, -1, 8, 8], I64)}


def flattened(batch: Any) -> tuple[list[Any], dict[str, Any]]:
    return [node("Reshape", ["x", "s"], ["y"])], {"s": np.array([batch, 256], I64)}


def squeezed(batch: Any) -> tuple[list[Any], dict[str, Any]]:
    return [node("GlobalAveragePool", ["x"], ["g"]), node("Squeeze", ["g"], ["y"])], {}


def attention(batch: Any) -> tuple[Any, dict[str, Any]]:
    """timm: queries, keys and values lie on axis 0, the batch on axis 1."""
    nodes = [
        node("Reshape", ["x", "rows"], ["t"]), node("MatMul", ["t", "w"], ["h"]), node("Reshape", ["h", "qkv"], ["r"]),
        node("Transpose", ["r"], ["p"], perm=[2, 0, 3, 1, 4]), node("Split", ["p", "ones"], ["q3", "k3", "v3"], axis=0),
        node("Squeeze", ["q3", "zero"], ["q"]), node("Squeeze", ["k3", "zero"], ["k"]),
        node("Gather", ["p", "two"], ["v"], axis=0),
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), node("MatMul", ["q", "kt"], ["s"]),
        node("Softmax", ["s"], ["a"]), node("MatMul", ["a", "v"], ["o"]),
        node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), node("Reshape", ["ot", "joined"], ["y"]),
    ]  # fmt: skip
    return nodes, {
        "rows": np.array([batch, 16, 16], I64), "w": values(16, 24), "qkv": np.array([batch, 16, 3, 2, 4], I64),
        "ones": np.ones(3, I64), "zero": np.array([0], I64), "two": np.array(2, I64),
        "joined": np.array([batch, 16, 8], I64),
    }  # fmt: skip


def heads_in_the_batch(batch: Any) -> tuple[Any, dict[str, Any]]:
    """torch.nn.MultiheadAttention: sequence first, then batch x heads on one axis, then rows x batch."""
    free = -1 if batch == 0 else None
    nodes = [
        node("Reshape", ["x", "rows"], ["t"]), node("Transpose", ["t"], ["l"], perm=[1, 0, 2]),
        node("Reshape", ["l", "heads"], ["h"]), node("Transpose", ["h"], ["q"], perm=[1, 0, 2]),
        node("Transpose", ["h"], ["k"], perm=[1, 2, 0]), node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["a"]), node("MatMul", ["a", "q"], ["o"]),
        node("Transpose", ["o"], ["ot"], perm=[1, 0, 2]),
        node("Reshape", ["ot", "flat"], ["f"]), node("Gemm", ["f", "w", "d"], ["g"], transB=1),
        node("Reshape", ["g", "back"], ["b"]), node("Transpose", ["b"], ["y"], perm=[1, 0, 2]),
    ]  # fmt: skip
    return nodes, {
        "rows": np.array([batch, 16, 16], I64), "heads": np.array([16, free or batch * 4, 4], I64),
        "flat": np.array([-1, 16], I64), "w": values(16, 16), "d": values(16),
        "back": np.array([16, free or batch, 16], I64),
    }  # fmt: skip


def windows(batch: Any) -> tuple[Any, dict[str, Any]]:
    """Swin: windows are moved into the batch, a mask of all windows is added, and they are moved back."""
    lead = -1 if batch == 0 else batch
    nodes = [
        node("Reshape", ["x", "grid"], ["a"]), node("Transpose", ["a"], ["b"], perm=[0, 2, 4, 1, 3, 5]),
        node("Reshape", ["b", "windows"], ["c"]), node("MatMul", ["c", "w"], ["d"]),
        node("Reshape", ["d", "per_image"], ["e"]), node("Add", ["e", "mask"], ["f"]),
        node("Reshape", ["f", "windows"], ["h"]), node("ReduceMean", ["h"], ["i"], axes=[2], keepdims=1),
        node("Reshape", ["i", "image"], ["y"]),
    ]  # fmt: skip
    return nodes, {
        "grid": np.array([batch, 4, 2, 4, 2, 4], I64), "windows": np.array([-1, 16, 4], I64), "w": values(4, 4),
        "per_image": np.array([lead, 4, 16, 4], I64), "mask": values(1, 4, 16, 1), "image": np.array([lead, 64], I64),
    }  # fmt: skip


def class_token(batch: Any) -> tuple[Any, dict[str, Any]]:
    """A constant that is concatenated with activations: expanded over the batch."""
    nodes = [node("Reshape", ["x", "rows"], ["t"]), node("Concat", ["token", "t"], ["c"], axis=1),
             node("Add", ["c", "position"], ["y"])]  # fmt: skip
    return nodes, {
        "rows": np.array([batch, 4, 64], I64), "token": values(1, 1, 64), "position": values(1, 5, 64),
    }  # fmt: skip


def broadcast(batch: Any) -> tuple[Any, dict[str, Any]]:
    """Dynamic ReLU: a map with its batch behind height and width meets coefficients that have it in front."""
    lead = -1 if batch == 0 else batch
    nodes = [
        node("Transpose", ["x"], ["p"], perm=[2, 3, 0, 1]), node("ReduceMean", ["x"], ["c"], axes=[2, 3], keepdims=0),
        node("Mul", ["p", "c"], ["m"]), node("Add", ["c", "m"], ["s"]),
        node("Transpose", ["s"], ["t"], perm=[2, 3, 0, 1]), node("Reshape", ["t", "rows"], ["y"]),
    ]  # fmt: skip
    return nodes, {"rows": np.array([lead, 256], I64)}


def picked(batch: Any) -> tuple[Any, dict[str, Any]]:
    """x[:, :, i, j] as torch's dynamo exporter writes it: the axes that are indexed in front, then GatherND."""
    rows, columns = np.array([[0], [3], [-1]], I64), np.array([[5, 2]], I64)
    batch_axes = np.stack(np.broadcast_arrays(rows, columns), axis=-1)
    nodes = [
        node("Transpose", ["x"], ["p"], perm=[2, 3, 0, 1]), node("GatherND", ["p", "places"], ["g"]),
        node("Transpose", ["g"], ["y"], perm=[2, 3, 0, 1]),
    ]  # fmt: skip
    return nodes, {"places": batch_axes}


def picked_rows(batch: Any) -> tuple[Any, dict[str, Any]]:
    """One of the two axes before the batch."""
    nodes = [
        node("Transpose", ["x"], ["p"], perm=[2, 3, 0, 1]), node("GatherND", ["p", "places"], ["g"]),
        node("Transpose", ["g"], ["y"], perm=[2, 3, 0, 1]),
    ]  # fmt: skip
    return nodes, {"places": np.array([[1], [0], [1]], I64)}


def strided(batch: Any) -> tuple[Any, dict[str, Any]]:
    """torch.as_strided by its dynamo exporter: the whole batch flattened, then gathered at constant places."""
    n = batch or 1009
    own = np.array([[0, 3], [65, 2]], I64)
    nodes = [node("Reshape", ["x", "flat"], ["f"]), node("Gather", ["f", "places"], ["y"])]
    return nodes, {"flat": np.array([-1], I64), "places": own + 256 * np.arange(n).reshape(n, 1, 1)}


def rms_norm(batch: Any) -> tuple[Any, dict[str, Any]]:
    """torch's rms_norm without a weight: ones in the operand's own shape."""
    nodes = [
        node("Shape", ["x"], ["s"]), node("Expand", ["scale", "s"], ["e"]),
        node("LayerNormalization", ["x", "e"], ["y"], axis=-1),
    ]  # fmt: skip
    return nodes, {"scale": values(8)}


def copied(batch: Any) -> tuple[Any, dict[str, Any]]:
    """Copies before the batch, as torch's x.expand(3, -1, …), brought behind it."""
    nodes = [
        node("Expand", ["x", "sizes"], ["e"]), node("Mul", ["e", "scale"], ["m"]),
        node("Transpose", ["m"], ["y"], perm=[1, 0, 2, 3, 4]),
    ]  # fmt: skip
    return nodes, {"sizes": np.array([3, 1, 1, 1, 1], I64), "scale": values(3, 1, 4, 8, 1)}


EITHER = [broadcast, copied, rms_norm, picked, picked_rows, shuffle, flattened, attention, heads_in_the_batch, windows]


@pytest.mark.parametrize(
    ("build", "declared"),
    [*((build, False) for build in EITHER), *((build, True) for build in [*EITHER, squeezed, class_token])],
)
def test_the_batch_is_free(build: Any, declared: Any) -> None:
    nodes, constants = build(1 if declared else 0)
    source = model(nodes, constants, shape=(1 if declared else "N", 4, 8, 8), opset=17)
    graph = load(source)
    assert graph.batch is None
    assert verify(graph, source, batches=(1, 3, 8)) < 1e-5
    assert all(1009 not in shape for shape in graph.shapes.values())


def alone_on_axis_0(batch: Any) -> tuple[Any, dict[str, Any]]:
    """Rows of the one sample side by side on axis 0."""
    nodes = [
        node("Reshape", ["x", "one"], ["a"]), node("Tanh", ["a"], ["b"]), node("Concat", ["a", "b"], ["c"], axis=0),
        node("ReduceMean", ["c"], ["d"], axes=[0], keepdims=1), node("Reshape", ["d", "image"], ["y"]),
    ]  # fmt: skip
    return nodes, {"one": np.array([1, 1, 256], I64), "image": np.array([1, 4, 64], I64)}


def stacked(batch: Any) -> tuple[Any, dict[str, Any]]:
    """torch.stack of two, and their mean (CrossViT)."""
    nodes = [
        node("Reshape", ["x", "row"], ["r"]), node("Tanh", ["r"], ["t"]), node("Unsqueeze", ["r", "front"], ["a"]),
        node("Unsqueeze", ["t", "front"], ["b"]), node("Concat", ["a", "b"], ["c"], axis=0),
        node("ReduceMean", ["c"], ["y"], axes=[0], keepdims=0),
    ]  # fmt: skip
    return nodes, {"row": np.array([1, 256], I64), "front": np.array([0], I64)}


def without_a_batch(batch: Any) -> tuple[Any, dict[str, Any]]:
    """The one sample, its axis dropped."""
    nodes = [node("Gather", ["x", "first"], ["a"]), node("MatMul", ["a", "w"], ["b"]),
             node("Softmax", ["b"], ["c"], axis=0), node("Unsqueeze", ["c", "axis"], ["y"])]  # fmt: skip
    return nodes, {"first": np.array(0, I64), "w": values(8, 3), "axis": np.array([0], I64)}


def last_of_the_axes(batch: Any) -> tuple[list[Any], dict[str, Any]]:
    """An output with the one sample on axis 1."""
    return [node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3])], {}


@pytest.mark.parametrize("build", [strided, alone_on_axis_0, stacked, without_a_batch, last_of_the_axes])
def test_a_batch_of_one_may_lie_anywhere(build: Any) -> None:
    nodes, constants = build(1)
    source = model(nodes, constants, shape=(1, 4, 8, 8))
    graph = load(source)
    assert graph.batch is None
    assert verify(graph, source, batches=(1, 3)) < 1e-5


def test_places_that_name_their_sample() -> None:
    nodes, constants = strided(3)
    source = model(nodes, constants, shape=(3, 4, 8, 8))
    assert load(source).batch is None
    verify(load(source), source, batches=(3, 6))
    constants["places"][1] += 1
    with pytest.raises(UnsupportedError, match=r"Gather.*along the batch axis"):
        load(model(nodes, constants, shape=(3, 4, 8, 8)))


def test_places_that_are_found_at_run_time_are_refused() -> None:
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]), node("ArgMax", ["x"], ["a"], axis=3),
        node("Reshape", ["a", "rows"], ["i"]),
        node("Reshape", ["x", "columns"], ["c"]), node("ReduceMean", ["c"], ["u"], axes=[1], keepdims=0),
        node("ScatterND", ["f", "i", "u"], ["s"], name="unpool"), node("Reshape", ["s", "image"], ["y"]),
    ]  # fmt: skip
    constants = {"flat": np.array([-1], I64), "rows": np.array([-1, 1], I64), "columns": np.array([-1, 8], I64),
                 "image": np.array([-1, 4, 8, 8], I64)}  # fmt: skip
    with pytest.raises(UnsupportedError, match='"unpool" writes to indices computed at run time') as caught:
        load(model(nodes, constants))
    assert "torch.nn.Upsample" in caught.value.fix


def test_shape_arithmetic_is_gone() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0), node("Reshape", ["x", "target"], ["y"]),
    ]  # fmt: skip
    constants = {"zero": np.array(0, I64), "axis": np.array([0], I64), "rest": np.array([-1], I64)}
    source = model(nodes, constants)
    graph = load(source)
    (layer,) = graph.layers
    assert graph.constants[layer.inputs[1]].tolist() == [-1, 256]
    verify(graph, source)


def test_a_larger_declared_batch_is_freed() -> None:
    nodes, constants = shuffle(4)
    source = model(nodes, constants, shape=(4, 4, 8, 8))
    graph = load(source)
    assert graph.batch is None
    verify(graph, source, batches=(4, 8))


def test_what_would_mix_samples_is_taken_for_one_sample() -> None:
    nodes = [node("Softmax", ["x"], ["y"], axis=0, name="across")]
    one = model(nodes, shape=(1, 4, 8, 8))
    assert verify(load(one), one) == 0
    with pytest.raises(UnsupportedError, match=r'"across".*batch axis'):
        load(model(nodes))


def test_an_operator_that_needs_the_batch_in_front_names_itself() -> None:
    nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3]), conv("t", "c", "w", name="/head/conv/Conv"),
             node("Relu", ["c"], ["y"])]  # fmt: skip
    with pytest.raises(UnsupportedError, match=r'"/head/conv/Conv" \(head.conv\)'):
        load(model(nodes, {"w": values(2, 1009, 1, 1)}))


def test_open_height_and_width() -> None:
    source = model([conv("x", "y", "w")], {"w": values(2, 3, 3, 3)}, shape=("N", "C", "H", "W"))
    graph = load(source)
    assert graph.inputs[0].shape == (3, 224, 224)
    assert "224" in graph.metadata["onnxlrp.note"]
    sized = load(source, size=(16, 20))
    assert sized.inputs[0].shape == (3, 16, 20)
    assert load(source, size=(16,)).inputs[0].shape == (3, 16, 16)
    assert "onnxlrp.note" not in sized.metadata
    with pytest.raises(UnsupportedError, match="2 axes open"):
        load(source, size=(16, 16, 16))
    signal = load(model([node("Relu", ["x"], ["y"])], shape=("N", "L", 8)))
    assert signal.open_axes == {"x": {0: "L"}}
    assert "onnxlrp.note" not in signal.metadata


@pytest.mark.parametrize("size", [12, (12,), {"L": 12}, {1: 12}, {"1": 12}])
def test_sizes_by_name_number_or_order(size: Any) -> None:
    source = model([node("Relu", ["x"], ["y"])], shape=("N", "L", 8))
    sized = load(source, size=size)
    assert sized.inputs[0].shape == (12, 8)
    assert not sized.open_axes
    wrongs: list[Any] = [{"length": 3}, 0, {"L": -1}, {"L": 2.5}]
    for wrong in wrongs:
        with pytest.raises(UsageError):
            load(source, size=wrong)


def test_the_batch_keeps_its_stride() -> None:
    assert batch_axis_after_reshape(BatchAxis(), (5, 4, 6), (20, 6), 5) == BatchAxis(0, 1, 4)
    assert batch_axis_after_reshape(BatchAxis(1), (4, 5, 6), (20, 6), 5) == BatchAxis(0, 4, 1)
    assert batch_axis_after_reshape(BatchAxis(1), (4, 5, 6), (4, 10, 3), 5) == BatchAxis(1, 1, 2)
    assert batch_axis_after_reshape(BatchAxis(0, 1, 4), (20, 6), (5, 4, 6), 5) == BatchAxis()
    assert batch_axis_after_reshape(BatchAxis(1), (4, 5, 6), (3, 40), 5) is None


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_layers_whose_batch_is_another_axis_are_refused_by_name(op: str, gates: int) -> None:
    """The samples of the model are the steps of the layer."""
    nodes = [
        node("Reshape", ["x", "rows"], ["steps"]), node(op, ["steps", "w", "r"], ["all"], hidden_size=2, name="cells"),
        node("Reshape", ["all", "back"], ["y"]),
    ]  # fmt: skip
    constants = {
        "rows": np.array([0, 16, 16], I64), "w": values(1, 2 * gates, 16), "r": values(1, 2 * gates, 2),
        "back": np.array([0, 32], I64),
    }  # fmt: skip
    with pytest.raises(UnsupportedError, match=f'{op} node "cells" is recurrent') as caught:
        load(model(nodes, constants))
    assert "batch_first" in caught.value.fix


def test_a_mean_over_the_samples_is_refused_and_taken_for_one_sample() -> None:
    nodes = [node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1, name="mixes")]
    with pytest.raises(UnsupportedError, match='"mixes"') as caught:
        load(model(nodes, shape=("N", 4, 8, 8)))
    assert "without dynamic axes" in caught.value.fix
    one = model(nodes, shape=(1, 4, 8, 8))
    assert verify(load(one), one) == 0


@pytest.mark.parametrize("op", ["Atan", "Sinh", "ThresholdedRelu"])
def test_elementwise_functions_need_no_batch_in_front(op: str) -> None:
    nodes = [node("Transpose", ["x"], ["a"], perm=[1, 0, 2, 3]), node(op, ["a"], ["b"], name="f"),
             node("Transpose", ["b"], ["y"], perm=[1, 0, 2, 3])]  # fmt: skip
    source = model(nodes)
    graph = load(source)
    assert graph.batch is None
    verify(graph, source)


def states(steps_first: bool, batch: Any = "N", names: Any = ()) -> Any:
    """A GRU whose initial state is an input, [1, N, width]; its input [N, steps, 3], or with the steps first."""
    constants = {"w": values(1, 12, 3), "r": values(1, 12, 4)}
    nodes = [node("GRU", ["t", "w", "r", "", "", "h"], ["s", "last"], hidden_size=4)]
    nodes = [*([] if steps_first else [node("Transpose", ["x"], ["t"], perm=[1, 0, 2])]), *nodes]
    if steps_first:
        nodes[0].input[0] = "x"
    made = model([*nodes, node("Transpose", ["s"], ["y"], perm=[2, 0, 1, 3])], constants, ("N", 5, 3), opset=17)
    del made.graph.input[:]
    shapes = {"x": (5, batch, 3) if steps_first else (batch, 5, 3), "h": (1, batch, 4)}
    made.graph.input.extend(helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items())
    made.graph.output.append(helper.make_tensor_value_info("last", TensorProto.FLOAT, None))
    return made


@pytest.mark.parametrize("batch", ["N", 2, 1])
@pytest.mark.parametrize("steps_first", [True, False])
def test_inputs_and_outputs_have_the_batch_where_a_recurrent_operator_has_it(steps_first: bool, batch: Any) -> None:
    proto = states(steps_first, batch)
    graph = load(proto)
    assert {tensor.name: tensor.shape for tensor in graph.inputs} == {"x": (5, 3), "h": (1, 4)}
    wanted = {"h": 1, "x": 1, "last": 1} if steps_first else {"h": 1, "last": 1}
    assert graph.batch_axes == wanted
    assert verify(graph, proto.SerializeToString(), [1, 3] if batch == "N" else [2 * batch]) < 1e-5


def test_an_axis_with_the_name_of_the_batch_is_the_batch() -> None:
    nodes = [node("Transpose", ["c"], ["d"], perm=[1, 0]), node("Add", ["x", "d"], ["y"])]
    made = model(nodes, {}, ("N", 4))
    made.graph.input.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, (4, "N")))
    graph = load(made)
    assert graph.batch_axes == {"c": 1}
    assert verify(graph, made.SerializeToString()) < 1e-6


def test_an_open_axis_0_in_front_of_a_fixed_batch_is_refused() -> None:
    """The operator says that axis 1 is the batch, the file that axis 0 may have any length: one of them is wrong."""
    made = states(steps_first=True)
    for dim, value in zip(made.graph.input[0].type.tensor_type.shape.dim, ("N", 5, 3), strict=True):
        dim.Clear()
        if isinstance(value, str):
            dim.dim_param = value
        else:
            dim.dim_value = value
    with pytest.raises(UnsupportedError, match="its batch is not the batch of the model"):
        load(made)


def samples_sorted(back: str) -> Any:
    """Samples sorted by their first value, and put back by the inverse of the order, or not."""
    constants = {"zero": np.array(0), "w": values(4, 4), "first": np.array([0]), "begin": np.array([0])}
    nodes = [
        node("Gather", ["x", "zero"], ["key"], axis=1), node("Shape", ["key"], ["n"]),
        node("TopK", ["key", "n"], ["sorted", "order"]), node("Gather", ["x", "order"], ["a"]),
        node("MatMul", ["a", "w"], ["b"]), node("Unsqueeze", ["sorted", "one"], ["column"]),
        node("Add", ["b", "column"], ["c"]),
    ]  # fmt: skip
    constants["one"] = np.array([1])
    if back == "scatter":
        constants |= {"nothing": np.array(0), "step": np.array(1)}
        nodes += [
            node("Squeeze", ["n"], ["count"]), node("Range", ["nothing", "count", "step"], ["numbers"]),
            node("ConstantOfShape", ["n"], ["zeros"], value=numpy_helper.from_array(np.zeros(1, np.int64))),
            node("ScatterElements", ["zeros", "order", "numbers"], ["inverse"], axis=0),
            node("Gather", ["c", "inverse"], ["y"]),
        ]  # fmt: skip
    elif back == "sort":
        nodes += [node("TopK", ["order", "n"], ["_", "inverse"], largest=0), node("Gather", ["c", "inverse"], ["y"])]
    elif back == "other":  # an unsorted tensor meets sorted ones
        nodes += [node("Add", ["c", "x"], ["y"])]
    else:
        nodes += [node("Relu", ["c"], ["y"])]
    return model(nodes, constants, ("N", 4), opset=17)


@pytest.mark.parametrize("back", ["scatter", "sort"])
def test_samples_that_are_sorted_and_put_back_stay_where_they_are(back: str) -> None:
    proto = samples_sorted(back)
    graph = load(proto)
    assert not {"TopK", "Gather"} & {layer.op for layer in graph.layers if layer.inputs[0] != "x"}
    assert verify(graph, proto.SerializeToString()) < 1e-6


@pytest.mark.parametrize("back", ["other", "never"])
def test_samples_that_are_not_put_back_are_refused(back: str) -> None:
    with pytest.raises(UnsupportedError):
        load(samples_sorted(back))


def test_a_file_that_cannot_be_read_gets_its_inputs_with_the_batch_where_it_has_it() -> None:
    proto = states(steps_first=True)
    # Its number is not stated: runtimes differ in what they take.
    proto.graph.node[0].attribute.append(helper.make_attribute("activations", ["Sigmoid", "ThresholdedRelu"]))
    graph = load(proto, untouched=True)
    assert graph.opaque is not None
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(3, 5, 3)).astype("f"), "h": rng.normal(size=(3, 1, 4)).astype("f")}
    found = graph.opaque.scores(feeds, ["y"])["y"]
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (want,) = session.run(["y"], {name: np.moveaxis(value, 0, 1) for name, value in feeds.items()})
    np.testing.assert_allclose(found, want, atol=1e-6)


def voices() -> Any:
    """As Silero's detector of voices: the rate chooses a branch, and the other does not fit the length; a state."""

    def branch(name: str, steps: int) -> Any:
        nodes = [
            node("Constant", [], [f"{name}.zero"], value_ints=[0]),
            node("Constant", [], [f"{name}.two"], value_ints=[2]),
            node("Constant", [], [f"{name}.h0"], value=numpy_helper.from_array(np.array(0))),
            node("Constant", [], [f"{name}.to"], value_ints=[-1, 3, steps]),
            node("Reshape", ["x", f"{name}.to"], [f"{name}.r"]),
            node("ReduceMax", [f"{name}.r"], [f"{name}.m"], axes=[1]),
            node("Squeeze", [f"{name}.m", f"{name}.one"], [f"{name}.f"]),
            node("Unsqueeze", [f"{name}.f", f"{name}.zero"], [f"{name}.u"]),
            node("Gather", ["state", f"{name}.h0"], [f"{name}.s"]),
            node("Unsqueeze", [f"{name}.s", f"{name}.zero"], [f"{name}.h"]),
            node(
                "GRU", [f"{name}.u", f"w{steps}", f"r{steps}", "", "", f"{name}.h"], ["", f"{name}.last"], hidden_size=4
            ),
            node("Squeeze", [f"{name}.last", f"{name}.zero"], [f"{name}.y"]),
            node("Identity", [f"{name}.last"], [f"{name}.n"]),
        ]
        nodes.insert(0, node("Constant", [], [f"{name}.one"], value_ints=[1]))
        outputs = [onnx.ValueInfoProto(name=f"{name}.{end}") for end in "yn"]
        return helper.make_graph(nodes, name, [], outputs)

    nodes = [
        node("Equal", ["rate", "sixteen"], ["wide"]),
        node("If", ["wide"], ["y", "next"], then_branch=branch("then", 5), else_branch=branch("else", 4)),
    ]
    constants = {"sixteen": np.array(16000), "w5": values(1, 12, 5), "r5": values(1, 12, 4)}
    constants |= {"w4": values(1, 12, 4, seed=1), "r4": values(1, 12, 4, seed=1)}
    made = model(nodes, constants, ("N", 15), opset=16, outputs=("y", "next"))
    made.graph.input.append(helper.make_tensor_value_info("state", TensorProto.FLOAT, (1, "N", 4)))
    made.graph.input.append(helper.make_tensor_value_info("rate", TensorProto.INT64, ()))
    return made


def test_a_branch_that_does_not_fit_is_not_taken(tmp_path: Any) -> None:
    """Without the number, the branch is one that the file compares it with; the state is followed into the branch."""
    onnx.save(voices(), tmp_path / "voices.onnx")
    loaded = onnxlrp.load(tmp_path / "voices.onnx")
    assert loaded.graph.batch_axes == {"state": 1, "next": 1}
    assert loaded.choice is not None
    assert loaded.choice.output == "y"  # and not the state for the next run
    rng = np.random.default_rng(0)
    x, state = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 15), (3, 1, 4)))
    e = loaded.explain(x, 1, "gradient", given={"state": state, "rate": 16000})
    session = onnxruntime.InferenceSession(tmp_path / "voices.onnx")

    def score(x: Any) -> Any:
        return session.run(["y"], {"x": x, "state": np.moveaxis(state, 0, 1), "rate": np.array(16000)})[0]

    np.testing.assert_allclose(e.output, score(x), atol=1e-6)
    step = 1e-3 * rng.normal(size=x.shape).astype(np.float32)
    wanted = (score(x + step) - score(x - step))[:, 1] / 2
    np.testing.assert_allclose((e.relevance * step).sum(axis=1), wanted, atol=2e-6)


def test_steps_on_axis_0_without_a_batch_are_one_sample() -> None:
    """Windows that a convolution reads one by one are the steps of the recurrent operator behind it."""
    nodes = [
        node("Unsqueeze", ["x", "one"], ["u"]),
        node("Conv", ["u", "k"], ["c"], strides=[4]),
        node("Sqrt", ["c"], ["q"]),
        node("Transpose", ["q"], ["t"], perm=[0, 2, 1]),
        node("GRU", ["t", "w", "r", "", "", "h"], ["s"], hidden_size=4),
        node("Squeeze", ["s", "one"], ["a"]),
        node("Squeeze", ["a", "one"], ["b"]),
        node("MatMul", ["b", "v"], ["y"]),
    ]
    constants = {"one": np.array([1]), "k": np.abs(values(3, 1, 4)), "w": values(1, 12, 3), "r": values(1, 12, 4)}
    made = model(nodes, constants | {"v": values(4, 2)}, ("windows", 4))
    made.graph.input.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, (1, 1, 4)))
    made.graph.node[1].input[0] = "sq"
    made.graph.node.insert(1, node("Mul", ["u", "u"], ["sq"]))
    graph = load(made, size=6)
    assert dict(graph.batch_axes) == {"x": -1, "h": 1}
    assert {tensor.name: tensor.shape for tensor in graph.inputs} == {"x": (6, 4), "h": (1, 4)}
    assert verify(graph, made.SerializeToString(), [1, 2]) < 1e-5


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
def test_a_reduction_of_one_is_a_reshape(op: str) -> None:
    """The scores behind it are found, such as a Sigmoid in front of the mean over one step."""
    nodes = [node("Sigmoid", ["x"], ["p"]), node("Unsqueeze", ["p", "one"], ["u"])]
    nodes += [node(op, ["u", "one"], ["y"], keepdims=0)]
    loaded = onnxlrp.load(model(nodes, {"one": np.array([1])}, ("N", 3), opset=18))
    assert loaded.head.kind == "Sigmoid"
