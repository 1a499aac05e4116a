"""Quantised activations: the clip mask of the gradient, relevance that passes, and whole quantised models."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case import node as node_cases
from PIL import Image

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.explanation import ledger
from onnxlrp.graph import facts
from onnxlrp.graph.verify import verify
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import small_nets
from support.conformance import each_engine, prepared
from support.paths import DATA, ROOT

Array = np.ndarray[Any, Any]
KINDS: dict[str, Any] = {"uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16}


def rounded(n: small_nets.Net, x: str, scale: Any, zero: Array, **axis: int) -> str:
    """x through QuantizeLinear and DequantizeLinear."""
    scale = np.asarray(scale, np.float32)
    return n.op("DequantizeLinear", n.op("QuantizeLinear", x, scale, zero, **axis), scale, zero, **axis)


def gradient(graph: Any, x: Array, r: Array, name: str = "reference") -> tuple[Array, Array]:
    """The output, and the vector-Jacobian product of r."""
    program = small_nets.compile(graph, make_composite("gradient"), mode="relevance")
    found = prepared(name, small_nets.forward(graph), program)({graph.inputs[0].name: x, SEED: r})
    return found["logits"], found["relevance"]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_of_the_pair_is_its_slope_in_steps_of_one_quantum(kind: str) -> None:
    """(y(x + s) - y(x - s)) / 2s is 1 within the range, 0 beyond it; y is written from ONNX's definition."""
    ends = np.iinfo(KINDS[kind])
    scale, zero = 0.25, np.array(ends.min // 2 + 7, KINDS[kind])
    n = small_nets.Net(40)
    graph = small_nets.as_it_stands(n.model(n.op("Neg", rounded(n, "x", scale, zero))))
    low, high = ((float(end) - float(zero)) * scale for end in (ends.min, ends.max))
    # Off the middle between two integers, where rounding jumps, and up to three quanta beyond the range.
    quanta = np.concatenate([np.arange(-3, 17), np.arange(-16, 4)])
    x = (np.where(np.arange(40) < 20, low, high) + (quanta + 0.3) * scale)[np.newaxis]

    def y(x: Array) -> Array:
        return -(np.clip(np.round(x / scale) + float(zero), ends.min, ends.max) - float(zero)) * scale

    r = np.random.default_rng(0).normal(size=x.shape)
    output, back = gradient(graph, x, r)
    np.testing.assert_allclose(output, y(x), rtol=1e-6)
    slope = (y(x + scale) - y(x - scale)) / (2 * scale)
    whole = np.isin(slope, (0, -1))  # at the two ends a step crosses the border
    assert whole.sum() >= 36
    assert {0.0, -1.0} == set(slope[whole])
    np.testing.assert_allclose(back[whole], (r * slope)[whole], rtol=1e-6)


@each_engine
def test_channels_have_scales_of_their_own(name: str) -> None:
    n = small_nets.Net(2, 3)
    scale, zero = np.array([0.5, 0.25], np.float32), np.array([100, 0], np.uint8)
    graph = small_nets.as_it_stands(n.model(n.op("Neg", rounded(n, "x", scale, zero, axis=1))))
    x = np.array([[[-60.0, 1.0, 90.0], [-1.0, 1.0, 90.0]]], np.float32)
    r = np.full(x.shape, 2.0, np.float32)
    output, back = gradient(graph, x, r, name)
    np.testing.assert_allclose(output, [[[50.0, -1.0, -77.5], [0.0, -1.0, -63.75]]], rtol=1e-5)
    np.testing.assert_allclose(back, [[[0.0, -2.0, 0.0], [0.0, -2.0, 0.0]]], atol=1e-6)


def test_each_half_has_the_slope_of_its_own_units() -> None:
    """Of a model that takes integers, the gradient is per integer."""
    n = small_nets.Net(3)
    model = n.model(n.op("Neg", n.op("DequantizeLinear", "x", np.array(0.25, np.float32), np.array(3, np.uint8))))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    graph = small_nets.load(model)
    output, back = gradient(graph, np.array([[0, 3, 255]], np.uint8), np.ones((1, 3)))
    np.testing.assert_allclose(output, [[0.75, 0.0, -63.0]])
    np.testing.assert_allclose(back, [[-0.25, -0.25, -0.25]])


@pytest.mark.parametrize("name", ["ort", "emulator"])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_quantised_activations_between_whole_layers(kind: str, name: str) -> None:
    """Max pooling and reshaping of integers: all engines read what they read of floats."""
    n = small_nets.Net(2, 6, 6, seed=3)
    zero = np.array(np.iinfo(KINDS[kind]).min, KINDS[kind])
    scale = np.array(0.02, np.float32)
    a = n.op("QuantizeLinear", n.conv("x", 2, 4), scale, zero)
    b = n.op("MaxPool", a, kernel_shape=[2, 2], strides=[1, 1])
    c = n.op("Flatten", n.relu(n.conv(n.op("DequantizeLinear", b, scale, zero), 4, 3)))
    model = n.model(n.dense(c, 75, 4))
    graph = small_nets.load(model)
    x = small_nets.batch(graph)
    for method in ("epsilon_plus_flat", "gradient", "gamma"):
        exact, quick = (
            small_nets.explained(graph, make_composite(method), x, engine, ledger=True)
            for engine in ("reference", name)
        )
        small_nets.agree(quick["relevance"], exact["relevance"], 1e-4)
    rows = onnxlrp.load(model, "reference").explain(x["x"], 1, "gamma", ledger=True).ledger
    assert rows
    assert {"QuantizeLinear", "DequantizeLinear", "MaxPool"} <= {row.op for row in rows}  # type: ignore[attr-defined]
    assert max(row.error for row in rows) <= 1e-6  # type: ignore[attr-defined]


@pytest.mark.parametrize(("zero", "nonnegative"), [(-128, True), (-100, False), (0, False)])
def test_what_cannot_be_negative(zero: int, nonnegative: bool) -> None:
    n = small_nets.Net(6)
    graph = small_nets.as_it_stands(n.model(n.op("Neg", rounded(n, "x", 0.5, np.array(zero, np.int8)))))
    tensor = next(layer.outputs[0] for layer in graph.layers if layer.op == "DequantizeLinear")
    assert (tensor in facts.nonnegative(graph)) == nonnegative


def test_scores_given_as_integers_are_read_as_what_they_stand_for() -> None:
    n = small_nets.Net(6)
    logits = n.dense("x", 6, 4)
    scores = n.op("QuantizeLinear", n.op("Softmax", logits), np.array(1 / 256, np.float32), np.array(0, np.uint8))
    model = n.model(scores)
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    x = small_nets.batch(small_nets.load(model))["x"]
    e = onnxlrp.load(model).explain(x)
    np.testing.assert_allclose(e.output.sum(axis=1), 1, rtol=1e-5)
    assert e.head == "Softmax"


def test_a_model_that_ends_in_an_integer_operator_is_read_as_what_its_integers_stand_for() -> None:
    n = small_nets.Net(6)
    rng = np.random.default_rng(0)
    scale, zero = np.array(0.1, np.float32), np.array(90, np.uint8)
    q = n.op("QuantizeLinear", "x", scale, zero)
    own = (np.array(0.02, np.float32), np.array(0, np.int8))
    weight = rng.integers(-64, 64, (6, 4)).astype(np.int8)
    model = n.model(n.op("QLinearMatMul", q, scale, zero, weight, *own, scale, zero))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    x = rng.normal(size=(3, 6)).astype(np.float32)
    e = onnxlrp.load(model).explain(x, ledger=True)
    np.testing.assert_allclose(e.output, (np.round(x / 0.1) * 0.1) @ (weight * 0.02), rtol=1e-4, atol=1e-5)
    assert max(row.error for row in e.ledger) < 1e-4  # type: ignore[union-attr]


def test_blocks_of_one_scale_are_refused_by_name() -> None:
    n = small_nets.Net(4, 3)
    n.opset = 21
    scale, zero = np.full((1, 2, 3), 0.5, np.float32), np.zeros((1, 2, 3), np.uint8)
    a = rounded(n, "x", scale, zero, axis=1, block_size=2)
    model = n.model(n.dense(n.op("Flatten", a), 12, 4))
    with pytest.raises(UnsupportedError, match="QuantizeLinear"):
        onnxlrp.load(model).prepare(0)


# -- operators on integers

INTEGER_CASES = {"QLinearConv": 1, "QLinearMatMul": 8, "ConvInteger": 2, "MatMulInteger": 1, "DynamicQuantizeLinear": 3}


def node_cases_of(op: str) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"{node_cases.__name__}.{op.lower()}")
    singles = (case for case in node_cases._NodeTestCases if len(case.model.graph.node) == 1)  # type: ignore[attr-defined]
    return list({case.name: case for case in singles if case.model.graph.node[0].op_type == op}.values())


