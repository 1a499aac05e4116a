"""Channels first or last, 2 bands or 13: the same function has the same maps, up to the transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UsageError

HEIGHT, WIDTH = 12, 10
METHODS: dict[str, Any] = {
    "occlusion": {"window": 3, "stride": 2},
    "rise": {"samples": 40, "cells": 4},
    "lime": {"samples": 60, "segments": "grid", "features": 20},
    "kernel_shap": {"samples": 60, "segments": "grid", "features": 20},
    "meaningful_perturbation": {"steps": 5, "cells": 5},
    "grad_cam": {},
    "layer_cam": {},
    "sensitivity": {"norm": "l2"},
    "integrated_gradients": {"steps": 4, "baseline": "mean"},
    "gradient_x_input": {},
    "epsilon_plus_flat": {},
}


def network(bands: int, last: bool) -> onnx.ModelProto:
    """Two convolutions, a mean over places and a dense layer; with `last` for pictures [N, H, W, bands]."""
    rng = np.random.default_rng(bands)
    weights = {
        "w1": rng.normal(size=(5, bands, 3, 3)) / np.sqrt(9 * bands),
        "b1": 0.1 * rng.normal(size=5),
        "w2": rng.normal(size=(6, 5, 3, 3)) / 5,
        "w3": rng.normal(size=(6, 3)),
    }
    nodes = [helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2])] if last else []
    nodes += [
        helper.make_node("Conv", ["first" if last else "x", "w1", "b1"], ["c1"], name="c1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="c2", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], name="r2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3"], ["y"]),
    ]
    shape = [HEIGHT, WIDTH, bands] if last else [bands, HEIGHT, WIDTH]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def picture(bands: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(2, bands, HEIGHT, WIDTH)).astype(np.float32)


@pytest.mark.few(12)
@pytest.mark.parametrize("bands", [2, 3, 13])
@pytest.mark.parametrize("method", METHODS)
def test_channels_first_and_last_have_the_same_maps(method: str, bands: int) -> None:
    x, options = picture(bands), METHODS[method]
    first, last = (onnxlrp.load(network(bands, where), engine="reference") for where in (False, True))
    assert (first.kind.channel_axis, last.kind.channel_axis) == (0, 2)
    expected = first.explain(x, 1, method, **options)
    found = last.explain(x.transpose(0, 2, 3, 1), 1, method, **options)
    scale = np.abs(expected.relevance).max()
    assert scale > 0
    np.testing.assert_allclose(found.relevance.transpose(0, 3, 1, 2), expected.relevance, rtol=1e-4, atol=1e-5 * scale)
    np.testing.assert_allclose(found.kind.to_maps(found.relevance), expected.relevance.sum(axis=1), atol=1e-5 * scale)
    assert found.figure(0).tobytes() == expected.figure(0).tobytes()


@pytest.mark.parametrize("bands", [2, 13])
def test_a_window_hides_all_bands_of_a_place(bands: int) -> None:
    """Occlusion against its definition, for a picture whose bands come last."""
    model = onnxlrp.load(network(bands, last=True), engine="reference")
    x = picture(bands)[:1].transpose(0, 2, 3, 1)
    found = model.explain(x, 0, "occlusion", window=1, stride=1, baseline="zero", score="logit").relevance[0]
    logit = model.outputs(x)["logits"][0, 0]
    for row, column in ((0, 0), (5, 3), (11, 9)):
        hidden = x.copy()
        hidden[0, row, column] = 0
        drop = logit - model.outputs(hidden)["logits"][0, 0]
        np.testing.assert_allclose(found[row, column].sum(), drop, atol=1e-5)
        np.testing.assert_allclose(found[row, column], np.full(bands, drop / bands), atol=1e-5)


# -- class activation maps of layers whose channels are not in front


def channels_last() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A patch convolution, then channels last to the end, as in Swin or ConvNeXt: [N, h, w, K]."""
    rng = np.random.default_rng(0)
    weights = {
        "patch": rng.normal(size=(12, 3, 4, 4)) / 7,
        "mix": rng.normal(size=(12, 12)) / 3,
        "head": rng.normal(size=(12, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "patch"], ["p"], name="p", strides=[4, 4]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "mix"], ["m"], name="m"),
        helper.make_node("Relu", ["m"], ["r"], name="r"),
        helper.make_node("Add", ["t", "r"], ["maps"], name="maps"),
        helper.make_node("ReduceMean", ["maps"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 24])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), weights


