"""Models of one operator, one for each form of each: (shape of a sample, inputs, what builds it on a Net)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

from .arrays import Array
from .place_models import MODELS as PLACES
from .routing_models import MODELS as ROUTING
from .small_nets import Net

MODELS: dict[str, tuple[tuple[int, ...], tuple[str, ...], Callable[..., Any]]] = {**ROUTING, **PLACES}


def model(*shape: Any, inputs: Any = ("x",)) -> Callable[..., Any]:
    def add(build: Any) -> Any:
        MODELS[build.__name__] = (shape, inputs, build)
        return build

    return add


def simple(op: Any, *shape: Any, name: str = "", **attributes: Any) -> None:
    """A model of one operator on x."""
    MODELS[name or op.lower()] = (shape, ("x",), lambda n: n.op(op, "x", **attributes))


for _op in [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Elu",
    "LeakyRelu",
    "Softmax",
    "Neg",
    "Identity",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Flatten",
    "Dropout",
]:
    simple(_op, 3, 4, 2)
simple("LeakyRelu", 5, name="leaky_relu_that_falls", alpha=-0.5)
simple("Elu", 5, name="elu_half", alpha=0.5)
simple("Softmax", 3, 4, name="softmax_of_channels", axis=1)
simple("Cast", 4, to=TensorProto.FLOAT)
simple("Transpose", 2, 3, 4, perm=[0, 3, 1, 2])
simple("MaxPool", 2, 5, 5, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
simple("MaxPool", 2, 6, name="max_pool_with_ceil", kernel_shape=[3], strides=[2], ceil_mode=1)
simple("AveragePool", 2, 5, 5, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
simple("AveragePool", 2, 5, 5, name="average_pool_same", kernel_shape=[2, 2], auto_pad="SAME_UPPER")
simple(
    "AveragePool", 2, 4, 5, name="average_pool_counting", kernel_shape=[3, 2], pads=[1, 0, 2, 1], count_include_pad=1
)
simple("AveragePool", 2, 6, name="average_pool_with_ceil", kernel_shape=[3], strides=[2], ceil_mode=1)


def numbers(*values: Any) -> Array:
    return np.array(values, np.int64)


def given(op: Any, *arrays: Any, **attributes: Any) -> Callable[..., Any]:
    """An operator on x and constants."""
    return lambda n: n.op(op, "x", *(n.rng.normal(size=a) if isinstance(a, tuple) else a for a in arrays), **attributes)


for _name, _shape, _build in [
    ("clip", (9,), given("Clip", np.array(-0.5), np.array(0.8))),
    ("clip_below", (9,), given("Clip", np.array(0.0))),
    ("relu6", (9,), given("Clip", np.array(0.0), np.array(0.7))),
    ("add_constant", (3, 2, 2), given("Add", (3, 1, 1))),
    ("sub_constant", (3, 2, 2), given("Sub", (2,))),
    ("mul_constant", (3, 2, 2), given("Mul", (3, 2, 2))),
    ("div_constant", (3, 2, 2), given("Div", (1, 1, 2))),
    ("gemm", (4,), given("Gemm", (4, 3), (3,))),
    ("gemm_transposed", (4,), given("Gemm", (3, 4), (1,), transB=1, alpha=0.5, beta=3.0)),
    ("matmul", (2, 3, 4), given("MatMul", (4, 5))),
    ("reshape", (2, 3, 4), given("Reshape", numbers(0, 4, -1))),
    ("squeeze", (2, 1, 4), given("Squeeze", numbers(2))),
    ("unsqueeze", (2, 4), given("Unsqueeze", numbers(1, 4))),
    ("reducemean", (2, 3, 4), given("ReduceMean", numbers(2, 3))),
    ("reducemean_dropped", (2, 3, 4), given("ReduceMean", numbers(-1), keepdims=0)),
    ("reducesum", (2, 3, 4), given("ReduceSum", numbers(1), keepdims=0)),
    ("slice", (2, 6), given("Slice", numbers(5, 0), numbers(-9, 2), numbers(2, 1), numbers(-2, 1))),
    ("pad", (2, 3), given("Pad", numbers(0, 1, 2, 0, 0, 1), np.array(0.5))),
    ("batchnormalization", (3, 2), lambda n: n.norm("x", 3)),
    ("conv", (2, 5, 5), lambda n: n.conv("x", 2, 3, strides=[2, 1], pads=[1, 0, 2, 1])),
    ("conv_grouped", (4, 5), lambda n: n.conv("x", 4, 6, kernel=(3,), group=2, dilations=[2], pads=[2, 2])),
    ("conv_same", (2, 5, 5), given("Conv", (3, 2, 2, 2), auto_pad="SAME_LOWER", strides=[2, 2], kernel_shape=[2, 2])),
]:
    MODELS[_name] = (_shape, ("x",), _build)


def joined(op: Any, **attributes: Any) -> Callable[..., Any]:
    return lambda n: n.op(op, "x", "z", **attributes)


for _op in ("Add", "Sub", "Mul", "Sum"):
    MODELS[_op.lower()] = ((3, 2), ("x", "z"), joined(_op))
MODELS["concat"] = ((3, 2), ("x", "z"), joined("Concat", axis=2))


@model(3, 2, 2)
def sum_of_three(n: Net) -> str:
    return n.op("Sum", "x", n.op("Relu", "x"), n.op("Tanh", "x"))


@model(3, 2, 2)
def twice_the_same(n: Net) -> str:
    return n.op("Mul", "x", "x")


@model(3, 2, 2)
def gate(n: Net) -> str:
    """Squeeze and excitation: a small factor is broadcast over the map."""
    return n.op("Mul", "x", n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", "x"), 3, 3, kernel=(1, 1))))


@model(3, 2, 2)
def broadcast_sum_under_a_mean(n: Net) -> str:
    """The gradient that arrives at the sum is constant over the map, and the small operand gets all of it."""
    return n.op("GlobalAveragePool", n.op("Add", "x", n.op("GlobalMaxPool", "x")))


@model(3, 2, 2)
def broadcast_difference_under_a_mean(n: Net) -> str:
    return n.op("ReduceMean", n.op("Sub", "x", n.op("GlobalAveragePool", "x")), numbers(3), keepdims=0)


@model(3, 2, 2)
def broadcast_product_under_a_sum(n: Net) -> str:
    return n.op("ReduceSum", n.op("Mul", n.op("GlobalAveragePool", "x"), "x"), numbers(2, 3))


@model(2, 3, 3)
def softmax_under_a_mean(n: Net) -> str:
    return n.op("GlobalAveragePool", n.op("Softmax", "x", axis=1))


@model(2, 4, 4)
def poolings_under_a_mean(n: Net) -> str:
    a = n.op("MaxPool", n.op("AveragePool", "x", kernel_shape=[2, 2]), kernel_shape=[2, 2])
    return n.op(
        "GlobalAveragePool", n.op("Pad", n.op("Transpose", a, perm=[0, 1, 3, 2]), numbers(0, 0, 1, 0, 0, 0, 0, 1))
    )


# -- activation functions and functions of calculus

for _op in [
    "Abs", "Asinh", "Atan", "Ceil", "Celu", "Cos", "Cosh", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LogSoftmax", "Mish", "Reciprocal", "Round", "Selu", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tan",
    "ThresholdedRelu",
]:  # fmt: skip
    simple(_op, 3, 4, 2)
simple("Gelu", 5, name="gelu_by_tanh", approximate="tanh")
simple("Celu", 5, name="celu_half", alpha=0.5)
simple("Selu", 5, name="selu_of_ones", alpha=1.0, gamma=1.0)
simple("Elu", 5, name="elu_that_falls", alpha=-0.5)
simple("HardSigmoid", 5, name="hard_sigmoid_steep", alpha=0.7, beta=0.1)
simple("ThresholdedRelu", 9, name="thresholded_relu_below_zero", alpha=-0.5)
simple("LogSoftmax", 3, 4, name="logsoftmax_of_channels", axis=1)


def of(inner: Any, op: Any, **attributes: Any) -> Callable[..., Any]:
    """A function of one of restricted range."""
    return lambda n: n.op(op, inner(n), **attributes)


def _exp(n: Net) -> str:
    return n.op("Exp", "x")


def _tanh(n: Net) -> str:
    return n.op("Tanh", "x")


for _name, _shape, _build in [
    ("log", (5,), of(_exp, "Log")),
    ("sqrt", (5,), of(_exp, "Sqrt")),
    ("asin", (5,), of(_tanh, "Asin")),
    ("acos", (5,), of(_tanh, "Acos")),
    ("atanh", (5,), of(_tanh, "Atanh")),
    ("acosh", (5,), of(lambda n: n.op("Add", _exp(n), np.array(1.0)), "Acosh")),
    ("prelu", (3, 2, 2), lambda n: n.op("PRelu", "x", np.array([0.5, 0.0, 2.0]).reshape(3, 1, 1))),
    ("prelu_that_falls", (3, 2), lambda n: n.op("PRelu", "x", np.array([[[0.5], [-1.0], [-0.3]]]))),
    ("square", (5,), given("Pow", np.array(2.0))),
    ("cube", (5,), given("Pow", np.array([3.0]))),
    ("inverse_square", (5,), given("Pow", np.array(-2.0))),
    ("inverse", (5,), given("Pow", np.array(-1.0))),
    ("first_power", (5,), given("Pow", np.array(1.0))),
    ("power_by_integer", (5,), given("Pow", numbers(3))),
    ("root", (5,), lambda n: n.op("Pow", _exp(n), np.array(0.5))),
    ("power_of_root", (5,), lambda n: n.op("Pow", _exp(n), np.array(-0.75))),
    ("powers_by_column", (2, 5), given("Pow", np.array([2.0, 1.0, -1.0, 0.0, 3.0]))),
    ("roots_by_column", (2, 3), lambda n: n.op("Pow", _exp(n), np.array([0.5, 1.7, -1.3]))),
    ("exponential_of_two", (3, 2), lambda n: n.op("Pow", np.array([[2.0], [0.5], [1.0]]), "x")),
    ("constant_by_x", (5,), lambda n: n.op("Div", np.array(2.0), "x")),
    ("constants_by_one", (3, 1), lambda n: n.op("Div", n.rng.normal(size=(3, 4)), "x")),
]:
    MODELS[_name] = (_shape, ("x",), _build)


# -- sums and extrema of several tensors

for _op in ("Mean", "Max", "Min", "Div"):
    MODELS[_op.lower()] = ((3, 2), ("x", "z"), joined(_op))
for _op in ("Sum", "Mean", "Max", "Min"):

    @model(3, 2, inputs=("x", "z"))
    def _several(n: Net, op: Any = _op) -> Any:
        """Constants between activations, one broadcast, one twice."""
        row = n.op("ReduceSum", "z", numbers(1))
        return n.op(op, "x", n.rng.normal(size=(2,)), row, "z", np.array([[[0.1]]]), "x")

    MODELS[f"{_op.lower()}_of_several"] = MODELS.pop("_several")

for _name, _shape, _build in [
    ("rectified", (5,), given("Max", np.array(0.0))),
    ("floor_by_channel", (3, 4), given("Max", (3, 1), np.array(-0.7))),
    ("ceiling", (5,), given("Min", np.array(0.5))),
    ("max_with_a_larger_constant", (3, 1), given("Max", (3, 4))),
    ("sum_with_a_larger_constant", (3, 1), given("Add", (3, 4))),
    ("product_with_a_larger_constant", (3, 1), given("Mul", (3, 4))),
    ("mean_with_constants", (3, 4), given("Mean", (3, 1), (4,))),
    ("sum_with_constants", (3, 4), given("Sum", (3, 1), (4,))),
    ("constant_less_x", (3, 4), lambda n: n.op("Sub", n.rng.normal(size=(4,)), "x")),
]:
    MODELS[_name] = (_shape, ("x",), _build)

# -- reductions and norms

for _op in ["ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp"]:
    MODELS[_op.lower()] = ((2, 3, 4), ("x",), given(_op, numbers(2, 3)))
    MODELS[f"{_op.lower()}_across"] = ((2, 3, 4), ("x",), given(_op, numbers(-1, 1), keepdims=0))
    MODELS[f"{_op.lower()}_of_channels"] = ((2, 2), ("x",), given(_op, numbers(1)))
MODELS["reducelogsum"] = (
    (2, 3),
    ("x",),
    lambda n: n.op("ReduceLogSum", n.op("Add", _exp(n), np.array(0.5)), numbers(1)),
)
MODELS["reducemax_of_all"] = ((2, 3), ("x",), given("ReduceMax", numbers(1, 2), keepdims=0))
simple("MaxPool", 2, 9, name="max_pool_dilated", kernel_shape=[3], dilations=[2], strides=[2])
simple("AveragePool", 2, 7, 7, name="average_pool_dilated", kernel_shape=[2, 3], dilations=[3, 2], pads=[1, 0, 0, 2])
simple("LpPool", 2, 5, 5, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
simple("LpPool", 2, 7, name="lp_pool_cubic", kernel_shape=[3], p=3, strides=[2], dilations=[2])
simple("LpPool", 2, 6, name="lp_pool_of_magnitudes", kernel_shape=[3], p=1, strides=[2], ceil_mode=1)
simple("GlobalLpPool", 2, 3, 3)
simple("GlobalLpPool", 2, 4, name="global_lp_pool_of_four", p=4)


@model(2, 5, 5)
def max_pool_with_indices(n: Net) -> str:
    """Indices that nobody reads."""
    y = n.op("MaxPool", "x", kernel_shape=[2, 2], storage_order=1)
    n.nodes[-1].output.append("indices")
    return y


@model(3, 4)
def reductions_under_a_mean(n: Net) -> str:
    a = n.op("ReduceL2", "x", numbers(2), keepdims=0)
    b = n.op("ReduceMax", "x", numbers(2), keepdims=0)
    return n.op("ReduceMean", n.op("Add", n.op("Mul", a, np.array(2.0)), b), numbers(1), keepdims=0)


# -- normalisations

for _name, _shape, _build in [
    ("layernormalization", (3, 4), given("LayerNormalization", (4,), (4,))),
    ("layer_normalization_of_all", (3, 2, 2), given("LayerNormalization", (3, 2, 2), axis=1)),
    ("layer_normalization_of_a_map", (3, 2, 2), given("LayerNormalization", (2, 2), (2, 2), axis=-2, epsilon=0.1)),
    ("instancenormalization", (3, 2, 2), given("InstanceNormalization", (3,), (3,))),
    ("group_normalization", (4, 2, 3), given("GroupNormalization", (2,), (2,), num_groups=2)),
    ("lrn", (5, 2, 2), given("LRN", size=3, alpha=0.5, beta=0.6, bias=1.5)),
    ("lrn_of_few_channels", (2, 2, 1), given("LRN", size=5, alpha=0.7)),
    ("lpnormalization", (3, 4), given("LpNormalization", axis=1)),
    ("lp_normalization_of_magnitudes", (3, 4), given("LpNormalization", axis=-1, p=1)),
    ("meanvariancenormalization", (3, 2, 2), given("MeanVarianceNormalization", axes=[2, 3])),
    ("mean_variance_of_channels", (3, 2, 2), given("MeanVarianceNormalization", axes=[1])),
]:
    MODELS[_name] = (_shape, ("x",), _build)


@model(3, 4)
def rmsnormalization(n: Net) -> str:
    """At opset 23, which the net's own opset is converted to."""
    n.opset = 23
    return n.op("RMSNormalization", "x", n.rng.normal(size=4))