def in_floats(case: Any) -> tuple[onnx.ModelProto, Array]:
    """The case's model with its first input open and a float as its result, and that input.

    A DynamicQuantizeLinear takes the whole input as one sample, and is read with its own scale.
    """
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    arrays = dict(zip((v.name for v in model.graph.input), case.data_sets[0][0], strict=True))
    first, *others = model.graph.input
    y, *scales = [value.name for value in model.graph.output]
    x = np.asarray(arrays[first.name])
    if scales:
        x = x.reshape(1, -1)
        del first.type.tensor_type.shape.dim[:]
        for length in x.shape:
            first.type.tensor_type.shape.dim.add(dim_value=length)
        tail = helper.make_node("DequantizeLinear", [y, *scales], ["float"])
    elif model.graph.output[0].type.tensor_type.elem_type == TensorProto.INT32:
        tail = helper.make_node("Cast", [y], ["float"], to=TensorProto.FLOAT)
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "one"))
        tail = helper.make_node("DequantizeLinear", [y, "one"], ["float"])
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(arrays[v.name]), v.name) for v in others)
    model.graph.node.extend([tail, helper.make_node("Neg", ["float"], ["negated"])])
    del model.graph.input[1:], model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("negated", TensorProto.FLOAT, None))
    return model, x


@pytest.mark.parametrize("op", INTEGER_CASES)
def test_node_cases_of_onnx(op: str) -> None:
    """The integers that the standard says, and relevance that is conserved on its way through."""
    cases = node_cases_of(op)
    assert len(cases) == INTEGER_CASES[op]
    for case in cases:
        model, x = in_floats(case)
        graph = small_nets.load(model)
        results = [np.asarray(value, float) for value in case.data_sets[0][1]]
        expected = (results[0] - results[2]) * results[1] if len(results) == 3 else results[0]
        r = np.random.default_rng(0).normal(size=(len(x), *graph.shapes["negated"])).astype(np.float32)
        # In float32, as the standard says: in float64 other quotients are halves.
        output, back = gradient(graph, x, r, "ort")
        np.testing.assert_allclose(output.reshape(expected.shape), -expected, rtol=1e-6, err_msg=case.name)
        assert back.shape == x.shape
        program = small_nets.compile(graph, make_composite("epsilon"), mode="relevance", ledger=True)
        found = prepared("ort", small_nets.forward(graph), program)({graph.inputs[0].name: x, SEED: r})
        rows = ledger.rows(program.notes["ledger"], found)
        assert rows
        assert max(row.error for row in rows) < 1e-4


