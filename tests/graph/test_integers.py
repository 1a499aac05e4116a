"""Operators on integers, one by one against onnxruntime, the planted mistakes that `verify` must find, and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.errors import CheckFailed, UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import model, node, values

KINDS = {"uint8": np.uint8, "int8": np.int8}
IMAGE, ROWS, TOKENS = ("N", 4, 8, 8), ("N", 8), ("N", 6, 8)
# What no quantised operator may leave behind.
INTEGER = ("QLinear", "QGemm", "Integer", "DynamicQuantizeMatMul")


def microsoft(op: Any, inputs: Any, outputs: Any = ("q",), **attributes: Any) -> Any:
    return node(op, list(inputs), list(outputs), name=f"the{op}", domain="com.microsoft", **attributes)


def standard(op: Any, inputs: Any, outputs: Any = ("q",), **attributes: Any) -> Any:
    return node(op, list(inputs), list(outputs), name=f"the{op}", **attributes)


def of(*nodes: Any, constants: Any, shape: Any = IMAGE, opset: int = 17, **options: Any) -> Any:
    used = {name for n in nodes for name in n.input}
    source = model(list(nodes), {k: v for k, v in constants.items() if k in used}, shape=shape, opset=opset, **options)
    source.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return source


def integers(*shape: Any, kind: str = "int8", seed: int = 0) -> Any:
    """Those with a sign in 7 bits: where a CPU has no VNNI, onnxruntime's sums of two products of 8 saturate."""
    low, high = (0, 255) if kind == "uint8" else (-64, 63)
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(kind)


def constants(x: str = "uint8", w: str = "int8") -> dict[str, Any]:
    """Scales and zero points s*, z* of x, of weights for each channel or one, of a second activation and a result."""
    middle = {"uint8": 128, "int8": 0}
    return {
        "sx": np.array(0.031, "f"), "zx": np.array(middle[x] + 7, x),
        "sz": np.array(0.017, "f"), "zz": np.array(middle[x] - 9, x),
        "sy": np.array(0.19, "f"), "zy": np.array(middle[x] + 3, x),
        "sg": np.array(1 / 256, "f"), "zg": np.array(np.iinfo(x).min, x),
        "sw": np.array(0.013, "f"), "zw": np.array(middle[w], w),
        "s6": np.linspace(0.004, 0.02, 6).astype("f"), "z6": np.full(6, middle[w], w),
        "w": integers(6, 4, 3, 3, kind=w), "m": integers(8, 6, kind=w), "t": integers(6, 8, kind=w),
        "b": np.arange(-900, 900, 300).astype(np.int32), "f": values(6),
        "stretch": np.array(2.5, "f"), "off": np.array(-0.3, "f"), "half": np.array(0.5, "f"),
        "sel": np.array([True, False] * 4),
    }  # fmt: skip


