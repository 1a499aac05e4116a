"""The gradient of every operator against finite differences, on models of one operator: our own, and onnx's."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from functools import cache

import numpy as np
import onnx
import pytest
import small_nets
from conformance import prepared
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case import node as node_cases

from onnxlrp.composites import preset
from onnxlrp.errors import OnnxLrpError
from onnxlrp.layers import registry

STEP = 1e-4

# -- finite differences


def runner(graph, explained):
    """Inputs and relevance → the model's output and the vector-Jacobian product for one input, in float64."""
    program = small_nets.compile(graph, preset("gradient"), mode="relevance", explained=explained)
    run = prepared("reference", small_nets.forward(graph), program)

    def values(inputs, relevance):
        outputs = run({**inputs, "relevance": relevance})
        return outputs["logits"], outputs["relevance"]

    return values


def directions(rng, shape, fixed):
    """A dense direction, which would meet a kink somewhere in a large input, and some along single coordinates."""
    size = int(np.prod(shape[1:]))
    steps = [rng.normal(size=shape)] if size < 500 else []
    chosen = rng.permutation(size)[: 3 if fixed or not steps else 12]
    for i in {0, size - 1, *chosen.tolist()}:  # the first and the last are beside the padding
        step = np.zeros((shape[0], size))
        step[:, i] = 1
        steps.append(step.reshape(shape))
    return steps


def checked(graph, explained, inputs, rng):
    """How many directions agree, and how many have a kink; an AssertionError where one differs."""
    values, (x, n) = runner(graph, explained), (inputs[explained], len(inputs[explained]))
    shape = graph.shapes[graph.outputs[0].name]
    r = rng.normal(size=(n, *shape))
    at, back = values(inputs, r)
    assert back.shape == x.shape
    steps = directions(rng, x.shape, graph.batch is not None)
    moves = [x + sign * STEP * step for step in steps for sign in (1, -1)]
    if graph.batch is None:
        others = {name: np.concatenate([value] * len(moves)) for name, value in inputs.items() if name != explained}
        zeros = np.zeros((n * len(moves), *shape))
        moved = values({**others, explained: np.concatenate(moves)}, zeros)[0].reshape(len(moves), n, *shape)
    else:
        moved = np.stack([values({**inputs, explained: move}, 0 * r)[0] for move in moves])
    smooth = kinks = 0
    for step, (ahead, behind) in zip(steps, zip(moved[::2], moved[1::2], strict=True), strict=True):
        # Each sample is a direction of its own: samples do not know of each other.
        forward, backward, central = (
            (r * d / STEP).reshape(n, -1).sum(axis=1) for d in (ahead - at, at - behind, (ahead - behind) / 2)
        )
        scale = np.abs(r * (ahead - behind) / 2 / STEP).reshape(n, -1).sum(axis=1) + 1e-3
        smooth_here = np.abs(forward - backward) <= 1e-2 * scale
        slope = (back * step).reshape(n, -1).sum(axis=1)
        assert (np.abs(slope - central)[smooth_here] <= 1e-5 * scale[smooth_here]).all(), (slope, central)
        smooth, kinks = smooth + smooth_here.sum(), kinks + (~smooth_here).sum()
    return smooth, kinks


# -- our own models, one for each form of each operator

MODELS = {}


def model(*shape, inputs=("x",)):
    def add(build):
        MODELS[build.__name__] = (shape, inputs, build)
        return build

    return add


def simple(op, *shape, name="", **attributes):
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


def numbers(*values):
    return np.array(values, np.int64)


def given(op, *arrays, **attributes):
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


def joined(op, **attributes):
    return lambda n: n.op(op, "x", "z", **attributes)


for _op in ("Add", "Sub", "Mul", "Sum"):
    MODELS[_op.lower()] = ((3, 2), ("x", "z"), joined(_op))
MODELS["concat"] = ((3, 2), ("x", "z"), joined("Concat", axis=2))


@model(3, 2, 2)
def sum_of_three(n):
    return n.op("Sum", "x", n.op("Relu", "x"), n.op("Tanh", "x"))


@model(3, 2, 2)
def twice_the_same(n):
    return n.op("Mul", "x", "x")