def last_maps(x: Any, weights: Any) -> Any:
    """The layer's result [N, 8, 6, 12], in numpy."""
    patches = x.reshape(len(x), 3, 8, 4, 6, 4).transpose(0, 2, 4, 1, 3, 5).reshape(len(x), 8, 6, 48)
    t = patches @ weights["patch"].reshape(12, 48).T
    return t + np.maximum(t @ weights["mix"], 0)


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
def test_channels_last_layers_are_read_as_they_are(method: str) -> None:
    """∂f/∂A is the class's weight over the number of places, at every place: CAM by hand."""
    proto, weights = channels_last()
    x = np.random.default_rng(3).normal(size=(2, 3, 32, 24)).astype(np.float32)
    found = onnxlrp.load(proto, engine="reference").explain(x, 4, method)
    slope = weights["head"][:, 4] / 48
    slope = np.maximum(slope, 0) if method == "layer_cam" else slope
    expected = np.maximum(last_maps(x, weights) @ slope, 0)
    assert found.notes["layer"] == "maps"
    coarse = found.relevance.sum(axis=1).reshape(2, 8, 4, 6, 4)
    # Enlarged linearly: in the middle of the picture a block's mean is that of its neighbourhood by the same weights.
    np.testing.assert_allclose(coarse.mean(axis=(1, 2, 3, 4)), enlarged(expected).mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.relevance.sum(axis=1), enlarged(expected), atol=1e-5 * expected.max())


def enlarged(maps: Any) -> Any:
    """Four times the size, linearly between the centres, the edge repeated."""
    for axis in (1, 2):
        n = maps.shape[axis]
        at = np.clip((np.arange(4 * n) + 0.5) / 4 - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), n - 2)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, low + 1, axis) * share
    return maps


def _of_pictures(nodes: list[Any], weights: dict[str, Any], ints: dict[str, Any]) -> Any:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 24])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    held += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in ints.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def tokens(extra: bool, first: int = 1, last: int = 0, pick: str = "") -> onnx.ModelProto:
    """A ViT of one attention layer with two heads, with or without tokens for the class and registers.

    Args:
        extra: Whether there are such tokens.
        first: How many stand before the patches.
        last: How many stand behind them.
        pick: The operator that takes the first token for the head, which else reads the mean.
    """
    rng = np.random.default_rng(0)
    weights = {
        "patch": rng.normal(size=(8, 3, 4, 4)) / 7,
        "class": rng.normal(size=(1, 1, 8)),
        **{name: rng.normal(size=(8, 8)) / 3 for name in ("q", "k", "v")},
        "head": rng.normal(size=(8, 3)),
    }
    ints: dict[str, Any] = {}
    count = 48 + extra * (first + last)
    nodes = [
        helper.make_node("Conv", ["x", "patch"], ["p"], name="p", strides=[4, 4]),
        helper.make_node("Reshape", ["p", "flat"], ["f"]),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 2, 1]),
    ]
    ints["flat"], ints["heads"], ints["back"] = [0, 8, 48], [0, count, 2, 4], [0, count, 8]
    start = "t"
    if extra:
        nodes.append(helper.make_node("Shape", ["t"], ["batch"], end=1))
        for n, some in enumerate((first, last)):
            ints[f"rest{n}"] = [some, 8]
            nodes += [
                helper.make_node("Concat", ["batch", f"rest{n}"], [f"one{n}"], axis=0),
                helper.make_node("Expand", ["class", f"one{n}"], [f"c{n}"]),
            ]
        parts = [*["c0"] * (first > 0), "t", *["c1"] * (last > 0)]
        nodes.append(helper.make_node("Concat", parts, ["all"], name="all", axis=1))
        start = "all"
    for name, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            helper.make_node("MatMul", [start, name], [f"{name}1"], name=f"{name}1"),
            helper.make_node("Reshape", [f"{name}1", "heads"], [f"{name}2"]),
            helper.make_node("Transpose", [f"{name}2"], [f"{name}3"], perm=perm),
        ]
    nodes += [
        helper.make_node("MatMul", ["q3", "k3"], ["qk"], name="qk"),
        helper.make_node("Softmax", ["qk"], ["a"], name="a", axis=-1),
        helper.make_node("MatMul", ["a", "v3"], ["av"], name="av"),
        helper.make_node("Transpose", ["av"], ["avt"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["avt", "back"], ["joined"]),
        helper.make_node("Add", [start, "joined"], ["sum"], name="sum"),
    ]
    if pick == "Gather":
        ints["zero"] = 0
        nodes.append(helper.make_node("Gather", ["sum", "zero"], ["mean"], axis=1))
    elif pick == "Slice":
        ints.update(begin=[0], end=[1], along=[1], flattened=[0, 8])
        nodes.append(helper.make_node("Slice", ["sum", "begin", "end", "along"], ["token"]))
        nodes.append(helper.make_node("Reshape", ["token", "flattened"], ["mean"]))
    else:
        nodes.append(helper.make_node("ReduceMean", ["sum"], ["mean"], axes=[1], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "head"], ["y"]))
    return _of_pictures(nodes, weights, ints)