def test_the_gradient_of_an_integer_product_keeps_both_clip_masks() -> None:
    """From ONNX's definition: rᵀ ∂y/∂x with round(v)' = 1, of integers between the ends alone."""
    rng = np.random.default_rng(1)
    scale, zero = {"x": 0.02, "w": 0.01, "y": 0.03}, {"x": 100, "w": 3, "y": 0}
    w = rng.integers(-127, 128, (40, 30)).astype(np.int8)
    n = small_nets.Net(40)
    constants = {k: np.array(v, np.float32) for k, v in scale.items()}
    zeros = {k: np.array(v, np.int8 if k == "w" else np.uint8) for k, v in zero.items()}
    q = n.op("QuantizeLinear", "x", constants["x"], zeros["x"])
    p = n.op("QLinearMatMul", q, constants["x"], zeros["x"], w, constants["w"], zeros["w"], constants["y"], zeros["y"])
    graph = small_nets.as_it_stands(n.model(n.op("Neg", n.op("DequantizeLinear", p, constants["y"], zeros["y"]))))
    x, r = rng.normal(size=(6, 40)) * 2, rng.normal(size=(6, 30))
    integers = np.clip(np.round(x / scale["x"]) + zero["x"], 0, 255)
    weights = (w.astype(float) - zero["w"]) * scale["w"]
    y = (integers - zero["x"]) * scale["x"] @ weights / scale["y"]
    inside = (np.abs(x / scale["x"] + zero["x"] - 127.5) < 128, (y > -0.5) & (y < 255.5))
    assert all(0.2 < mask.mean() < 0.98 for mask in inside)
    output, back = gradient(graph, x, r)
    np.testing.assert_allclose(output, -np.clip(np.round(y), 0, 255) * scale["y"], atol=1e-6)
    np.testing.assert_allclose(back, (-r * inside[1]) @ weights.T * inside[0], rtol=1e-5, atol=1e-6)


