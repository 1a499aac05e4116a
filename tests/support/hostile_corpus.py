"""Hostile and broken files: models, data files, pictures. hostile_operators and hostile_pictures add more.

Every case names the exit codes that are right for it: 3 where the file is at fault, 4 where a sound file asks for what
cannot be answered. Damage at random (flipped bits) may leave a sound file: 0 is right there too.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

REJECTED, UNANSWERABLE = 3, 4
EVIL = "a\x1b[31mred\x07\r\nb\u202egnp.exe\u200b\u2066\x9b2J"


@dataclass(frozen=True)
class Case:
    """A file, the exit codes that are right for it, and flags beside it. A picture goes to `explain`."""

    path: Path
    codes: tuple[int, ...] = (REJECTED,)
    flags: tuple[str, ...] = ()

    @property
    def picture(self) -> bool:
        return self.path.parent.name == "pictures"


Written = bytes | onnx.ModelProto
_MAKERS: dict[str, tuple[Callable[[Path], Written | None], tuple[int, ...], tuple[str, ...], str]] = {}


def case(name: str, *codes: int, flags: tuple[str, ...] = (), folder: str = "models") -> Callable[..., Any]:
    """Register what returns the bytes of a file, or writes it itself."""

    def register(make: Callable[[Path], Written | None]) -> Callable[[Path], Written | None]:
        assert name not in _MAKERS, name
        _MAKERS[name] = make, codes or (REJECTED,), flags, folder
        return make

    return register


def build(folder: Path, wanted: Collection[str] | None = None) -> dict[str, Case]:
    """Write the files of these names, all without names, each in a folder of its own."""
    cases = {}
    for name, (make, codes, flags, kind) in _MAKERS.items():
        if wanted is not None and name not in wanted:
            continue
        home = folder / name.replace(" ", "_") / kind
        home.mkdir(parents=True)
        path = home / (f"{name.split('.')[0].replace(' ', '_')}.onnx" if kind == "models" else name.replace(" ", "_"))
        made = make(path)
        if made is not None:
            path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        cases[name] = Case(path, codes, flags)
    return cases


# -- sound beginnings


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, **attributes)


def net(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: tuple[int | str, ...] = ("N", 4),
    output: str = "y",
    opset: int = 17,
    **more: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more)


def sound() -> onnx.ModelProto:
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
    return net(
        [node("MatMul", ["x", "w"], ["h"], name="dense"), node("Relu", ["h"], ["y"], name="relu")], {"w": weight}
    )


def changed(change: Callable[[onnx.ModelProto], None]) -> onnx.ModelProto:
    model = sound()
    change(model)
    return model


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


# -- other files

OTHER = {
    "empty": b"",
    "zero bytes": bytes(4096),
    "ff bytes": b"\xff" * 4096,
    "text": b"hello, this is text\n" * 20,
    "json": b'{"model": [1, 2, 3]}',
    "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 132\n",
    "web page": b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
    "web page with a mark": b"\xef\xbb\xbf  <html lang=en>",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
    "zip of torch": b"PK\x03\x04" + bytes(60),
    "pickle 2": b"\x80\x02}q\x00." + bytes(20),
    "pickle 4": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00." + bytes(20),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "safetensors": (64).to_bytes(8, "little") + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    "gguf": b"GGUF\x03" + bytes(60),
    "tar": bytes(257) + b"ustar\x0000" + bytes(300),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(60),
    "python source": b"import torch\nmodel = torch.load('x')\n",
    "ir version alone": b"\x08\x08",
}
for _name, _bytes in OTHER.items():
    case(_name)(lambda path, data=_bytes: data)

# -- damage


def _cut(share: float) -> Callable[[Path], bytes]:
    data = sound().SerializeToString()
    return lambda path: data[: max(1, int(len(data) * share))]


for _share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
    case(f"cut at {_share}")(_cut(_share))


def _flipped(seed: int) -> Callable[[Path], bytes]:
    def make(path: Path) -> bytes:
        data = bytearray(sound().SerializeToString())
        rng = np.random.default_rng(seed)
        for _ in range(1 + seed % 3):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        return bytes(data)

    return make


for _seed in range(60):
    case(f"flipped {_seed}", 0, REJECTED, UNANSWERABLE)(_flipped(_seed))

# -- the wire format

WIRE = {
    "a length beyond the end": b"\x08\x08" + b"\x3a\xff\xff\xff\xff\x0f" + b"abc",
    "an endless number": b"\x08\x08" + b"\xff" * 40,
    "groups": b"\x08\x08" + b"\x9b\x01" * 500_000,
    "a million empty nodes": b"\x08\x08" + field(7, b"\x0a\x00" * 1_100_000),
    "five million fields": b"\x08\x08" * 5_000_000,
    "unknown fields": b"\x08\x08" + field(999, bytes(1000)) + field(7, field(998, bytes(100))),
    "an unknown message a thousand deep": b"\x08\x08" + field(7, b"\x0a\x00"),
}
for _name, _bytes in WIRE.items():
    case(_name)(lambda path, data=_bytes: data)


@case("if in if 1000 deep")
def _if_in_if(path: Path) -> bytes:
    graph = b""
    for _ in range(1000):
        attribute = field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, attribute))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


@case("if in if 14 deep")
def _if_in_if_14(path: Path) -> onnx.ModelProto:
    inner = helper.make_graph([node("Identity", ["x"], ["o0"])], "b", [], [onnx.ValueInfoProto(name="o0")])
    for n in range(1, 14):
        branch = node("If", ["c"], [f"o{n}"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([branch], "b", [], [onnx.ValueInfoProto(name=f"o{n}")])
    return net(list(inner.node), {"c": np.array(True)}, output=inner.output[0].name)


@case("types in types")
def _types(path: Path) -> bytes:
    kind = b""
    for _ in range(500):
        kind = field(4, field(1, kind))
    value = field(1, b"x") + field(2, kind)
    return b"\x08\x08" + field(7, field(11, value)) + field(8, b"\x10\x11")


# -- weights

TENSORS = {
    "huge dims without data": {"dims": [1 << 20, 1 << 20], "data_type": 1, "raw_data": b""},
    "negative dims": {"dims": [-4, 3], "data_type": 1, "raw_data": bytes(48)},
    "dims whose product overflows": {"dims": [1 << 32, 1 << 32], "data_type": 1, "raw_data": b""},
    "dims that overflow to the right size": {"dims": [(1 << 62) + 3, 4], "data_type": 1, "raw_data": bytes(48)},
    "weights too short": {"dims": [4, 3], "data_type": 1, "raw_data": bytes(44)},
    "weights too long": {"dims": [4, 3], "data_type": 1, "raw_data": bytes(52)},
    "no weights": {"dims": [4, 3], "data_type": 1},
    "too few numbers": {"dims": [4, 3], "data_type": 1, "float_data": [1.0] * 11},
    "numbers in the wrong field": {"dims": [4, 3], "data_type": 1, "int64_data": [1] * 12},
    "an unknown type": {"dims": [4, 3], "data_type": 99, "raw_data": bytes(48)},
    "no type": {"dims": [4, 3], "data_type": 0, "raw_data": bytes(48)},
    "text as weights": {"dims": [4, 3], "data_type": 8, "string_data": [b"a"] * 12},
    "four bits too short": {"dims": [4, 3], "data_type": 22, "raw_data": bytes(5)},
    "a thousand dims": {"dims": [2] * 1000, "data_type": 1, "raw_data": bytes(48)},
}


def _tensor(fields: dict[str, Any]) -> Callable[[Path], onnx.ModelProto]:
    def make(path: Path) -> onnx.ModelProto:
        return changed(lambda m: m.graph.initializer[0].CopyFrom(TensorProto(name="w", **fields)))

    return make


for _name, _fields in TENSORS.items():
    case(_name)(_tensor(_fields))
case("a constant node too short")(
    lambda path: net(
        [node("Constant", [], ["w"], value=TensorProto(dims=[1 << 40], data_type=1)), node("Add", ["x", "w"], ["y"])]
    )
)


@case("sparse weights", UNANSWERABLE)
def _sparse(path: Path) -> onnx.ModelProto:
    values = helper.make_tensor("w", 1, [1], [1.0])
    indices = helper.make_tensor("i", 7, [1], [0])
    return changed(lambda m: m.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [1 << 40])))


@case("a sparse constant", UNANSWERABLE)
def _sparse_constant(path: Path) -> onnx.ModelProto:
    values, indices = helper.make_tensor("w", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [0])
    sparse = helper.make_sparse_tensor(values, indices, [1 << 40])
    return net([node("Constant", [], ["w"], sparse_value=sparse), node("Add", ["x", "w"], ["y"])])


# -- the graph

GRAPHS: dict[str, tuple[tuple[int, ...], list[onnx.NodeProto]]] = {
    "a cycle": ((3,), [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]),
    "a self loop": ((3,), [node("Add", ["x", "y"], ["y"])]),
    "an undefined tensor": ((3,), [node("Add", ["x", "nobody"], ["y"])]),
    "an output nobody writes": ((3,), [node("Relu", ["x"], ["z"])]),
    "written twice": ((3,), [node("Relu", ["x"], ["y"]), node("Tanh", ["x"], ["y"])]),
    "an input is written": ((3,), [node("Relu", ["x"], ["x"]), node("Relu", ["x"], ["y"])]),
    "no operator": ((3,), [node("", ["x"], ["y"])]),
    "too few operands": ((3,), [node("Conv", [], ["y"])]),
    "too many operands": ((3,), [node("Relu", ["x"] * 50, ["y"])]),
    "no results": ((3,), [node("Relu", ["x"], []), node("Relu", ["x"], ["y"])]),
    "an unknown operator": ((4,), [node("Frobnicate", ["x"], ["y"])]),
    "an unknown domain": ((3, 4), [node("Op", ["x"], ["y"], domain="org.example")]),
    "ten thousand attributes": ((3,), [node("Relu", ["x"], ["y"], **{f"a{n}": n for n in range(10_000)})]),
    "a huge attribute": ((3, 4), [node("Transpose", ["x"], ["y"], perm=[0] * 100_000)]),
    "a name of a megabyte": ((3,), [node("Relu", ["x"], ["y"], name="/a" * 500_000)]),
    "no nodes": ((3,), []),
}  # fmt: skip
for _name, (_codes, _nodes) in GRAPHS.items():
    case(_name, *_codes)(lambda path, nodes=_nodes: net(nodes))


@case("a hundred thousand nodes")
def _many(path: Path) -> onnx.ModelProto:
    nodes = [node("Identity", ["x" if n == 0 else f"t{n}"], [f"t{n + 1}"]) for n in range(100_000)]
    return net([*nodes, node("Relu", ["t100000"], ["y"])])


CHANGES: dict[str, tuple[tuple[int, ...], Callable[[onnx.ModelProto], Any]]] = {
    "two weights of one name": ((3,), lambda m: m.graph.initializer.append(m.graph.initializer[0])),
    "two inputs of one name": ((3,), lambda m: m.graph.input.append(m.graph.input[0])),
    "no inputs": ((3,), lambda m: m.graph.ClearField("input")),
    "no outputs": ((3,), lambda m: m.graph.ClearField("output")),
    "no opset": ((3,), lambda m: m.ClearField("opset_import")),
    "opset 0": ((3,), lambda m: setattr(m.opset_import[0], "version", 0)),
    "opset minus one": ((3,), lambda m: setattr(m.opset_import[0], "version", -1)),
    "opset without end": ((3,), lambda m: setattr(m.opset_import[0], "version", (1 << 62) + 1)),
    "opset 900": ((3, 4), lambda m: setattr(m.opset_import[0], "version", 900)),
    "ir version without end": ((3,), lambda m: setattr(m, "ir_version", 1 << 40)),
    "two opsets": ((3,), lambda m: m.opset_import.append(helper.make_opsetid("", 9))),
    "an input without a shape": ((3,), lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")),
    "an input of an unknown type": ((3,), lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 77)),
    "an input of petabytes": (
        (3,), lambda m: m.graph.input[0].type.tensor_type.shape.dim.add().CopyFrom(
            onnx.TensorShapeProto.Dimension(dim_value=1 << 52)),
    ),
    "an input that is a sequence": (
        (4,), lambda m: m.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", 1, ["N", 4])),
    ),
    "an input of text": ((3, 4), lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 8)),
    "an attribute without a type": (
        (3,), lambda m: m.graph.node[0].attribute.add().CopyFrom(onnx.AttributeProto(name="a", i=1)),
    ),
    "a graph in a weight's place": (
        (3, 4), lambda m: m.graph.node[1].attribute.add().CopyFrom(
            onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.GRAPH)),
    ),
    "evil names": ((3, 4), lambda m: [
        setattr(m, "producer_name", EVIL), setattr(m.graph, "name", EVIL),
        setattr(m.graph.node[0], "name", EVIL), setattr(m.graph.node[1], "op_type", f"Relu{EVIL}"),
    ]),
    "an evil operand": ((3,), lambda m: m.graph.node[0].input.__setitem__(1, EVIL)),
    "an evil weight": ((3,), lambda m: [
        setattr(m.graph.initializer[0], "name", EVIL), m.graph.node[0].input.__setitem__(1, EVIL),
        setattr(m.graph.initializer[0], "raw_data", b"1"),
    ]),
    "evil domains": ((3, 4), lambda m: [
        m.opset_import.append(helper.make_opsetid(EVIL, 1)), setattr(m.graph.node[1], "domain", EVIL),
    ]),
    "an evil input": ((0,), lambda m: [
        setattr(m.graph.input[0], "name", EVIL), m.graph.node[0].input.__setitem__(0, EVIL),
        setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_param", EVIL),
    ]),
    "an evil length that nobody tells": ((3, 4), lambda m: [
        m.graph.node.insert(0, helper.make_node("Neg", ["x"], ["negated"])),
        m.graph.node[1].input.__setitem__(0, "negated"),
        setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_param", EVIL),
    ]),
    "evil names that are sound": ((0,), lambda m: [
        setattr(m, "producer_name", EVIL), setattr(m.graph.node[0], "name", EVIL),
        setattr(m.graph.input[0], "name", EVIL), m.graph.node[0].input.__setitem__(0, EVIL),
        setattr(m.graph.output[0], "name", EVIL + "y"), m.graph.node[1].output.__setitem__(0, EVIL + "y"),
        helper.set_model_props(m, {EVIL: EVIL, "labels": EVIL + ",b,c"}),
    ]),
    "evil metadata": ((0, 3, 4), lambda m: helper.set_model_props(
        m, {"onnxlrp.prep": '{"size": ' + "[" * 100_000, "labels": "[" * 100_000, "names": "{" + "'a':" * 9999})),
    "evil scopes": ((0,), lambda m: m.graph.node[0].metadata_props.add().CopyFrom(
        onnx.StringStringEntryProto(key="pkg.torch.onnx.name_scopes", value="-" * 3_000_000 + "1"))),
    "scopes in scopes": ((0,), lambda m: m.graph.node[0].metadata_props.add().CopyFrom(
        onnx.StringStringEntryProto(key="pkg.torch.onnx.name_scopes", value="(" * 90 + "[" * 3_000_000))),
}  # fmt: skip
for _name, (_codes, _change) in CHANGES.items():
    case(_name, *_codes)(lambda path, change=_change: changed(change))


@case("names that are no text")
def _no_text(path: Path) -> bytes:
    return sound().SerializeToString().replace(b"dense", b"den\xff\xfe")


def _functions(*calls: tuple[str, list[str]]) -> onnx.ModelProto:
    model = net([node("f0", ["x"], ["y"], domain="local")])
    model.opset_import.append(helper.make_opsetid("local", 1))
    for name, called in calls:
        chain = ["a", *(f"{name}_{n}" for n in range(len(called) - 1)), "b"]
        body = [
            node(op, [chain[n]], [chain[n + 1]], domain="local" if op.startswith("f") else "")
            for n, op in enumerate(called)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], body, imports))
    return model


case("a function calls itself")(lambda path: _functions(("f0", ["f0"])))
case("functions call in a circle")(lambda path: _functions(("f0", ["f1"]), ("f1", ["Relu", "f0"])))
case("a billion laughs")(
    lambda path: _functions(*((f"f{n}", [f"f{n + 1}"] * 10) for n in range(12)), ("f12", ["Relu"]))
)
case("functions three hundred deep", REJECTED, UNANSWERABLE)(
    lambda path: _functions(*((f"f{n}", [f"f{n + 1}"]) for n in range(300)), ("f300", ["Relu"]))
)
case("two functions of one name")(lambda path: _functions(("f0", ["Relu"]), ("f0", ["Relu"])))

# -- what folds to terabytes

_MANY = np.array([1 << 20, 1 << 22], np.int64)
BOMBS = {
    "constant of shape bomb": ([node("ConstantOfShape", ["s"], ["c"])], {"s": _MANY}),
    "expand bomb": ([node("Expand", ["o", "s"], ["c"])], {"o": np.ones(1, np.float32), "s": _MANY}),
    "tile bomb": (
        [node("Tile", ["o", "s"], ["c"])], {"o": np.ones((1, 1), np.float32), "s": _MANY},
    ),
    "range bomb": (
        [node("Range", ["a", "b", "d"], ["c"])],
        {"a": np.float32(0).reshape(()), "b": np.float32(1e13).reshape(()), "d": np.float32(1).reshape(())},
    ),
    "pad bomb": (
        [node("Pad", ["o", "p"], ["c"])], {"o": np.ones(1, np.float32), "p": np.array([0, 1 << 42], np.int64)},
    ),
    "hidden shape bomb": (
        [node("ReduceProd", ["s"], ["p"], keepdims=1), node("ConstantOfShape", ["p"], ["c"])], {"s": _MANY},
    ),
    "hidden in floats bomb": (
        [node("Exp", ["e"], ["p"]), node("Cast", ["p"], ["q"], to=7), node("ConstantOfShape", ["q"], ["c"])],
        {"e": np.array([29.0], np.float32)},
    ),
    "outer product bomb": (
        [node("Mul", ["u", "v"], ["m"]), node("ReduceSum", ["m"], ["c"], keepdims=0)],
        {"u": np.ones((1_000_000, 1, 1), np.float32), "v": np.ones((1_000_000, 1), np.float32)},
    ),
    "concat bomb": (
        [node("Concat", [f"d{n}"] * 2, [f"d{n + 1}"], axis=0) for n in range(42)]
        + [node("ReduceSum", ["d42"], ["c"], keepdims=0)], {"d0": np.ones(4, np.float32)},
    ),
    "nonzero bomb": (
        [node("ConstantOfShape", ["s"], ["o"]), node("NonZero", ["o"], ["n"]), node("Cast", ["n"], ["m"], to=1),
         node("ReduceSum", ["m"], ["c"], keepdims=0)], {"s": _MANY},
    ),
    "resize bomb": (
        [node("Resize", ["o", "", "z"], ["m"]), node("ReduceSum", ["m"], ["c"], keepdims=0)],
        {"o": np.ones((1, 1, 2, 2), np.float32), "z": np.array([1, 1, 1e6, 1e6], np.float32)},
    ),
    "one hot bomb": (
        [node("OneHot", ["i", "n", "z"], ["m"]), node("ReduceSum", ["m"], ["c"], keepdims=0)],
        {"i": np.zeros(4000, np.int64), "n": np.array(1 << 40), "z": np.array([0, 1], np.float32)},
    ),
    "eye bomb": (
        [node("ConstantOfShape", ["s"], ["o"]), node("EyeLike", ["o"], ["m"]),
         node("ReduceSum", ["m"], ["c"], keepdims=0)], {"s": np.array([1 << 21, 1 << 21])},
    ),
    "window bomb": (
        [node("HannWindow", ["n"], ["m"]), node("ReduceSum", ["m"], ["c"], keepdims=0)], {"n": np.array(1 << 42)},
    ),
}  # fmt: skip
ODD = {
    "a window of other dimensions": (
        (3,), [node("Conv", ["x", "w"], ["y"], strides=[1, 1, 1])], {"w": np.ones((4, 4, 3, 3), np.float32)},
    ),
    "an output that is a constant": ((4,), [node("Identity", ["w"], ["y"]), node("Relu", ["x"], ["z"])],
                                     {"w": np.ones((1, 4), np.float32)}),
    "a dimension of zero": ((3, 4), [node("Reshape", ["x", "s"], ["y"])], {"s": np.array([0, 0, 4, 8])}),
}  # fmt: skip
for _name, (_codes, _nodes, _constants) in ODD.items():
    case(_name, *_codes)(lambda path, nodes=_nodes, constants=_constants: net(nodes, constants, shape=("N", 4, 8, 8)))
for _name, (_nodes, _constants) in BOMBS.items():
    case(_name, REJECTED, *((UNANSWERABLE,) if "hidden" in _name or "window" in _name else ()))(
        lambda path, nodes=_nodes, constants=_constants: net([*nodes, node("Add", ["x", "c"], ["y"])], constants)
    )
case("activations of terabytes")(
    lambda path: net([node("Tile", ["x", "r"], ["t"]), node("Relu", ["t"], ["y"])], {"r": np.array([1, 1 << 40])})
)
case("two gigabytes at a limit of one", flags=("--max-memory", "1G"))(
    lambda path: net([node("Tile", ["x", "r"], ["t"]), node("Relu", ["t"], ["y"])], {"r": np.array([1, 1 << 27])})
)
case("a constant in a branch", REJECTED, UNANSWERABLE)(
    lambda path: net(
        [
            node("If", ["t"], ["c"], then_branch=_branch(), else_branch=_branch()),
            node("Add", ["x", "c"], ["y"]),
        ],
        {"t": np.array(True)},
    )
)
case("a loop that never ends", REJECTED, UNANSWERABLE)(
    lambda path: net(
        [node("Loop", ["n", "t", "z"], ["c"], body=_loop()), node("Add", ["x", "c"], ["y"])],
        {"t": np.array(True), "n": np.array(1 << 62), "z": np.zeros(4, np.float32)},
    )
)


def _branch() -> onnx.GraphProto:
    shape = node("Constant", [], ["s"], value=numpy_helper.from_array(_MANY))
    return helper.make_graph(
        [shape, node("ConstantOfShape", ["s"], ["o"]), node("ReduceSum", ["o"], ["b"], keepdims=0)],
        "branch", [], [helper.make_tensor_value_info("b", 1, [])],
    )  # fmt: skip


def _loop() -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    return helper.make_graph(
        [node("Identity", ["cond"], ["again"]), node("Add", ["state", "state"], ["more"])], "loop",
        [value("i", 7, []), value("cond", 9, []), value("state", 1, [4])],
        [value("again", 9, []), value("more", 1, [4])],
    )  # fmt: skip


# -- weights in other files


def _external(**entries: object) -> onnx.ModelProto:
    model = sound()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "0", "length": "48", **entries}.items():
        if value is not None:
            weight.external_data.add(key=key, value=str(value))
    return model


def _data(path: Path, length: int = 48) -> Path:
    file = path.with_name("w.bin")
    file.write_bytes(bytes(length))
    return file


EXTERNAL: dict[str, dict[str, Any]] = {
    "data at an absolute path": {"location": "/etc/passwd"},
    "data above the folder": {"location": "../../../../../../etc/passwd"},
    "data above the folder and back": {"location": "../models/w.bin"},
    "data at a windows path": {"location": "C:\\Windows\\win.ini"},
    "data above a windows folder": {"location": "..\\w.bin"},
    "data without a location": {"location": ""},
    "data without any entry": {"location": None, "offset": None, "length": None},
    "data in memory": {"location": "*/_ORT_MEM_ADDR_/*", "offset": 0x7F0000000000},
    "data at a name with a zero": {"location": "w\0.bin"},
    "data that is the folder": {"location": "."},
    "data at an evil name": {"location": EVIL},
    "data that is missing": {"location": "absent.bin"},
    "data beyond the end": {"offset": 16},
    "data far beyond the end": {"offset": 1 << 62},
    "data at a negative offset": {"offset": -16},
    "data of negative length": {"length": -48},
    "data of another length": {"length": 44},
    "data at no number": {"offset": "0x10"},
    "data at a number without end": {"offset": "9" * 10_000},
    "data in a device": {"location": "null"},
}


def _outside(entries: dict[str, Any]) -> Callable[[Path], onnx.ModelProto]:
    def make(path: Path) -> onnx.ModelProto:
        _data(path)
        return _external(**entries)

    return make


for _name, _entries in EXTERNAL.items():
    case(_name)(_outside(_entries))


@case("data in a link out of the folder")
def _link_out(path: Path) -> onnx.ModelProto:
    outside = path.parent.parent / "secret.bin"
    outside.write_bytes(bytes(48))
    path.with_name("w.bin").symlink_to(outside)
    return _external()


@case("data in a hard link")
def _hard(path: Path) -> onnx.ModelProto:
    os.link(_data(path), path.parent.parent / "other.bin")
    return _external()


@case("data in a pipe")
def _pipe(path: Path) -> onnx.ModelProto:
    os.mkfifo(path.with_name("w.bin"))
    return _external()


@case("data in a linked device")
def _device(path: Path) -> onnx.ModelProto:
    path.with_name("w.bin").symlink_to("/dev/zero")
    return _external()


@case("data in a circle of links")
def _circle(path: Path) -> onnx.ModelProto:
    path.with_name("w.bin").symlink_to("w.bin")
    return _external()


@case("data that overlaps")
def _overlap(path: Path) -> onnx.ModelProto:
    _data(path, 96)
    model = _external()
    other = model.graph.initializer.add()
    other.CopyFrom(model.graph.initializer[0])
    other.name = "v"
    next(e for e in other.external_data if e.key == "offset").value = "16"
    return model


@case("data of a terabyte", flags=("--max-memory", "100G"))
def _sparse_file(path: Path) -> onnx.ModelProto:
    with path.with_name("w.bin").open("wb") as file:
        file.truncate(1 << 40)
    model = _external(length=1 << 40)
    model.graph.initializer[0].dims[:] = [4, 1 << 36]
    return model


@case("data of a branch")
def _nested(path: Path) -> onnx.ModelProto:
    _data(path)
    stored = _external().graph.initializer[0]
    branch = helper.make_graph(
        [node("Identity", ["w"], ["b"])], "branch", [], [helper.make_tensor_value_info("b", 1, [4, 3])]
    )
    branch.initializer.append(stored)
    whole = [node("If", ["t"], ["c"], then_branch=branch, else_branch=branch), node("MatMul", ["x", "c"], ["y"])]
    return net(whole, {"t": np.array(True)})


@case("the model is a pipe")
def _model_pipe(path: Path) -> None:
    os.mkfifo(path)


@case("the model is a device")
def _model_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@case("the model is a folder")
def _model_folder(path: Path) -> None:
    path.mkdir()


@case("a model of three gigabytes")
def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"\x08\x08")
        file.truncate(3 << 30)


# -- pictures


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int, height: int, *chunks: bytes, depth: int = 8, color: int = 0) -> bytes:
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, color, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


_PIXELS = chunk(b"IDAT", zlib.compress(bytes(29 * 28)))
PICTURES = {
    "huge.png": png(60_000, 60_000, _PIXELS),
    "no_pixels.png": png(0, 28, _PIXELS),
    "cut.png": png(28, 28, _PIXELS)[:45],
    "no_data.png": png(28, 28),
    "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n(%stdin) (r) file\n",
    "document.pdf": b"%PDF-1.4\n1 0 obj<<>>endobj\n",
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28"/>',
    "medical.dcm": bytes(128) + b"DICM" + bytes(64),
    "photoshop.psd": b"8BPS\0\x01" + bytes(64),
    "windows.ico": b"\0\0\x01\0\x01\0\x1c\x1c" + bytes(64),
    "truevision.tga": b"\0\0\x02" + bytes(9) + b"\x1c\0\x1c\0\x18\0" + bytes(28 * 28 * 3),
    "metafile.wmf": b"\xd7\xcd\xc6\x9a" + bytes(64),
    "huge.ppm": b"P6 60000 60000 255\n" + bytes(100),
    "huge.bmp": b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0\0\0\x01\0\0\0\x01\0\x01\0\x18\0" + bytes(24),
    "huge.gif": b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "empty.jpg": b"",
    "web.jpg": b"<!DOCTYPE html><html></html>",
    "pointer.jpg": OTHER["git lfs pointer"],
    "pickle.npy": b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 60 + b"\n",
    "huge.npy": b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    + b" " * 47 + b"\n",
}  # fmt: skip
for _name, _data_of in PICTURES.items():
    case(_name, folder="pictures")(lambda path, data=_data_of: data)


def zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


# Seconds to compress, so made when they are asked for.
PICTURE_BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.png": lambda: png(50_000, 50_000, chunk(b"IDAT", zeros(50_000 * 600))),
    "text_bomb.png": lambda: png(28, 28, chunk(b"zTXt", b"k\0\0" + zeros(200 << 20)), _PIXELS),
    "colour_bomb.png": lambda: png(28, 28, chunk(b"iCCP", b"k\0\0" + zeros(200 << 20)), _PIXELS),
}
for _name, _bomb in PICTURE_BOMBS.items():
    case(_name, folder="pictures")(lambda path, bomb=_bomb: bomb())


@case("cut.jpg", folder="pictures")
def _jpeg(path: Path) -> bytes:
    return saved("JPEG")[:300]


@case("cut.webp", folder="pictures")
def _webp(path: Path) -> bytes:
    return saved("WEBP")[:200]


@case("cut.tiff", folder="pictures")
def _tiff(path: Path) -> bytes:
    return saved("TIFF")[:200]


@case("animated.gif", 0, folder="pictures")
def _animated(path: Path) -> bytes:
    return saved("GIF", frames=300)


@case("pipe.png", folder="pictures")
def _picture_pipe(path: Path) -> None:
    os.mkfifo(path)


def saved(kind: str, frames: int = 1) -> bytes:
    import io

    from PIL import Image

    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(frames)]
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(buffer, kind, **more)
    return buffer.getvalue()


def names() -> list[str]:
    return list(_MAKERS)


def codes() -> dict[str, tuple[int, ...]]:
    """The exit codes that are right for each file."""
    return {name: maker[1] for name, maker in _MAKERS.items()}