def test_tokens_that_lie_on_the_picture_are_maps() -> None:
    """Behind the last layer stand a mean and a matrix: CAM is the tokens times the class's column, at their places."""
    proto = tokens(extra=False)
    model = onnxlrp.load(proto, engine="reference")
    x = np.random.default_rng(3).normal(size=(2, 3, 32, 24)).astype(np.float32)
    found = model.explain(x, 2, "grad_cam")
    assert found.notes["layer"] == "sum"
    made = model.outputs(x, activations=("sum",))["activation/sum"]
    head = next(numpy_helper.to_array(w) for w in proto.graph.initializer if w.name == "head")
    expected = np.maximum((made @ head[:, 2] / 48).reshape(2, 8, 6), 0)
    np.testing.assert_allclose(found.relevance.sum(axis=1), enlarged(expected), atol=1e-5 * expected.max())


@pytest.mark.parametrize("layer", ["qk", "a"])
def test_what_lies_on_no_picture_is_refused(layer: str) -> None:
    model = onnxlrp.load(tokens(extra=True), engine="reference")
    x = np.random.default_rng(3).normal(size=(1, 3, 32, 24)).astype(np.float32)
    with pytest.raises(UsageError, match="not feature maps with height and width") as caught:
        model.explain(x, 0, "grad_cam", layer=layer)
    assert caught.value.fix.startswith('name a layer with feature maps: --layer "sum" or --layer "av"')


def attended(t: Any, weights: Any) -> Any:
    """The result of the attention of `tokens` [N, tokens, 8] in numpy, two heads of four."""
    q, k, v = ((t @ weights[name]).reshape(len(t), -1, 2, 4).transpose(0, 2, 1, 3) for name in "qkv")
    e = np.exp(q @ k.transpose(0, 1, 3, 2))
    made = e / e.sum(axis=-1, keepdims=True) @ v
    return t + made.transpose(0, 2, 1, 3).reshape(t.shape)


def wide(proto: onnx.ModelProto) -> dict[str, Any]:
    return {w.name: numpy_helper.to_array(w).astype(float) for w in proto.graph.initializer}


def by_definition(method: str, maps: Any, slopes: Any) -> Any:
    """The map [N, 8, 6] of tokens [N, 48, K] and their slopes."""
    weight = np.maximum(slopes, 0) if method == "layer_cam" else slopes.mean(axis=1, keepdims=True)
    return np.maximum((weight * maps).sum(axis=2), 0).reshape(-1, 8, 6)


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
@pytest.mark.parametrize(("first", "last"), [(1, 0), (1, 2), (0, 3)])
def test_tokens_of_no_place_are_left_out(method: str, first: int, last: int) -> None:
    """Behind the attention stands a mean over all tokens, those of the class and registers too."""
    proto = tokens(extra=True, first=first, last=last)
    model, weights = onnxlrp.load(proto, engine="reference"), wide(proto)
    x = np.random.default_rng(3).normal(size=(2, 3, 32, 24)).astype(np.float32)
    found = model.explain(x, 2, method)
    assert (found.notes["layer"], found.notes["tokens"]) == ("sum", f"8 x 6, {first + last} of no place left out")
    maps = attended(joined(x, weights, first, last), weights)[:, first : first + 48]
    expected = by_definition(method, maps, np.broadcast_to(weights["head"][:, 2] / (48 + first + last), maps.shape))
    np.testing.assert_allclose(found.relevance.sum(axis=1), enlarged(expected), atol=1e-5 * expected.max())