@each_engine
def test_dynamic_quantisation_lets_all_through(name: str) -> None:
    """It has no ends: gradient and relevance are those of the network without it, whose values are the rounded ones."""
    n, plain = small_nets.Net(6, seed=2), small_nets.Net(6, seed=2)
    d, *own = n.ops("DynamicQuantizeLinear", "x", results=3)
    nets = [(n, n.op("DequantizeLinear", d, *own)), (plain, "x")]
    quantised, bare = (small_nets.load(net.model(net.dense(net.relu(net.dense(x, 6, 8)), 8, 4))) for net, x in nets)
    x = np.random.default_rng(3).normal(size=(3, 6)).astype(np.float32)
    low, high = (np.minimum(x.min(1, keepdims=True), 0), np.maximum(x.max(1, keepdims=True), 0))
    step = (high - low) / 255
    rounded_x = step * np.round(x / step)
    for method in ("gradient", "epsilon", "zplus"):
        results = []
        for graph, given in ((quantised, x), (bare, rounded_x)):
            program = small_nets.compile(graph, make_composite(method), mode="top")
            results.append(prepared(name, small_nets.forward(graph), program)({"x": given}))
        small_nets.agree(results[0]["relevance"], results[1]["relevance"], 1e-4)
        small_nets.agree(results[0]["logits"], results[1]["logits"], 1e-4)


# -- models that onnxruntime quantised

MODES = ["QOperator", "QOperator by channel", "QOperator s8s8", "QOperator u8u8", "QDQ", "QDQ by channel", "dynamic",
         "dynamic by channel", "dynamic u8"]  # fmt: skip


