"""Every linear map on every engine: its adjoint is its transpose, and it is what ONNX says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxlrp.engines import Forward
from onnxlrp.engines.emit import winners
from onnxlrp.engines.emit.nodes import SMALL
from onnxlrp.program import interpret
from onnxlrp.program.linear import Conv, LinearMap, Matmul, Pool, Select, Take, Window
from onnxlrp.program.program import Activation, Instruction, Program
from support.arrays import one_output
from support.conformance import Sketch, each_engine, prepared, tolerance
from support.geometries import LINEAR_MAPS, convs, pools, selects, weight_shape, windows

EXAMPLES = 25
each_map = pytest.mark.parametrize("kind", LINEAR_MAPS)
seeds = st.integers(0, 2**32 - 1)


def whole(rng: np.random.Generator, *shape: Any) -> Any:
    """Small whole numbers: sums are exact in float32, and selectors have ties."""
    return rng.integers(-4, 5, size=shape).astype(np.float64)


def applied(
    name: Any,
    kind: Any,
    linear: Any,
    x: Any,
    weight: Any = None,
    selector: Any = None,
    bias: Any = None,
    targets: Any = None,
) -> Any:
    """linear(x) or its adjoint (`kind`) on an engine, x being the seed where there are targets."""
    sketch = Sketch(targets)
    inner = linear.source if kind == "linear" else linear.target
    arrays = {}
    if targets is None:
        operands, arrays["x"] = [sketch.activation("x", inner)], x
    else:
        operands, arrays["relevance"] = [sketch.seed(inner)], x
    if weight is not None:
        operands.append(sketch.constant(weight))
    if selector is not None:
        operands.append(sketch.activation("selector", selector.shape[1:]))
        arrays["selector"] = selector
    if bias is not None:
        operands.append(sketch.constant(bias))
    if kind == "linear":
        y = sketch.linear(linear, *operands, biased=bias is not None)
    else:
        y = sketch.adjoint(linear, *operands)
    return sketch.run(name, {"y": y}, **arrays)["y"].astype(np.float64)


def operands_of(linear: Any, rng: np.random.Generator, batch: Any) -> tuple[Any, Any]:
    shape = weight_shape(linear)
    weight = None if shape is None else whole(rng, *shape)
    selector = whole(rng, batch, *linear.source) if isinstance(linear, Select) else None
    if isinstance(linear, Take):
        selector = rng.integers(math.prod(linear.source), size=(batch, *linear.target))
    return weight, selector


def close(name: Any, actual: Any, expected: Any, scale: Any = None) -> None:
    scale = max(1.0, float(np.max(np.abs(expected if scale is None else scale), initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance(name) * scale)


@pytest.mark.few(12)
@each_engine
@each_map
@settings(max_examples=EXAMPLES)
@given(data=st.data(), seed=seeds, targets=st.sampled_from((None, None, 1, 3)), batch=st.sampled_from((1, 3)))
def test_adjoint_is_the_transpose(
    name: str, kind: str, data: st.DataObject, seed: int, targets: int | None, batch: int
) -> None:
    """⟨A x, s⟩ = ⟨x, Aᵀ s⟩, for every target and sample on its own, and both are the reference's."""
    linear = data.draw(LINEAR_MAPS[kind])
    rng = np.random.default_rng(seed)
    lead = (batch,) if targets is None else (targets, batch)
    x, s = whole(rng, *lead, *linear.source), whole(rng, *lead, *linear.target)
    weight, selector = operands_of(linear, rng, batch)
    y = applied(name, "linear", linear, x, weight, selector, targets=targets)
    back = applied(name, "adjoint", linear, s, weight, selector, targets=targets)
    assert y.shape == s.shape
    assert back.shape == x.shape
    per_sample = tuple(range(len(lead), x.ndim)), tuple(range(len(lead), s.ndim))
    left, right = (x * back).sum(axis=per_sample[0]), (y * s).sum(axis=per_sample[1])
    close(name, left, right, np.abs(y * s).sum(axis=per_sample[1]))
    if name != "reference":
        close(name, y, applied("reference", "linear", linear, x, weight, selector, targets=targets))
        close(name, back, applied("reference", "adjoint", linear, s, weight, selector, targets=targets))