@model(4, 2, 2)
def group_normalization_by_channel(n: Net) -> str:
    n.opset = 21
    return n.op("GroupNormalization", "x", n.rng.normal(size=4), n.rng.normal(size=4), num_groups=2)


@model(4, 2, 2)
def group_normalization_in_pieces(n: Net) -> str:
    flat = n.op("Reshape", "x", numbers(0, 2, -1))
    flat = n.op("InstanceNormalization", flat, np.ones(2), np.zeros(2))
    whole = n.op("Reshape", flat, numbers(0, 4, 2, 2))
    return n.op("Add", n.op("Mul", whole, n.rng.normal(size=(4, 1, 1))), n.rng.normal(size=(4, 1, 1)))


def layer_norm_in_pieces(divide: Any, axis: Any, squares: Any) -> Callable[..., Any]:
    def build(n: Net) -> str:
        centred = n.op("Sub", "x", n.op("ReduceMean", "x", numbers(axis)))
        square = n.op("Mul", centred, centred) if squares == "Mul" else n.op("Pow", centred, np.array(2.0))
        deviation = n.op("Sqrt", n.op("Add", n.op("ReduceMean", square, numbers(axis)), np.array(1e-5)))
        factor = deviation if divide else n.op("Reciprocal", deviation)
        standard = n.op("Div" if divide else "Mul", centred, factor)
        return n.op("Add", n.op("Mul", standard, n.rng.normal(size=(3, 1))), n.rng.normal(size=(3, 1)))

    return build