def quantised(mode: str, source: Path, x: Array, path: Path) -> Path:
    """Weights in 7 bits: where a CPU has no VNNI, onnxruntime's sums of two products of 8 bits saturate."""
    tools = pytest.importorskip("onnxruntime.quantization")
    kinds, each = tools.QuantType, "by channel" in mode

    class Samples(tools.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            name = onnx.load_model(source).graph.input[0].name
            self.left = iter([{name: sample[np.newaxis]} for sample in x])

        def get_next(self) -> Any:
            return next(self.left, None)

    if mode.startswith("dynamic"):
        kind = kinds.QUInt8 if "u8" in mode else kinds.QInt8
        tools.quantize_dynamic(str(source), str(path), per_channel=each, weight_type=kind, reduce_range=True)
        return path
    signed, unsigned = kinds.QInt8, kinds.QUInt8
    form = tools.QuantFormat.QDQ if mode.startswith("QDQ") else tools.QuantFormat.QOperator
    tools.quantize_static(
        str(source), str(path), Samples(), quant_format=form, per_channel=each, reduce_range=True,
        activation_type=signed if "s8s8" in mode else unsigned, weight_type=unsigned if "u8u8" in mode else signed,
    )  # fmt: skip
    return path


def untouched(path: Path, x: Array) -> Array:
    """What the file says, sample by sample, computed as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: sample[np.newaxis]})[0] for sample in x])


def transformer() -> onnx.ModelProto:
    """A layer of attention and a gated one, with LayerNormalization, of 6 tokens."""
    n = small_nets.Net(6, 8, seed=4)
    n.opset = 17

    def dense(x: str, inner: int, outer: int) -> str:
        return n.op("MatMul", x, n.rng.normal(size=(inner, outer)) / inner**0.5)

    def norm(x: str) -> str:
        return n.op("LayerNormalization", x, np.ones(8), np.zeros(8))

    a = norm("x")
    q, k, v = (n.op("Add", dense(a, 8, 8), n.rng.normal(size=8) / 5) for _ in range(3))
    scores = n.op("Mul", n.op("MatMul", q, n.op("Transpose", k, perm=[0, 2, 1])), np.array(8**-0.5))
    h = n.op("Add", "x", dense(n.op("MatMul", n.op("Softmax", scores, axis=-1), v), 8, 8))
    m = dense(norm(h), 8, 16)
    h = n.op("Add", h, dense(n.op("Mul", m, n.op("Sigmoid", m)), 16, 8))
    return n.model(n.dense(n.op("ReduceMean", h, axes=[1], keepdims=0), 8, 4))


@pytest.mark.parametrize("mode", ["QOperator", "QDQ", "dynamic by channel"])
def test_a_quantised_transformer_has_the_rules_of_the_model(mode: str, tmp_path: Path) -> None:
    """Attention, softmax and gates are seen through the roundings; in float64 every layer's balance closes."""
    x = np.random.default_rng(0).normal(size=(8, 6, 8)).astype(np.float32)
    onnx.save_model(transformer(), tmp_path / "model.onnx")
    path = quantised(mode, tmp_path / "model.onnx", x, tmp_path / "int8.onnx")
    assert verify(small_nets.load(path), path) < 1e-5
    ledgers = [
        onnxlrp.load(p, "reference").explain(x, 0, "epsilon_plus", ledger=True).ledger
        for p in (tmp_path / "model.onnx", path)
    ]
    # Roundings pass, as constant factors do.
    ruled = [
        [(row.op, row.rule) for row in rows if row.rule != "pass"]  # type: ignore[union-attr]
        for rows in ledgers
    ]
    assert ruled[0] == ruled[1]
    assert {"signal", "softmax", "norm"} <= {rule for _, rule in ruled[0]}
    assert max(row.error for row in ledgers[1]) < 1e-9  # type: ignore[union-attr]


@pytest.mark.few(1)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_the_map_of_a_quantised_model_is_that_of_the_model(name: str, mode: str, tmp_path: Path) -> None:
    source = ROOT / "models" / f"{name}.onnx"
    model = onnxlrp.load(source)
    pattern = "digit_?.png" if name == "digits" else "scene_*.png"
    samples = [path for path in sorted((ROOT / "models" / "samples").glob(pattern)) if "mask" not in path.stem]
    x = np.concatenate([model.preprocessing.apply(Image.open(path)) for path in samples])
    path = quantised(mode, source, x, tmp_path / "int8.onnx")
    small = onnxlrp.load(path)
    e = small.explain(x, ledger=True)
    assert np.array_equal(e.target, untouched(path, x).reshape(len(x), -1).argmax(axis=1))
    assert np.array_equal(e.target, model.explain(x).target)
    assert max(row.error for row in e.ledger) < 1e-5  # type: ignore[union-attr]
    assert not [row.op for row in e.ledger if "Integer" in row.op or "QLinear" in row.op]  # type: ignore[union-attr]
    maps = [m.explain(x, target=list(e.target)).relevance.reshape(len(x), -1) for m in (model, small)]
    cosines = (maps[0] * maps[1]).sum(1) / np.linalg.norm(maps[0], axis=1) / np.linalg.norm(maps[1], axis=1)
    assert cosines.min() > 0.95


def test_an_exported_explainer_of_integers_is_the_same(tmp_path: Path) -> None:
    """A plain ONNX graph of standard operators, run as onnxruntime runs it by default."""
    source = ROOT / "models" / "digits.onnx"
    x = onnxlrp.load(source).preprocessing.apply(Image.open(ROOT / "models" / "samples" / "digit_7.png"))
    for mode in ("QOperator by channel", "dynamic"):
        model = onnxlrp.load(quantised(mode, source, x, tmp_path / f"{mode}.onnx"))
        saved = model.export(tmp_path / "explainer.onnx", target="top1")
        assert {entry.domain for entry in onnx.load_model(saved).opset_import} == {""}
        (relevance,) = onnxruntime.InferenceSession(str(saved)).run(["relevance"], {"image": x})
        small_nets.agree(relevance, model.explain(x).relevance, 1e-4)


SHARED = DATA / "models"
MOBILENET = SHARED / "mobilenet_v1_0.25_128_quant_qdq.onnx"


@pytest.mark.slow
@pytest.mark.skipif(not MOBILENET.exists(), reason="the shared models are not here")
def test_a_published_int8_model_is_explained() -> None:
    """Forward as the untouched file says, and a ledger that closes."""
    x = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    options = onnxruntime.SessionOptions()
    # What the file says: fused to integer kernels it rounds elsewhere.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(MOBILENET), options)
    fixed = session.get_inputs()[0].shape[0]
    batches = [x] if fixed != 1 else [x[:1], x[1:]]
    wanted = np.concatenate([session.run(None, {session.get_inputs()[0].name: b})[0] for b in batches])
    model = onnxlrp.load(MOBILENET)
    for method in ("epsilon_plus_flat", "epsilon", "gamma"):
        e = model.explain(x, method=method, ledger=True)
        assert np.abs(np.round(e.output * 256) - wanted.reshape(e.output.shape)).max() <= 1
        assert {"QuantizeLinear", "DequantizeLinear"} <= {row.op for row in e.ledger}  # type: ignore[attr-defined,union-attr]
        assert max(row.error for row in e.ledger) <= 1e-4  # type: ignore[attr-defined,union-attr]


SHUFFLENET = SHARED / "shufflenet-v2-12-int8.onnx"
VECTORS = SHARED.parent / "test_vectors" / "shufflenet-v2-12-int8"


@pytest.mark.slow
@pytest.mark.skipif(not VECTORS.exists(), reason="the shared models are not here")
def test_a_published_model_of_integer_operators_is_explained() -> None:
    """Its scores to three quanta of the last layer, the right dog, and a ledger that closes.

    The published vector was computed where sums of products saturate: onnxruntime is as far from it as we are, with the
    same class.
    """
    x, wanted = (
        numpy_helper.to_array(onnx.TensorProto.FromString((VECTORS / f"{name}_0.pb").read_bytes()))
        for name in ("input", "output")
    )
    model = onnxlrp.load(SHUFFLENET)
    for method in ("epsilon_plus_flat", "epsilon", "gamma", "gradient"):
        e = model.explain(x, method=method, ledger=method != "gradient")
        assert np.abs(e.output - untouched(SHUFFLENET, x)).max() < 3.5 * 0.1724
        assert e.target[0] == wanted.argmax()
        if e.ledger:
            assert max(row.error for row in e.ledger) < 1e-4
    picture = Image.open(SHARED.parent / "images" / "samoyed.png").convert("RGB")
    e = model.explain(picture)
    mask = np.asarray(Image.open(SHARED.parent / "images" / "samoyed_mask.png").convert("L")) > 127
    assert e.target[0] == 258
    heat = model.preprocessing.map_to_original(np.maximum(e.relevance[0].sum(axis=0), 0), picture.size)
    assert heat[mask].sum() / heat.sum() > 1.05 * mask.mean()