def joined(x: Any, weights: Any, first: int, last: int) -> Any:
    """The tokens [N, first + 48 + last, 8], in numpy."""
    patches = x.reshape(len(x), 3, 8, 4, 6, 4).transpose(0, 2, 4, 1, 3, 5).reshape(len(x), 48, 48)
    more = [np.broadcast_to(weights["class"], (len(x), n, 8)) for n in (first, last)]
    return np.concatenate([more[0], patches @ weights["patch"].reshape(8, 48).T, more[1]], axis=1)


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
@pytest.mark.parametrize("pick", ["Gather", "Slice"])
def test_behind_the_last_attention_only_the_class_token_has_a_slope(method: str, pick: str) -> None:
    """The layer is what the last attention reads; slopes against finite differences of numpy's own attention."""
    proto = tokens(extra=True, pick=pick)
    model, weights = onnxlrp.load(proto, engine="reference"), wide(proto)
    x = np.random.default_rng(3).normal(size=(2, 3, 32, 24)).astype(np.float32)
    found = model.explain(x, 2, method)
    assert found.notes["layer"] == "all"
    maps = joined(x, weights, 1, 0)
    slopes, step = np.zeros_like(maps), 1e-5
    for at in np.ndindex(*maps.shape[1:]):
        moved = np.zeros(maps.shape[1:])
        moved[at] = step
        up, down = (attended(maps + s * moved, weights)[:, 0] @ weights["head"][:, 2] for s in (1, -1))
        slopes[(slice(None), *at)] = (up - down) / (2 * step)
    expected = by_definition(method, maps[:, 1:], slopes[:, 1:])
    np.testing.assert_allclose(found.relevance.sum(axis=1), enlarged(expected), atol=1e-4 * expected.max())
    with pytest.raises(UsageError, match="reads the class token alone") as caught:
        model.explain(x, 2, method, layer="sum")
    assert '--layer "all"' in caught.value.fix


def shifted_windows() -> onnx.ModelProto:
    """Swin's kind: maps [8, 6, K] rolled by (3, 1), a dense layer in windows of 4 x 3, put together and rolled back."""
    rng = np.random.default_rng(5)
    weights = {
        "patch": rng.normal(size=(8, 3, 4, 4)) / 7,
        "mix": rng.normal(size=(8, 8)) / 3,
        "head": rng.normal(size=(48 * 8, 3)),
    }
    far = np.iinfo(np.int64).max
    ints: dict[str, Any] = {
        "cut": [0, 2, 4, 2, 3, 8], "cells": [-1, 12, 8], "grid": [-1, 2, 2, 4, 3, 8], "whole": [-1, 8, 6, 8],
        "flat": [-1, 384],
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "patch"], ["p"], name="p", strides=[4, 4]),
        helper.make_node("Transpose", ["p"], ["last"], perm=[0, 2, 3, 1]),
    ]

    def roll(source: str, axis: int, by: int) -> str:
        """Positions from `by` on first, as torch.roll is exported."""
        pieces = []
        for n, (start, end) in enumerate([(by, far), (0, by)]):
            name = f"{source}{axis}{n}"
            ints.update({f"{name}s": [start], f"{name}e": [end], f"{name}a": [axis]})
            nodes.append(helper.make_node("Slice", [source, f"{name}s", f"{name}e", f"{name}a"], [name]))
            pieces.append(name)
        nodes.append(helper.make_node("Concat", pieces, [f"{source}r{axis}"], axis=axis))
        return f"{source}r{axis}"

    rolled = roll(roll("last", 1, 3), 2, 1)
    nodes += [
        helper.make_node("Reshape", [rolled, "cut"], ["c"]),
        helper.make_node("Transpose", ["c"], ["ct"], perm=[0, 1, 3, 2, 4, 5]),
        helper.make_node("Reshape", ["ct", "cells"], ["windows"]),
        helper.make_node("MatMul", ["windows", "mix"], ["m"], name="m"),
        helper.make_node("Relu", ["m"], ["inside"], name="inside"),
        helper.make_node("Reshape", ["inside", "grid"], ["g"]),
        helper.make_node("Transpose", ["g"], ["gt"], perm=[0, 1, 3, 2, 4, 5]),
        helper.make_node("Reshape", ["gt", "whole"], ["w"]),
    ]
    back = roll(roll("w", 1, 5), 2, 5)
    nodes += [
        helper.make_node("Add", [back, "last"], ["sum"], name="sum"),
        helper.make_node("Reshape", ["sum", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "head"], ["y"]),
    ]
    return _of_pictures(nodes, weights, ints)