@each_engine
@settings(max_examples=EXAMPLES)
@given(linear=st.one_of(LINEAR_MAPS["Conv"], LINEAR_MAPS["Matmul"]), seed=seeds, batch=st.sampled_from((1, 3)))
def test_bias_is_added_to_every_place(name: str, linear: Any, seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight = whole(rng, batch, *linear.source), operands_of(linear, rng, batch)[0]
    channel = 0 if isinstance(linear, Conv) else len(linear.target) - 1
    bias = whole(rng, linear.target[channel])
    plain = applied("reference", "linear", linear, x, weight)
    behind = len(linear.target) - 1 - channel
    close(name, applied(name, "linear", linear, x, weight, bias=bias), plain + bias.reshape(-1, *[1] * behind))


# -- against the operators of ONNX itself


def operator(op: Any, linear: Any, inputs: Any, kind: Any = TensorProto.FLOAT, **attributes: Any) -> Any:
    """A node over the geometry of a map, as a model."""
    window = linear.window
    node = helper.make_node(
        op, ["x", *inputs], ["y"], kernel_shape=list(window.kernel), strides=list(window.strides),
        dilations=list(window.dilations), pads=[*window.before, *window.explicit], **attributes,
    )  # fmt: skip
    values = [
        helper.make_tensor_value_info(t, kind, ["N", *shape])
        for t, shape in (("x", linear.source), ("y", linear.target))
    ]
    weights = [onnx.numpy_helper.from_array(array.astype(np.float32), t) for t, array in inputs.items()]
    graph = helper.make_graph([node], "one", values[:1], values[1:], weights)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])


def by_onnx(model: Any) -> Callable[..., Any]:
    """onnx's own definition, right for convolutions."""
    evaluator = ReferenceEvaluator(model)
    return lambda x: one_output(evaluator.run(None, {"x": x.astype(np.float32)})).astype(np.float64)