@model(3, 2, 2)
def gate(n):
    """Squeeze and excitation: a small factor is broadcast over the map."""
    return n.op("Mul", "x", n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", "x"), 3, 3, kernel=(1, 1))))


@model(3, 2, 2)
def broadcast_sum_under_a_mean(n):
    """The gradient that arrives at the sum is constant over the map, and the small operand gets all of it."""
    return n.op("GlobalAveragePool", n.op("Add", "x", n.op("GlobalMaxPool", "x")))


@model(3, 2, 2)
def broadcast_difference_under_a_mean(n):
    return n.op("ReduceMean", n.op("Sub", "x", n.op("GlobalAveragePool", "x")), numbers(3), keepdims=0)


@model(3, 2, 2)
def broadcast_product_under_a_sum(n):
    return n.op("ReduceSum", n.op("Mul", n.op("GlobalAveragePool", "x"), "x"), numbers(2, 3))


@model(2, 3, 3)
def softmax_under_a_mean(n):
    return n.op("GlobalAveragePool", n.op("Softmax", "x", axis=1))


@model(2, 4, 4)
def poolings_under_a_mean(n):
    a = n.op("MaxPool", n.op("AveragePool", "x", kernel_shape=[2, 2]), kernel_shape=[2, 2])
    return n.op(
        "GlobalAveragePool", n.op("Pad", n.op("Transpose", a, perm=[0, 1, 3, 2]), numbers(0, 0, 1, 0, 0, 0, 0, 1))
    )


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_the_slope(name):
    shape, inputs, build = MODELS[name]
    n = small_nets.Net(*shape)
    # Neg keeps a Softmax or Sigmoid from being taken for the head behind the logits.
    graph = small_nets.load(n.model(n.op("Neg", build(n)), inputs=inputs))
    rng = np.random.default_rng(1)
    x = {t.name: rng.normal(size=(3, *shape)) for t in graph.inputs}
    for explained in inputs:
        smooth, kinks = checked(graph, explained, x, rng)
        assert smooth > 5 * kinks


def test_every_operator_has_a_model():
    modelled = set()
    for shape, _, build in MODELS.values():
        n = small_nets.Net(*shape)
        build(n)
        modelled |= {node.op_type for node in n.nodes}
    assert set(registry()) <= modelled | LATER


LATER: set[str] = set()  # operators with finite differences of their own

# -- the node cases of onnx

MODULES = {m.name.replace("_", ""): m.name for m in pkgutil.iter_modules(node_cases.__path__)}
TWO_OPERANDS = ("Add", "Sub", "Mul", "Sum", "Concat")
FLOOR = 150
OUTCOMES: dict[str, str] = {}


@cache
def cases(op):
    """The single-node cases of an operator whose first input is float32; `collect_testcases` makes those of all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if op.lower() in MODULES:
            importlib.import_module(f"{node_cases.__name__}.{MODULES[op.lower()]}")
    found = []
    for case in node_cases._NodeTestCases:
        nodes, inputs = case.model.graph.node, case.data_sets[0][0]
        if len(nodes) == 1 and nodes[0].op_type == op and inputs and getattr(inputs[0], "dtype", None) == np.float32:
            found.append(case)
    return tuple(found)


def closed(case, free):
    """The case's model with `free` inputs and the rest as initialisers, and one output, negated."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    arrays = dict(zip((v.name for v in model.graph.input), case.data_sets[0][0], strict=True))
    kept = [v for v in model.graph.input if v.name in list(arrays)[:free]]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in list(arrays.items())[free:]
    )
    y = model.graph.output[0]
    out = helper.make_tensor_value_info("negated", y.type.tensor_type.elem_type, None)
    model.graph.node.append(helper.make_node("Neg", [y.name], ["negated"]))
    del model.graph.input[:], model.graph.output[:]
    model.graph.input.extend(kept)
    model.graph.output.append(out)
    return model, {v.name: arrays[v.name] for v in kept}


@pytest.mark.parametrize("op", sorted(registry()))
def test_node_cases_of_onnx(op):
    for case in cases(op):
        operands = len(case.data_sets[0][0])
        for free in {1, operands} if op in TWO_OPERANDS else {1}:
            name = case.name if free == 1 else f"{case.name} of {free}"
            try:
                model, inputs = closed(case, free)
                graph = small_nets.load(model)
                values = [runner(graph, explained) for explained in inputs]
            except OnnxLrpError as error:
                OUTCOMES[name] = f"refused: {error.message}"
                continue
            expected = -np.asarray(case.data_sets[0][1][0], float)
            if not expected.size or not np.isfinite(expected).all():
                OUTCOMES[name] = "refused: empty or infinite"
                continue
            inputs = {key: value.astype(float) for key, value in inputs.items()}
            relevance = np.zeros((len(next(iter(inputs.values()))), *graph.outputs[0].shape))
            # Where the batch was not axis 0 of the output it is now.
            actual = values[0](inputs, relevance)[0].reshape(expected.shape)
            np.testing.assert_allclose(actual, expected, rtol=case.rtol, atol=1e-6, err_msg=name)
            rng, kinks = np.random.default_rng(0), 0
            for explained in inputs:
                try:
                    kinks += checked(graph, explained, inputs, rng)[1]
                except AssertionError as error:
                    raise AssertionError(name) from error
            OUTCOMES[name] = "passed, kinks" if kinks else "passed"


def test_enough_node_cases_ran(notes):
    if len({name.split(" ")[0] for name in OUTCOMES}) < 50:
        pytest.skip("the node cases ran elsewhere")
    passed = [name for name, outcome in OUTCOMES.items() if outcome.startswith("passed")]
    kinks = sum(outcome == "passed, kinks" for outcome in OUTCOMES.values())
    refused = [name for name, outcome in OUTCOMES.items() if outcome.startswith("refused")]
    notes.append(
        f"onnx node cases: {len(OUTCOMES)} met, {len(passed)} passed ({kinks} with kinks left out), refused:"
        f" {', '.join(name.removeprefix('test_') for name in refused)}"
    )
    assert len(passed) >= FLOOR


def test_dropout_in_training_mode_is_refused():
    """It has no gradient that a second run would give again."""
    n = small_nets.Net(3, 4)
    graph = small_nets.load(n.model(n.relu(n.op("Dropout", "x", np.array(0.5), np.array(True)))))
    with pytest.raises(OnnxLrpError, match="training mode"):
        runner(graph, "x")