@pytest.mark.parametrize("layer", ["sum", "inside"])
@pytest.mark.parametrize("samples", [1, 2])
def test_shifted_windows_are_put_together(layer: str, samples: int) -> None:
    """A dense layer in windows is one at each place, wherever the windows lie: the maps are those without windows."""
    proto = shifted_windows()
    model, weights = onnxlrp.load(proto, engine="reference"), wide(proto)
    x = np.random.default_rng(3).normal(size=(samples, 3, 32, 24)).astype(np.float32)
    options: dict[str, Any] = {} if layer == "sum" else {"layer": layer}
    found = model.explain(x, 1, "layer_cam", **options)
    assert found.notes["layer"] == layer
    patches = x.reshape(samples, 3, 8, 4, 6, 4).transpose(0, 2, 4, 1, 3, 5).reshape(samples, 48, 48)
    t = patches @ weights["patch"].reshape(8, 48).T
    inside = np.maximum(t @ weights["mix"], 0)
    maps = inside if layer == "inside" else t + inside
    expected = by_definition("layer_cam", maps, weights["head"][:, 1].reshape(48, 8))
    np.testing.assert_allclose(found.relevance.sum(axis=1), enlarged(expected), atol=1e-5 * expected.max())


@pytest.mark.parametrize("layer", ["qk", "a"])
def test_attention_between_tokens_is_no_map(layer: str) -> None:
    model = onnxlrp.load(tokens(extra=False), engine="reference")
    with pytest.raises(UsageError, match="not feature maps"):
        model.explain(np.ones((1, 3, 32, 24), np.float32), 0, "layer_cam", layer=layer)


def test_the_last_maps_are_those_in_front_of_the_flattening() -> None:
    """Flattened maps have places too; the layer that computes them is named."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Flatten", ["c"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="dense"),
    ]
    weights = {"w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4 * 48, 3))}
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model = onnxlrp.load(proto, engine="reference")
    values = rng.normal(size=(2, 3, 8, 6)).astype(np.float32)
    found = model.explain(values, 1, "layer_cam")
    assert found.notes["layer"] == "conv"
    maps = model.outputs(values, activations=("conv",))["activation/conv"]
    slope = np.maximum(weights["v"][:, 1].reshape(4, 8, 6), 0)
    expected = np.maximum((maps * slope).sum(axis=1), 0)
    np.testing.assert_allclose(found.relevance.sum(axis=1), expected, atol=1e-5 * expected.max())


# -- volumes and signals


def volume(last: bool) -> onnx.ModelProto:
    """A convolution with three axes of space, of two channels first or last."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Transpose", ["x"], ["first"], perm=[0, 4, 1, 2, 3])] if last else []
    nodes += [
        helper.make_node("Conv", ["first" if last else "x", "w"], ["c"], pads=[1] * 6),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["y"]),
    ]
    shape = [4, 5, 6, 2] if last else [2, 4, 5, 6]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    weights = {"w": rng.normal(size=(4, 2, 3, 3, 3)) / 7, "v": rng.normal(size=(4, 3))}
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("method", ["occlusion", "rise", "lime", "kernel_shap", "epsilon_plus_flat"])
def test_volumes_are_hidden_place_by_place(method: str) -> None:
    x = np.random.default_rng(1).normal(size=(2, 2, 4, 5, 6)).astype(np.float32)
    options: dict[str, Any] = {} if method in ("occlusion", "epsilon_plus_flat") else {"samples": 30}
    first, last = (onnxlrp.load(volume(where), engine="reference") for where in (False, True))
    assert (first.kind.name, first.kind.channel_axis, last.kind.channel_axis) == ("volume", 0, 3)
    assert first.kind.grid == last.kind.grid == (4, 5, 6)
    expected = first.explain(x, 1, method, **options).relevance
    found = last.explain(x.transpose(0, 2, 3, 4, 1), 1, method, **options).relevance
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.transpose(0, 4, 1, 2, 3), expected, atol=1e-5 * scale)
    if method == "occlusion":
        np.testing.assert_allclose(expected[:, 0], expected[:, 1], atol=1e-9 * scale)  # a place has both channels
