"""Hostile models, continued: operators whose attributes, operands and constants do not fit, and numbers that are none.

What onnxruntime makes something of may load; what matters is that the end is a clear one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .hostile_corpus import REJECTED, UNANSWERABLE, case, net, node

CLEAR = (0, REJECTED, UNANSWERABLE)
MAP = ("N", 4, 8, 8)
FAR = 1 << 40

# -- windows

_FITS: dict[str, Any] = {"kernel_shape": [3, 3]}
WINDOWS: dict[str, dict[str, Any]] = {
    "stride 0": {"strides": [0, 0]},
    "stride minus one": {"strides": [-1, 1]},
    "a stride without end": {"strides": [FAR, FAR]},
    "dilation 0": {"dilations": [0, 0]},
    "dilation minus one": {"dilations": [-1, -1]},
    "a dilation without end": {"dilations": [FAR, FAR]},
    "pads below zero": {"pads": [-3, -3, -3, -3]},
    "pads without end": {"pads": [FAR] * 4},
    "five pads": {"pads": [1] * 5},
    "three strides": {"strides": [1, 1, 1]},
    "a kernel of zeros": {"kernel_shape": [0, 0]},
    "a kernel larger than the input": {"kernel_shape": [9, 9]},
    "a kernel without end": {"kernel_shape": [FAR, FAR]},
    "an unknown padding": {"auto_pad": "SOMEWHERE"},
    "padding twice": {"auto_pad": "SAME_UPPER", "pads": [1] * 4},
}


def _window(op: str, attributes: dict[str, Any]) -> Callable[[Any], onnx.ModelProto]:
    side = 9 if attributes.get("kernel_shape") == [9, 9] else 3
    convolution = op.startswith("Conv")
    weight = np.ones((4, 4, side, side), np.float32)
    inputs, constants = (["x", "w"], {"w": weight}) if convolution else (["x"], {})
    return lambda path: net([node(op, inputs, ["y"], **{**_FITS, **attributes})], constants, shape=MAP)


for _op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"):
    for _name, _attributes in WINDOWS.items():
        case(f"{_op} of {_name}", *CLEAR)(_window(_op, _attributes))
for _group in (0, -1, 3, FAR):
    for _op in ("Conv", "ConvTranspose"):
        case(f"{_op} of {_group} groups", REJECTED)(_window(_op, {"group": _group}))

# -- axes, indices, shapes

_I = np.int64
OPERATORS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "softmax axis 99": ([node("Softmax", ["x"], ["y"], axis=99)], {}),
    "softmax axis minus 99": ([node("Softmax", ["x"], ["y"], axis=-99)], {}),
    "concat axis 7": ([node("Concat", ["x", "x"], ["y"], axis=7)], {}),
    "concat of other lengths": ([node("Concat", ["x", "c"], ["y"], axis=1)], {"c": np.ones((1, 1, 3, 3), np.float32)}),
    "an axis twice in a transpose": ([node("Transpose", ["x"], ["y"], perm=[0, 1, 1, 3])], {}),
    "a short transpose": ([node("Transpose", ["x"], ["y"], perm=[1, 0])], {}),
    "a transpose out of range": ([node("Transpose", ["x"], ["y"], perm=[0, 1, 2, 99])], {}),
    "a transpose of the batch": ([node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3])], {}),
    "gather beyond the end": ([node("Gather", ["x", "i"], ["y"], axis=1)], {"i": np.array([99])}),
    "gather without end": ([node("Gather", ["x", "i"], ["y"], axis=1)], {"i": np.array([FAR, -FAR])}),
    "gather axis 9": ([node("Gather", ["x", "i"], ["y"], axis=9)], {"i": np.array([0])}),
    "gather by floats": ([node("Gather", ["x", "i"], ["y"])], {"i": np.array([0.5], np.float32)}),
    "gather of the batch": ([node("Gather", ["x", "i"], ["y"], axis=0)], {"i": np.array([3])}),
    "reshape to nothing like it": ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, 7, 7])}),
    "reshape with two open axes": ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([-1, -1])}),
    "reshape below zero": ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, -5])}),
    "reshape without end": ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, FAR, FAR])}),
    "reshape to minimum": ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([np.iinfo(_I).min])}),
    "reshape by a scalar": ([node("Reshape", ["x", "s"], ["y"])], {"s": np.array(5)}),
    "squeeze of a long axis": ([node("Squeeze", ["x", "a"], ["y"])], {"a": np.array([1])}),
    "squeeze axis 99": ([node("Squeeze", ["x", "a"], ["y"])], {"a": np.array([99])}),
    "unsqueeze twice at one place": ([node("Unsqueeze", ["x", "a"], ["y"])], {"a": np.array([1, 1])}),
    "unsqueeze axis 99": ([node("Unsqueeze", ["x", "a"], ["y"])], {"a": np.array([99])}),
    "split of another sum": ([node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": np.array([1, 1])}),
    "split below zero": ([node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": np.array([-1, 5])}),
    "split into a thousand": ([node("Split", ["x"], ["y", *(f"z{i}" for i in range(999))], axis=1)], {}),
    "slice of step 0": (
        [node("Slice", ["x", "a", "b", "c", "d"], ["y"])],
        {"a": np.array([0]), "b": np.array([4]), "c": np.array([1]), "d": np.array([0])},
    ),
    "slice to nothing": (
        [node("Slice", ["x", "a", "b", "c"], ["y"])], {"a": np.array([4]), "b": np.array([4]), "c": np.array([1])},
    ),
    "slice of axis 9": (
        [node("Slice", ["x", "a", "b", "c"], ["y"])], {"a": np.array([0]), "b": np.array([4]), "c": np.array([9])},
    ),
    "slice of an axis twice": (
        [node("Slice", ["x", "a", "b", "c"], ["y"])],
        {"a": np.array([0, 1]), "b": np.array([4, 3]), "c": np.array([1, 1])},
    ),
    "slice of the batch": (
        [node("Slice", ["x", "a", "b", "c"], ["y"])], {"a": np.array([1]), "b": np.array([2]), "c": np.array([0])},
    ),
    "pad by three numbers": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([1, 1, 1])}),
    "pad without end": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 0, 0, FAR, 0, 0, 0, FAR])}),
    "pad to nothing": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 0, -9, 0, 0, 0, 0, 0])}),
    "pad by reflection beyond": ([node("Pad", ["x", "p"], ["y"], mode="reflect")], {"p": np.array([0, 0, 99, 0] * 2)}),
    "pad of the batch": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([1, 0, 0, 0, 0, 0, 0, 0])}),
    "pad in an unknown mode": ([node("Pad", ["x", "p"], ["y"], mode="magic")], {"p": np.zeros(8, _I)}),
    "expand to another length": ([node("Expand", ["x", "s"], ["y"])], {"s": np.array([1, 3, 8, 8])}),
    "expand below zero": ([node("Expand", ["x", "s"], ["y"])], {"s": np.array([1, -4, 8, 8])}),
    "tile by two numbers": ([node("Tile", ["x", "r"], ["y"])], {"r": np.array([1, 2])}),
    "tile below zero": ([node("Tile", ["x", "r"], ["y"])], {"r": np.array([1, -1, 1, 1])}),
    "tile by nothing": ([node("Tile", ["x", "r"], ["y"])], {"r": np.array([1, 0, 1, 1])}),
    "a sum over axis 99": ([node("ReduceSum", ["x", "a"], ["y"])], {"a": np.array([99])}),
    "a sum over an axis twice": ([node("ReduceSum", ["x", "a"], ["y"])], {"a": np.array([1, 1])}),
    "a mean over the batch": ([node("ReduceMean", ["x"], ["y"], axes=[0])], {}),
    "resize by nothing": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, 0, 0], np.float32)}),
    "resize by no number": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, np.nan, 1], np.float32)}),
    "resize by infinity": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, np.inf, 1], np.float32)}),
    "resize below zero": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, -2, 1], np.float32)}),
    "resize to size zero": ([node("Resize", ["x", "", "", "s"], ["y"])], {"s": np.array([1, 4, 0, 0])}),
    "resize by three scales": ([node("Resize", ["x", "", "s"], ["y"])], {"s": np.array([1, 1, 2], np.float32)}),
    "blocks of 0": ([node("DepthToSpace", ["x"], ["y"], blocksize=0)], {}),
    "blocks below zero": ([node("DepthToSpace", ["x"], ["y"], blocksize=-2)], {}),
    "blocks that do not divide": ([node("SpaceToDepth", ["x"], ["y"], blocksize=3)], {}),
    "a local norm of size 0": ([node("LRN", ["x"], ["y"], size=0)], {}),
    "flatten axis 99": ([node("Flatten", ["x"], ["y"], axis=99)], {}),
    "an equation that is none": ([node("Einsum", ["x"], ["y"], equation="->->")], {}),
    "an equation of other ranks": ([node("Einsum", ["x", "x"], ["y"], equation="ab,bc->ac")], {}),
    "an equation of a thousand letters": ([node("Einsum", ["x"], ["y"], equation="a" * 1000 + "->a")], {}),
    "the hundred largest": ([node("TopK", ["x", "k"], ["y", "i"])], {"k": np.array([100])}),
    "the minus one largest": ([node("TopK", ["x", "k"], ["y", "i"])], {"k": np.array([-1])}),
    "matrices that do not meet": ([node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((3, 3), np.float32)}),
    "a matrix of rank 0": ([node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((), np.float32)}),
    "a gemm of rank 4": ([node("Gemm", ["x", "w"], ["y"])], {"w": np.ones((8, 8), np.float32)}),
    "sums of other shapes": ([node("Add", ["x", "w"], ["y"])], {"w": np.ones((3, 7), np.float32)}),
    "a sum of whole numbers": ([node("Add", ["x", "w"], ["y"])], {"w": np.ones((8,), np.int32)}),
    "norm of five channels": (
        [node("BatchNormalization", ["x", "s", "s", "s", "s"], ["y"])], {"s": np.ones(5, np.float32)},
    ),
    "groups that do not divide": (
        [node("GroupNormalization", ["x", "s", "s"], ["y"], num_groups=3)], {"s": np.ones(3, np.float32)},
    ),
    "a layer norm of axis 99": (
        [node("LayerNormalization", ["x", "s"], ["y"], axis=99)], {"s": np.ones(8, np.float32)},
    ),
    "a clip whose bounds cross": (
        [node("Clip", ["x", "a", "b"], ["y"])], {"a": np.float32(2).reshape(()), "b": np.float32(1).reshape(())},
    ),
    "a clip by text": ([node("Clip", ["x", "a"], ["y"])], {"a": np.array(["a"])}),
    "a cast to an unknown type": ([node("Cast", ["x"], ["y"], to=99)], {}),
    "a cast to text": ([node("Cast", ["x"], ["y"], to=8)], {}),
    "a scale of zero": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        {"s": np.float32(0).reshape(()), "z": np.uint8(0).reshape(())},
    ),
    "a scale that is no number": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        {"s": np.float32(np.nan).reshape(()), "z": np.uint8(0).reshape(())},
    ),
    "scales of another axis": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=9), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        {"s": np.ones(5, np.float32), "z": np.zeros(5, np.uint8)},
    ),
    "a loop without a body": ([node("Loop", ["n", "", "x"], ["y"])], {"n": np.array(3)}),
    "an if without branches": ([node("If", ["t"], ["y"])], {"t": np.array(True)}),
    "a lstm of no size": ([node("LSTM", ["x", "w", "w"], ["y"])], {"w": np.ones((1, 4, 4), np.float32)}),
}  # fmt: skip


def _operator(nodes: list[Any], constants: dict[str, Any]) -> Callable[[Any], onnx.ModelProto]:
    return lambda path: net(nodes, constants, shape=MAP, opset=18 if "Group" in nodes[0].op_type else 17)


for _name, (_nodes, _constants) in OPERATORS.items():
    case(_name, *CLEAR)(_operator(_nodes, _constants))

# -- numbers that are none: they are refused by the name of what holds them

_NUMBERS = {"nan": np.nan, "infinity": np.inf, "minus infinity": -np.inf}
_HOLDERS: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "a filter": ([node("Conv", ["x", "w"], ["y"])], (4, 4, 3, 3)),
    "a matrix": ([node("MatMul", ["x", "w"], ["y"])], (8, 3)),
    "a normalisation": ([node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y"])], (4,)),
    "a factor": ([node("Mul", ["x", "w"], ["y"])], (1, 4, 1, 1)),
}


def _with_number(nodes: list[Any], shape: tuple[int, ...], bad: float, kind: str) -> Callable[[Any], onnx.ModelProto]:
    def make(path: Any) -> onnx.ModelProto:
        weight = np.ones(shape, np.float32)
        weight.flat[1] = bad
        if kind == "float":
            return net(nodes, {"w": weight}, shape=MAP)
        low = helper.make_tensor("low", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape, weight.astype(kind))
        cast = node("Cast", ["low"], ["w"], to=TensorProto.FLOAT)
        model = net([cast, *nodes], {}, shape=MAP)
        model.graph.initializer.append(low)
        return model

    return make


for _name, (_nodes, _shape) in _HOLDERS.items():
    for _what, _bad in _NUMBERS.items():
        for _kind in ("float", "float16", "float64"):
            case(f"{_what} in {_name} of {_kind}", REJECTED)(_with_number(_nodes, _shape, _bad, _kind))


@case("a variance below zero", *CLEAR)
def _variance(path: Any) -> onnx.ModelProto:
    constants: dict[str, Any] = {"s": np.ones(4, np.float32), "v": -np.ones(4, np.float32)}
    return net([node("BatchNormalization", ["x", "s", "s", "s", "v"], ["y"])], constants, shape=MAP)


# -- many axes

for _axes in (33, 64, 200, 5000):
    case(f"reshape to {_axes} axes", *CLEAR)(
        lambda path, axes=_axes: net(
            [node("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, 256, *[1] * (axes - 2)])}, shape=MAP
        )
    )
    case(f"an input of {_axes} axes", *CLEAR)(
        lambda path, axes=_axes: net([node("Relu", ["x"], ["y"])], {}, shape=("N", *[1] * (axes - 1)))
    )
    case(f"a weight of {_axes} axes", *CLEAR)(lambda path, axes=_axes: _many(axes))


def _many(axes: int) -> onnx.ModelProto:
    model = net([node("Reshape", ["w", "s"], ["v"]), node("Add", ["x", "v"], ["y"])], {"s": np.array([1])}, shape=MAP)
    model.graph.initializer.append(TensorProto(name="w", dims=[1] * axes, data_type=1, raw_data=bytes(4)))
    return model


# -- damage of models of other kinds


def _attention() -> bytes:
    nodes = [
        node("MatMul", ["x", "w"], ["q"]), node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1), node("MatMul", ["p", "x"], ["o"]),
        node("ReduceMean", ["o"], ["y"], axes=[1], keepdims=0),
    ]  # fmt: skip
    return bytes(net(nodes, {"w": np.ones((3, 3), np.float32) / 3}, shape=("N", 4, 3)).SerializeToString())


def _picture_net() -> bytes:
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[1] * 4, strides=[2, 2]), node("Relu", ["a"], ["c"]),
        node("GlobalAveragePool", ["c"], ["d"]), node("Flatten", ["d"], ["y"]),
    ]  # fmt: skip
    weights: dict[str, Any] = {"w": np.ones((4, 3, 3, 3), np.float32) / 9, "b": np.zeros(4, np.float32)}
    return bytes(net(nodes, weights, shape=("N", 3, 8, 8)).SerializeToString())


def _quantised() -> bytes:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "t", "u"], ["v"], axis=1), node("MatMul", ["d", "v"], ["y"]),
    ]  # fmt: skip
    constants: dict[str, Any] = {
        "s": np.array(0.1, np.float32), "z": np.array(3, np.uint8), "w": np.ones((4, 3), np.int8),
        "t": np.ones(3, np.float32), "u": np.zeros(3, np.int8),
    }  # fmt: skip
    return bytes(net(nodes, constants).SerializeToString())


def _flipped(data: bytes, seed: int) -> Callable[[Any], bytes]:
    def make(path: Any) -> bytes:
        rng, changed = np.random.default_rng(seed), bytearray(data)
        for _ in range(1 + seed % 4):
            changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
        return bytes(changed)

    return make


for _name, _data in (("attention", _attention()), ("pictures", _picture_net()), ("int8", _quantised())):
    for _seed in range(20):
        case(f"a flipped model of {_name} {_seed}", *CLEAR)(_flipped(_data, _seed))
    for _share in (0.2, 0.5, 0.8):
        case(f"a cut model of {_name} {_share}")(lambda path, data=_data, share=_share: data[: int(len(data) * share)])

# -- what stands beside a model or in its metadata

DEEP = "[" * 200_000
BESIDE: dict[str, tuple[str, bytes]] = {
    "a deep configuration": ("config.json", DEEP.encode()),
    "a deep processor": ("preprocessor_config.json", DEEP.encode()),
    "a processor of no object": ("preprocessor_config.json", b"[1, 2]"),
    "a processor of no text": ("preprocessor_config.json", b"\xff\xfe\x00"),
    "a processor of other types": (
        "preprocessor_config.json",
        b'{"image_processor_type": 7, "size": "big", "image_mean": {"a": 1}, "image_std": [0, 0, 0], "crop_size": -1}',
    ),
    "a processor of numbers without end": (
        "preprocessor_config.json",
        b'{"image_processor_type": "ViTImageProcessor", "size": 1e400, "image_mean": [1e999, 1, 1], "do_resize": 3}',
    ),
    "a timm configuration of other types": (
        "config.json", b'{"architecture": [], "pretrained_cfg": {"mean": "x", "input_size": [1e9], "crop_pct": "all"}}',
    ),
    "labels of other types": ("config.json", b'{"id2label": {"a": 1, "-5": null, "99999999999999999999": "x"}}'),
    "a million labels": ("config.json", b'{"id2label": {' + b",".join(b'"%d":"x"' % i for i in range(200_000)) + b"}}"),
}  # fmt: skip
SIDECARS: dict[str, bytes] = {
    "a deep sidecar": b"a = " + DEEP.encode(),
    "a sidecar of no text": b"\xff\xfe\xfd",
    "a sidecar of json": b'{"mean": [1]}',
    "a sidecar of wrong types": b'mean = "grey"\nsize = -3\n',
    "a sidecar of unknown fields": b"colour_of_the_sky = 3\n",
    "a sidecar of no numbers": b"mean = [nan, inf, 0.5]\nstd = [0, 0, 0]\n",
    "a sidecar of a size without end": b"size = 99999999999999999999\n",
    "a sidecar with labels elsewhere": b'labels = "/etc/passwd"\n',
    "a sidecar with labels above": b'labels = "../../secret.txt"\n',
    "a sidecar with labels that are missing": b'labels = "nobody.txt"\n',
    "an empty sidecar": b"",
}


def _with_file(name: str, data: bytes) -> Callable[[Any], bytes]:
    def make(path: Any) -> bytes:
        path.with_name(name).write_bytes(data)
        return _picture_net()

    return make


for _name, (_file, _data) in BESIDE.items():
    case(_name, *CLEAR)(_with_file(_file, _data))
for _name, _data in SIDECARS.items():
    case(_name, *CLEAR)(lambda path, data=_data: _with_file(f"{path.stem}.prep.toml", data)(path))


def _special(kind: str, name: str) -> Callable[[Any], bytes]:
    """A pipe, a device, a folder or a circle of links in the place of a file beside the model."""

    def make(path: Any) -> bytes:
        beside = path.with_name(name or f"{path.stem}.prep.toml")
        if kind == "pipe":
            import os

            os.mkfifo(beside)
        elif kind == "folder":
            beside.mkdir()
        else:
            beside.symlink_to({"device": "/dev/zero", "circle": beside.name, "hole": "nobody"}[kind])
        return _picture_net()

    return make


for _kind in ("pipe", "folder", "device", "circle", "hole"):
    for _file in ("", "config.json", "preprocessor_config.json"):
        case(f"a {_kind} for {_file or 'a sidecar'}", *CLEAR)(_special(_kind, _file))

METADATA = {
    "metadata of deep json": {"onnxlrp.prep": DEEP},
    "metadata of deep objects": {"onnxlrp.prep": '{"a":' * 100_000},
    "metadata of no json": {"onnxlrp.prep": "{size: 3}"},
    "metadata of a number": {"onnxlrp.prep": "7"},
    "metadata of no numbers": {"onnxlrp.prep": '{"mean": [NaN, Infinity, 1e999]}'},
    "metadata of five megabytes": {"onnxlrp.prep": '{"a": "' + "x" * 5_000_000 + '"}'},
    "labels of a megabyte": {"labels": "x" * 1_000_000},
    "names of ultralytics that are no literal": {"names": "__import__('os').system('true')", "task": "classify"},
    "names of ultralytics that are deep": {"names": "{" * 50_000, "task": "classify"},
    "feature names of other types": {"feature_names": '{"a": 1}'},
}


def _told(entries: dict[str, str]) -> Callable[[Any], onnx.ModelProto]:
    def make(path: Any) -> onnx.ModelProto:
        model = onnx.load_from_string(_picture_net())
        helper.set_model_props(model, entries)
        return model

    return make


for _name, _entries in METADATA.items():
    case(_name, *CLEAR)(_told(_entries))


@case("a chain of five thousand layers", *CLEAR)
def _long(path: Any) -> onnx.ModelProto:
    names = ["x", *(f"t{i}" for i in range(4999)), "y"]
    ops = ("Relu", "Sigmoid", "Tanh", "Neg")
    return net([node(ops[i % 4], [names[i]], [names[i + 1]]) for i in range(5000)], {}, shape=("N", 4))


@case("a weight of strings for a filter", *CLEAR)
def _strings(path: Any) -> onnx.ModelProto:
    model = net([node("Conv", ["x", "w"], ["y"])], {}, shape=MAP)
    model.graph.initializer.append(numpy_helper.from_array(np.array([["a"]], object), "w"))
    return model