IN, BACK = node("QuantizeLinear", ["x", "sx", "zx"], ["i"]), node("DequantizeLinear", ["q", "sy", "zy"], ["y"])
GATE = node("DequantizeLinear", ["q", "sg", "zg"], ["y"])
SECOND = [node("Mul", ["x", "half"], ["h"]), node("QuantizeLinear", ["h", "sz", "zz"], ["j"])]
X, Y, Z, G = ["i", "sx", "zx"], ["sy", "zy"], ["j", "sz", "zz"], ["sg", "zg"]
ONE, EACH = ["sw", "zw"], ["s6", "z6"]
# Each case: the nodes, the input's shape, the float operator that stands for it.
STATIC = {
    "conv": ([IN, standard("QLinearConv", [*X, "w", *ONE, *Y]), BACK], IMAGE, "Conv"),
    "conv by channel, bias, padding": (
        [IN, standard("QLinearConv", [*X, "w", *EACH, *Y, "b"], pads=[1, 0, 2, 1], strides=[2, 1]), BACK],
        IMAGE, "Conv"),
    "conv, auto_pad": ([IN, standard("QLinearConv", [*X, "w", *EACH, *Y], auto_pad="SAME_UPPER"), BACK], IMAGE, "Conv"),
    "conv, channels last": (
        [IN, standard("Transpose", ["i"], ["l"], perm=[0, 2, 3, 1]),
         microsoft("QLinearConv", ["l", "sx", "zx", "w", *EACH, *Y, "b"], ["k"], channels_last=1, pads=[1] * 4),
         node("Transpose", ["k"], ["q"], perm=[0, 3, 1, 2]), BACK], IMAGE, "Conv"),
    "matmul": ([IN, standard("QLinearMatMul", [*X, "m", *ONE, *Y]), BACK], ROWS, "Gemm"),
    "matmul of tokens, by channel": ([IN, standard("QLinearMatMul", [*X, "m", *EACH, *Y]), BACK], TOKENS, "MatMul"),
    "matmul of activations": (
        [IN, *SECOND, node("Transpose", ["j"], ["k"], perm=[0, 2, 1]),
         standard("QLinearMatMul", [*X, "k", "sz", "zz", *Y]), BACK], TOKENS, "MatMul"),
    "gemm": ([IN, microsoft("QGemm", [*X, "m", *EACH, "b", *Y]), BACK], ROWS, "Gemm"),
    "gemm, transposed, scaled": (
        [IN, microsoft("QGemm", [*X, "t", *EACH, "b", *Y], transB=1, alpha=0.5), BACK], ROWS, "Gemm"),
    "gemm to floats": ([IN, microsoft("QGemm", [*X, "m", *ONE, "b"], ["y"])], ROWS, "Gemm"),
    "add": ([IN, *SECOND, microsoft("QLinearAdd", [*X, *Z, *Y]), BACK], IMAGE, "Add"),
    "mul": ([IN, *SECOND, microsoft("QLinearMul", [*X, *Z, *Y]), BACK], IMAGE, "Mul"),
    "sigmoid": ([IN, microsoft("QLinearSigmoid", [*X, *G]), GATE], IMAGE, "Sigmoid"),
    "leaky relu": ([IN, microsoft("QLinearLeakyRelu", [*X, *Y], alpha=0.3), BACK], IMAGE, "LeakyRelu"),
    "softmax": ([IN, microsoft("QLinearSoftmax", [*X, *G], opset=13, axis=-1), GATE, ], TOKENS, "Softmax"),
    "softmax of old": ([IN, microsoft("QLinearSoftmax", [*X, *G], opset=11, axis=1), GATE], ROWS, "Softmax"),
    "concat": ([IN, *SECOND, microsoft("QLinearConcat", [*Y, *X, *Z], axis=1), BACK], IMAGE, "Concat"),
    "average": ([IN, microsoft("QLinearAveragePool", [*X, *Y], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
                 BACK], IMAGE, "AveragePool"),
    "average, counting": (
        [IN, microsoft("QLinearAveragePool", [*X, *Y], kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1),
         BACK], IMAGE, "AveragePool"),
    "global average": ([IN, microsoft("QLinearGlobalAveragePool", [*X, *Y]), BACK], IMAGE, "GlobalAveragePool"),
    "global average, channels last": (
        [IN, microsoft("QLinearGlobalAveragePool", [*X, *Y], channels_last=1), BACK], IMAGE, "GlobalAveragePool"),
    "where": ([IN, *SECOND, microsoft("QLinearWhere", ["sel", *X, *Z, *Y]), BACK], IMAGE, "Where"),
    "max pool, channels last": (
        [IN, microsoft("NhwcMaxPool", ["i"], kernel_shape=[2, 2], strides=[2, 2]), BACK], IMAGE, "MaxPool"),
    "roundings of another domain": (
        [microsoft("QuantizeLinear", ["x", "sx", "zx"]), microsoft("DequantizeLinear", ["q", "sx", "zx"], ["y"])],
        IMAGE, "QuantizeLinear"),
}  # fmt: skip
# onnxruntime has them for other types of their second operand only.
ABSENT = {("gemm", "int8", "uint8"), ("gemm, transposed, scaled", "int8", "uint8"), ("gemm to floats", "int8", "uint8"),
          ("conv", "int8", "uint8"), ("conv by channel, bias, padding", "int8", "uint8"),
          ("conv, auto_pad", "int8", "uint8"), ("conv, channels last", "int8", "uint8"),
          ("matmul", "int8", "uint8"), ("matmul of tokens, by channel", "int8", "uint8")}  # fmt: skip
WEIGHTED = ("conv", "matmul", "gemm")
COMBINATIONS = [
    (case, x, w) for case in STATIC for x in KINDS for w in KINDS
    if (case, x, w) not in ABSENT and (w == "int8" or (case.startswith(WEIGHTED) and "of activations" not in case))
]  # fmt: skip


def leaves_nothing(graph: Any) -> None:
    assert not [layer.op for layer in graph.layers if "::" in layer.op or any(part in layer.op for part in INTEGER)]
    assert set(graph.opsets) == {""}
    assert len({layer.name for layer in graph.layers}) == len(graph.layers)


@pytest.mark.parametrize(("case", "x", "w"), COMBINATIONS)
def test_what_an_integer_operator_stands_for(case: Any, x: Any, w: Any) -> None:
    nodes, shape, operator = STATIC[case]
    source = of(*nodes, constants=constants(x, w), shape=shape)
    graph = load(source)
    leaves_nothing(graph)
    assert operator in [layer.op for layer in graph.layers]
    named = [layer.op for layer in graph.layers if layer.name.startswith("the") and "/" not in layer.name]
    assert operator in named
    # Half a quantum, and what float32 sums: 1e-5 of the range is 0.0026 of a quantum.
    assert verify(graph, source) < 1e-5


@pytest.mark.parametrize("opset", [10, 11, 13, 17, 21])
@pytest.mark.parametrize("case", ["conv by channel, bias, padding", "matmul", "sigmoid", "add"])
def test_at_any_opset(case: str, opset: int) -> None:
    nodes, shape, _ = STATIC[case]
    source = of(*nodes, constants=constants(), shape=shape, opset=opset)
    graph = load(source)
    leaves_nothing(graph)
    assert verify(graph, source) < 1e-5


@pytest.mark.parametrize("case", ["sigmoid", "leaky relu"])
def test_zero_points_that_are_absent(case: str) -> None:
    """They are 0, and the type is that of the operand."""
    nodes, shape, _ = STATIC[case]
    held = constants("int8")
    stripped = []
    for n in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(n)
        if n.domain:
            copy.input[:] = ["" if name.startswith("z") else name for name in n.input]
        elif n.op_type in ("QuantizeLinear", "DequantizeLinear"):
            copy.input[2] = "none"
        stripped.append(copy)
    source = of(*stripped, constants={**held, "none": np.array(0, np.int8)}, shape=shape)
    graph = load(source)
    leaves_nothing(graph)
    assert verify(graph, source) < 1e-5


def test_one_dequantizer_serves_all_that_read_a_tensor() -> None:
    first, second = (standard("QLinearConv", [*X, "w", *ONE, *Y], [out], pads=[1] * 4) for out in ("a", "c"))
    second.name = "other"
    both = microsoft("QLinearAdd", ["a", "sy", "zy", "c", "sy", "zy", *Y])
    graph = load(of(IN, first, second, both, BACK, constants=constants()))
    readers = [layer for layer in graph.layers if layer.op == "DequantizeLinear" and layer.inputs[0] == "i"]
    assert len(readers) == 1


# -- dynamic quantisation

QUANTISED = node("DynamicQuantizeLinear", ["x"], ["d", "ds", "dz"], name="rounding")


def scaled(scale: Any) -> list[Any]:
    """What onnxruntime's quantize_dynamic writes behind an integer product."""
    return [node("Cast", ["p"], ["c"], to=TensorProto.FLOAT), node("Mul", ["ds", scale], ["u"]),
            node("Mul", ["c", "u"], ["y"])]  # fmt: skip


DYNAMIC = {
    "conv": ([QUANTISED, standard("ConvInteger", ["d", "w", "dz", "zw"], ["p"], pads=[1] * 4), *scaled("sw")], IMAGE),
    "matmul": ([QUANTISED, standard("MatMulInteger", ["d", "m", "dz", "zw"], ["p"]), *scaled("sw")], ROWS),
    "matmul by channel": ([QUANTISED, standard("MatMulInteger", ["d", "m", "dz", "z6"], ["p"]), *scaled("s6")], TOKENS),
    "reshaped": (
        [QUANTISED, node("Reshape", ["d", "shape"], ["e"]), standard("MatMulInteger", ["e", "m", "dz", "zw"], ["p"]),
         *scaled("sw")], TOKENS),
    "and back": ([QUANTISED, node("DequantizeLinear", ["d", "ds", "dz"], ["y"])], IMAGE),
    "by hand": (
        [QUANTISED, node("Cast", ["d"], ["e"], to=TensorProto.INT32), node("Cast", ["dz"], ["g"], to=TensorProto.INT32),
         node("Sub", ["e", "g"], ["p"]), *scaled("sw")], IMAGE),
    "fused": ([microsoft("DynamicQuantizeMatMul", ["x", "m", "sw", "zw", "f"], ["y"])], TOKENS),
    "fused, by channel": ([microsoft("DynamicQuantizeMatMul", ["x", "m", "s6", "z6"], ["y"])], TOKENS),
    "to floats": ([QUANTISED, microsoft("MatMulIntegerToFloat", ["d", "m", "ds", "s6", "dz", "z6", "f"], ["y"])],
                  TOKENS),
}  # fmt: skip


@pytest.mark.parametrize("w", KINDS)
@pytest.mark.parametrize("case", DYNAMIC)
def test_what_a_dynamic_chain_stands_for(case: str, w: str) -> None:
    nodes, shape = DYNAMIC[case]
    held = {**constants("uint8", w), "shape": np.array([0, 6, 8])}
    source = of(*nodes, constants=held, shape=shape)
    graph = load(source)
    leaves_nothing(graph)
    assert [layer.op for layer in graph.layers].count("DynamicQuantizeLinear") == 1
    assert verify(graph, source) < 2e-6


@pytest.mark.parametrize("opset", [11, 13, 21])
@pytest.mark.parametrize("case", ["conv", "matmul"])
def test_dynamic_chains_at_any_opset(case: str, opset: int) -> None:
    nodes, shape = DYNAMIC[case]
    source = of(*nodes, constants=constants(), shape=shape, opset=opset)
    assert verify(load(source), source) < 2e-6


def test_a_sample_is_quantised_as_it_would_be_alone() -> None:
    """In the file one large sample makes the others coarse."""
    nodes, shape = DYNAMIC["and back"]
    explainer = onnxlrp.load(of(*nodes, node("Flatten", ["y"], ["r"]), constants={}, shape=shape, outputs=("r",)))
    x = values(3, 4, 8, 8) * np.array([1, 100, 0]).reshape(3, 1, 1, 1).astype("f")
    together = explainer.explain(x, target=0).output
    alone = [explainer.explain(x[i : i + 1], target=0).output[0] for i in range(3)]
    np.testing.assert_array_equal(together, alone)
    step = (x[0].max() - x[0].min()) / 255
    assert np.abs(together[0] - x[0].reshape(-1)).max() <= 0.501 * step
    assert not together[2].any()


def test_integers_given_to_the_model() -> None:
    """Of uint8 pixels."""
    nodes = [standard("MatMulInteger", ["x", "m", "zx", "zw"], ["p"]), node("Cast", ["p"], ["y"], to=TensorProto.FLOAT)]
    source = of(*nodes, constants=constants(), shape=ROWS)
    source.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    graph = load(source)
    leaves_nothing(graph)
    assert verify(graph, source) < 1e-6


@pytest.mark.parametrize("block", [0, 8])
@pytest.mark.parametrize("kind", ["INT4", "UINT4"])
def test_weights_of_four_bits(kind: str, block: int) -> None:
    rng = np.random.default_rng(4)
    low = -8 if kind == "INT4" else 0
    count = (4,) if block == 0 else (4, 2)
    scales = rng.uniform(0.01, 0.2, count).astype("f")
    held = {"s": scales}
    attributes: dict[str, Any] = {"axis": 0} if block == 0 else {"axis": 1, "block_size": block}
    source = of(
        node("DequantizeLinear", ["w4", "s", "z4"], ["w"], **attributes), node("Transpose", ["w"], ["wt"]),
        node("MatMul", ["x", "wt"], ["y"]), constants=held, shape=("N", 16), opset=21,
    )  # fmt: skip
    for name, shape in (("w4", (4, 16)), ("z4", count)):
        numbers = rng.integers(low, low + 16, shape).reshape(-1)
        source.graph.initializer.append(helper.make_tensor(name, getattr(TensorProto, kind), shape, numbers))
    source.ir_version = 10
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Gemm"]
    assert verify(graph, source) < 1e-6


# -- what `verify` must find


def test_integers_whose_batch_is_elsewhere_in_the_file() -> None:
    """As [1, N, ...] they have the shape of the stored ones at batch 1 alone."""
    source = of(
        node("Unsqueeze", ["x", "front"], ["u"]), node("QuantizeLinear", ["u", "sx", "zx"], ["q"]),
        node("DequantizeLinear", ["q", "sx", "zx"], ["e"]), node("Squeeze", ["e", "front"], ["y"]),
        constants={**constants(), "front": np.array([0])}, shape=TOKENS,
    )  # fmt: skip
    assert verify(load(source), source) < 1e-6


def two_layers() -> Any:
    # Scales of powers of two: ties are frequent.
    held = {**constants(), "sx": np.array(0.03125, "f"), "sy": np.array(0.25, "f"), "sw": np.array(1 / 64, "f"),
            "v": integers(5, 6, 1, 1, seed=1)}  # fmt: skip
    nodes = [
        IN, standard("QLinearConv", [*X, "w", *ONE, *Y, "b"], ["a"], pads=[1] * 4),
        node("QLinearConv", ["a", "sy", "zy", "v", *ONE, *Y], ["c"], name="second"),
        microsoft("QLinearGlobalAveragePool", ["c", "sy", "zy", *Y]), BACK,
    ]  # fmt: skip
    return of(*nodes, constants=held)


def small_constants(graph: Any) -> list[Any]:
    """Scales and zero points of the graph."""
    quantisers = [layer for layer in graph.layers if layer.op in ("QuantizeLinear", "DequantizeLinear")]
    return sorted({name for layer in quantisers for name in layer.inputs[1:]})


def planted(graph: Any, name: Any, change: Any) -> Any:
    return replace(graph, constants={**graph.constants, name: change(graph.constants[name])})


def test_every_planted_mistake_of_one_step_is_found() -> None:
    """A zero point that is one off, a scale that is 10 % off, in any place of the model."""
    source = two_layers()
    graph = load(source)
    assert verify(graph, source) < 1e-5
    names = small_constants(graph)
    assert len(names) >= 10
    for name in names:
        value = graph.constants[name]
        wrong = (value * np.float32(1.1)) if value.dtype.kind == "f" else (value + 1).astype(value.dtype)
        with pytest.raises(CheckFailed, match="deviates"):
            verify(planted(graph, name, lambda _, wrong=wrong: wrong), source)


def test_a_planted_weight_is_found() -> None:
    source = two_layers()
    graph = load(source)
    conv = next(layer for layer in graph.layers if layer.name == "second")
    weight = graph.constants[conv.inputs[1]].copy()
    weight[0, 0] += 40 / 64
    with pytest.raises(CheckFailed, match='"c/unrounded" deviates'):
        verify(planted(graph, conv.inputs[1], lambda _: weight), source)


def test_a_planted_mistake_in_a_dynamic_model_is_found() -> None:
    nodes, shape = DYNAMIC["conv"]
    source = of(*nodes, constants=constants(), shape=shape)
    graph = load(source)
    without = [layer for layer in graph.layers if layer.op != "DynamicQuantizeLinear"]
    exact = tuple(replace(layer, inputs=tuple("x" if i == "d" else i for i in layer.inputs)) for layer in without)
    with pytest.raises(CheckFailed, match="deviates"):
        verify(replace(graph, layers=exact), source)


# -- refusals


def refused(*nodes: Any, shape: Any = IMAGE, **changes: Any) -> Any:
    with pytest.raises(UnsupportedError) as error:
        load(of(*nodes, constants={**constants(), **changes}, shape=shape))
    assert "float model" in error.value.fix
    return error.value.message


def test_a_scale_that_is_computed_is_refused_by_name() -> None:
    computed = [node("ReduceMax", ["x"], ["m1"], keepdims=0), node("Abs", ["m1"], ["sc"])]
    said = refused(IN, *computed, microsoft("QLinearSigmoid", ["i", "sc", "zx", *G]), GATE)
    assert "theQLinearSigmoid" in said
    assert "at run time" in said


def test_rows_of_an_activation_with_scales_of_their_own_are_refused_by_name() -> None:
    rows = {"sr": np.full(6, 0.1, "f"), "zr": np.zeros(6, np.uint8)}
    said = refused(IN, standard("QLinearMatMul", ["i", "sr", "zr", "m", *ONE, *Y]), BACK, shape=TOKENS, **rows)
    assert "theQLinearMatMul" in said
    assert "several scales" in said


def test_a_softmax_over_several_axes_is_refused_by_name() -> None:
    said = refused(IN, microsoft("QLinearSoftmax", [*X, *G], opset=11, axis=1), GATE, shape=TOKENS)
    assert "theQLinearSoftmax" in said


@pytest.mark.parametrize("reader", ["ReduceMax", "Sub", "Add"])
def test_who_reads_the_integers_of_a_dynamic_scale_is_refused_by_name(reader: str) -> None:
    """They are no integers any more."""
    as_floats = node("Cast", ["d"], ["a"], to=TensorProto.FLOAT)
    odd = {
        "ReduceMax": [node("ReduceMax", ["d"], ["q"], name="odd", keepdims=0),
                      node("Cast", ["q"], ["y"], to=TensorProto.FLOAT)],
        "Sub": [as_floats, node("Sub", ["x", "ds"], ["e"], name="odd"), node("Add", ["e", "a"], ["y"])],
        "Add": [standard("MatMulInteger", ["d", "m", "dz", "zw"], ["p"]), node("Add", ["p", "b"], ["q"], name="odd"),
                node("Cast", ["q"], ["y"], to=TensorProto.FLOAT)],
    }[reader]  # fmt: skip
    assert '"odd"' in refused(QUANTISED, *odd, shape=ROWS)


def test_a_dynamic_scale_as_an_output_is_refused_by_name() -> None:
    source = of(QUANTISED, constants={}, outputs=("ds",))
    with pytest.raises(UnsupportedError, match='"rounding" has a result that is an output'):
        load(source)