def by_onnxruntime(model: Any) -> Callable[..., Any]:
    """onnx's reference takes the pads of a pooling in the wrong order (1.23), so that onnxruntime defines these."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x.astype(np.float32)})[0].astype(np.float64)


def matrix(f: Any, linear: Any, at: Any = None, step: float = 1.0) -> Any:
    """The columns (f(at + step·eᵢ) − f(at)) / step of a function that is linear around `at`: [source, target]."""
    size = int(np.prod(linear.source))
    at = np.zeros(linear.source) if at is None else at
    moved = at + step * np.eye(size).reshape(size, *linear.source)
    return ((f(moved) - f(at[None])) / step).reshape(size, -1)


def is_matrix(linear: Any, dense: Any, weight: Any = None, selector: Any = None) -> None:
    """Both directions of a map on the reference engine are this matrix."""
    rng = np.random.default_rng(0)
    x, s = whole(rng, 2, *linear.source), whole(rng, 2, *linear.target)
    selector = None if selector is None else np.stack([selector, selector])
    y = applied("reference", "linear", linear, x, weight, selector)
    back = applied("reference", "adjoint", linear, s, weight, selector)
    np.testing.assert_allclose(y.reshape(2, -1), x.reshape(2, -1) @ dense, atol=1e-5)
    np.testing.assert_allclose(back.reshape(2, -1), s.reshape(2, -1) @ dense.T, atol=1e-5)


@settings(max_examples=EXAMPLES)
@given(linear=convs(), seed=seeds)
def test_conv_is_the_operator_of_onnx(linear: Conv, seed: int) -> None:
    weight = whole(np.random.default_rng(seed), *weight_shape(linear))
    f = by_onnx(operator("Conv", linear, {"w": weight}, group=linear.group))
    is_matrix(linear, matrix(f, linear), weight)


@settings(max_examples=EXAMPLES)
@given(linear=pools())
def test_average_pool_is_the_operator_of_onnx(linear: Pool) -> None:
    attributes = {"count_include_pad": int(linear.count_padding), "ceil_mode": ceil_mode(linear.window)}
    is_matrix(linear, matrix(by_onnxruntime(operator("AveragePool", linear, {}, **attributes)), linear))


@settings(max_examples=EXAMPLES)
@given(linear=selects(), seed=seeds)
def test_select_is_the_jacobian_of_max_pool(linear: Select, seed: int) -> None:
    # All numbers differ by 1 at least, so that a step of 1/4 changes no winner.
    x = np.random.default_rng(seed).permutation(int(np.prod(linear.source))).reshape(linear.source).astype(np.float64)
    f = by_onnxruntime(operator("MaxPool", linear, {}, ceil_mode=ceil_mode(linear.window)))
    is_matrix(linear, matrix(f, linear, x, 0.25), selector=x)


@settings(max_examples=EXAMPLES)
@given(linear=st.one_of(selects(), pools()))
def test_the_reference_pools_as_onnxruntime_does(linear: Select | Pool) -> None:
    """The oracle of all engines has a forward pass too, and cannot leave these operators to onnx."""
    op, options = "MaxPool", {"ceil_mode": ceil_mode(linear.window)}
    if isinstance(linear, Pool):
        op, options["count_include_pad"] = "AveragePool", int(linear.count_padding)
    x = np.random.default_rng(0).normal(size=(2, *linear.source)).astype(np.float32)
    forward = Forward(lambda dtype, _: operator(op, linear, {}, TensorProto.DOUBLE, **options), ("x",))
    read = Instruction("read", "activation", (), Activation("y"), linear.target, False, False)
    y = prepared("reference", forward, Program((read,), {"y": 0}))({"x": x})["y"]
    np.testing.assert_allclose(y, by_onnxruntime(operator(op, linear, {}, **options))(x), atol=1e-6)


def ceil_mode(window: Any) -> int:
    return int(any(a > e for a, e in zip(window.after, window.explicit, strict=True)))


# -- what the strategies meet too rarely


@each_engine
def test_select_gives_ties_to_the_first_place(name: str) -> None:
    window = Window((2, 2), (2, 2), (1, 1), (0, 0), (0, 0), (2, 4), (1, 2))
    linear = Select((1, 2, 4), (1, 1, 2), window)
    selector = np.array([[[[3, 3, 0, 1], [3, 3, 1, 1]]]], np.float64)
    back = applied(name, "adjoint", linear, np.array([[[[5.0, 7.0]]]]), selector=selector)
    np.testing.assert_array_equal(back, [[[[5, 0, 0, 7], [0, 0, 0, 0]]]])


@each_engine
@pytest.mark.parametrize("targets", [None, 2])
def test_overlapping_windows_add_up(name: str, targets: int | None) -> None:
    window = Window((3,), (1,), (1,), (1,), (1,), (4,), (4,))
    linear = Select((1, 4), (1, 4), window)
    selector = np.array([[[0.0, 9, 1, 2]]])
    lead = () if targets is None else (targets,)
    s = np.ones((*lead, 1, 1, 4))
    back = applied(name, "adjoint", linear, s, selector=selector, targets=targets)
    np.testing.assert_array_equal(back, np.broadcast_to([[[0, 3, 0, 1.0]]], (*lead, 1, 1, 4)))


@each_engine
def test_windows_over_negative_numbers_do_not_choose_the_padding(name: str) -> None:
    window = Window((2, 2), (1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (3, 3))
    linear = Select((1, 2, 2), (1, 3, 3), window)
    selector = np.array([[[[-4, -3], [-2, -1.0]]]])
    y = applied(name, "linear", linear, selector, selector=selector)
    np.testing.assert_array_equal(y, [[[[-4, -3, -3], [-2, -1, -1], [-2, -1, -1]]]])


@each_engine
@pytest.mark.parametrize("kind", ["linear", "adjoint"])
def test_maps_of_constants_too_large_to_be_folded(name: str, kind: str) -> None:
    """The denominators of w² and flat: maps of ones, which the emitted graph computes without a batch."""
    rng = np.random.default_rng(0)
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1), (40, 40), (40, 40))
    linear = Conv((3, 40, 40), (3, 40, 40), window)
    assert np.prod(linear.target) > SMALL
    sketch = Sketch()
    scalar, weight, x = sketch.constant(2.0), rng.normal(size=(3, 3, 3, 3)), whole(rng, 2, 3, 40, 40)
    made = getattr(sketch, kind)(linear, scalar, sketch.constant(weight))
    y = sketch.map("mul", sketch.activation("x", (3, 40, 40)), made)
    ones = np.full((1, 3, 40, 40), 2.0)
    expected = x * applied("reference", kind, linear, ones, weight)
    close(name, sketch.run(name, {"y": y}, x=x)["y"], expected)


@settings(max_examples=4 * EXAMPLES)
@given(
    window=windows("pool", 2, dilated=False), seed=seeds, channels=st.integers(1, 3),
    targets=st.sampled_from((None, None, 1, 3)), batch=st.sampled_from((1, 3)), infinite=st.booleans(),
)  # fmt: skip
def test_winners_are_found_by_comparison(
    window: Window, seed: int, channels: int, targets: int | None, batch: int, infinite: bool
) -> None:
    """Of any stride, padding and tail: exactly the reference, the first place on ties, with infinities too."""
    linear = Select((channels, *window.source), (channels, *window.target), window)
    rng = np.random.default_rng(seed)
    selector, s = whole(rng, batch, *linear.source), whole(rng, *(targets or 1, batch), *linear.target)
    if infinite:
        selector[selector > 2] = np.inf
    s = s[0] if targets is None else s
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winners, "LEAST", 0)
        back = applied("ort", "adjoint", linear, s, selector=selector, targets=targets)
    expected = applied("reference", "adjoint", linear, s, selector=selector, targets=targets)
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize(("kernel", "stride", "before"), [(3, 2, 1), (3, 2, 0), (2, 2, 0), (3, 1, 1), (3, 3, 0)])
def test_winners_of_large_maps_are_found_by_comparison(kernel: int, stride: int, before: int) -> None:
    """As many windows as the networks have that are known for them; ReLU's zeros are ties."""
    channels, n = 20, 36 * stride
    count = (n + 2 * before - kernel) // stride + 1
    axes = ((kernel,) * 2, (stride,) * 2, (1, 1), (before,) * 2, (before,) * 2, (n, n), (count, count))
    linear = Select((channels, n, n), (channels, count, count), Window(*axes))
    assert winners.fits(linear.window, channels * count * count)
    rng = np.random.default_rng(0)
    selector, s = np.maximum(whole(rng, 2, *linear.source), 0), whole(rng, 2, *linear.target)
    back = applied("ort", "adjoint", linear, s, selector=selector)
    padded = np.pad(selector, [(0, 0), (0, 0), *[(before, before + stride)] * 2], constant_values=-np.inf)
    expected = np.zeros_like(padded)
    grid = np.ix_(range(2), range(channels))
    for i in range(count):
        for j in range(count):
            place = padded[:, :, i * stride :, j * stride :][:, :, :kernel, :kernel].reshape(2, channels, -1).argmax(-1)
            expected[(*grid, i * stride + place // kernel, j * stride + place % kernel)] += s[:, :, i, j]
    inside = slice(before, before + n)
    np.testing.assert_array_equal(back, expected[:, :, inside, inside])


@each_engine
def test_the_other_forms_of_matmul(name: str) -> None:
    """One weight for vectors, matrices and stacks of them."""
    rng = np.random.default_rng(0)
    weight = whole(rng, 3, 5)
    for lead in ((), (2,), (2, 4)):
        x = whole(rng, 3, *lead, 3)
        y = applied(name, "linear", Matmul((*lead, 3), (*lead, 5)), x, weight)
        np.testing.assert_array_equal(y, x @ weight)
        y = applied(name, "linear", Matmul((*lead, 3), (*lead, 5), transposed=True), x, weight.T)
        np.testing.assert_array_equal(y, x @ weight)


def test_every_linear_map_is_in_every_table_and_in_these_tests() -> None:
    from onnxlrp.program import affine, linear  # noqa: F401 (all subclasses are loaded)

    names = {cls.__name__ for cls in LinearMap.__subclasses__()} - {"Composed", "Diagonal"}
    assert names == set(LINEAR_MAPS) == set(interpret.LINEAR) == set(interpret.ADJOINT)


def test_global_average_is_a_pool_that_covers() -> None:
    window = Window((2, 3), (1, 1), (1, 1), (0, 0), (0, 0), (2, 3), (1, 1))
    assert window.is_global
    dense = np.zeros((2, 6, 2))
    dense[0, :, 0] = dense[1, :, 1] = 1 / 6
    is_matrix(Pool((2, 2, 3), (2, 1, 1), window), dense.reshape(12, 2))


@each_engine
@settings(max_examples=EXAMPLES)
@given(linear=selects(), seed=seeds, batch=st.sampled_from((1, 3)))
def test_elements_of_a_constant_are_selected_by_an_activation(name: str, linear: Any, seed: int, batch: int) -> None:
    """The places of largest elements are those of a constant that counts the places."""
    rng, sketch = np.random.default_rng(seed), Sketch()
    selector = whole(rng, batch, *linear.source)
    values = [whole(rng, *linear.source), np.arange(np.prod(linear.source)).reshape(linear.source)]
    if linear.window.is_global:
        width = np.prod(linear.window.source)
        values.append(np.broadcast_to(np.arange(width), (linear.source[0], width)).reshape(linear.source))
    picked = sketch.activation("selector", linear.source)
    outputs = {str(n): sketch.linear(linear, sketch.constant(x), picked) for n, x in enumerate(values)}
    found = sketch.run(name, outputs, selector=selector)
    for n, x in enumerate(values):
        wide = np.broadcast_to(x, selector.shape)
        close(name, found[str(n)], applied("reference", "linear", linear, wide, selector=selector))