MODELS["layer_norm_as_pytorch_writes_it"] = ((3, 4), ("x",), layer_norm_in_pieces(True, -1, "Pow"))
MODELS["layer_norm_of_channels"] = ((3, 4), ("x",), layer_norm_in_pieces(True, 1, "Mul"))
MODELS["layer_norm_by_reciprocal"] = ((3, 4), ("x",), layer_norm_in_pieces(False, 2, "Mul"))


@model(5, 3, 3)
def lrn_in_pieces(n: Net) -> str:
    """As PyTorch exports it."""
    square = n.op("Unsqueeze", n.op("Mul", "x", "x"), numbers(1))
    padded = n.op("Pad", square, numbers(0, 0, 1, 0, 0, 0, 0, 1, 0, 0))
    mean = n.op("Squeeze", n.op("AveragePool", padded, kernel_shape=[3, 1, 1]), numbers(1))
    scaled = n.op("Add", n.op("Mul", mean, np.array(0.5)), np.array(1.0))
    return n.op("Div", "x", n.op("Pow", scaled, np.array(0.75)))


@model(5, 3, 3)
def lrn_by_an_inverse_power(n: Net) -> str:
    mean = n.op("ReduceMean", n.op("Mul", "x", "x"), numbers(1))
    whole = n.op("Add", n.op("Mul", "x", np.array(0.0)), n.op("Add", mean, np.array(1.0)))
    return n.op("Mul", "x", n.op("Pow", whole, np.array(-0.75)))


# -- activation functions written out


@model(5)
def silu(n: Net) -> str:
    return n.op("Mul", "x", n.op("Sigmoid", "x"))


@model(5)
def gelu_by_erf_in_pieces(n: Net) -> str:
    normal = n.op("Add", n.op("Erf", n.op("Div", "x", np.array(2**0.5))), np.array(1.0))
    return n.op("Mul", n.op("Mul", "x", normal), np.array(0.5))


@model(5)
def gelu_by_tanh_in_pieces(n: Net) -> str:
    cubic = n.op("Add", "x", n.op("Mul", n.op("Pow", "x", np.array(3.0)), np.array(0.044715)))
    t = n.op("Tanh", n.op("Mul", cubic, np.array((2 / np.pi) ** 0.5)))
    return n.op("Mul", n.op("Mul", "x", np.array(0.5)), n.op("Add", t, np.array(1.0)))
