"""The gradient of every operator against finite differences, on models of one operator: our own, and onnx's."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.case import node as node_cases

from onnxlrp.errors import OnnxLrpError
from onnxlrp.graph.operators import OWN
from onnxlrp.layers import LAYERS
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import small_nets
from support.conformance import prepared
from support.operator_models import MODELS

STEP = 1e-5

# -- finite differences


def runner(graph: Any, explained: Any) -> Callable[..., Any]:
    """Inputs and relevance → the model's output and the vector-Jacobian product for one input, in float64."""
    program = small_nets.compile(graph, make_composite("gradient"), mode="relevance", explained=explained)
    run = prepared("reference", small_nets.forward(graph), program)

    def values(inputs: Any, relevance: Any) -> tuple[Any, Any]:
        outputs = run({**inputs, SEED: relevance})
        return outputs["logits"], outputs["relevance"]

    return values


def directions(rng: np.random.Generator, shape: Any, fixed: Any) -> list[Any]:
    """A dense direction, which would meet a kink somewhere in a large input, and some along single coordinates."""
    size = int(np.prod(shape[1:]))
    if not size:
        return [np.zeros(shape)]
    steps = [rng.normal(size=shape)] if size < 500 else []
    chosen = rng.permutation(size)[: 3 if fixed or not steps else 12]
    for i in {0, size - 1, *chosen.tolist()}:  # the first and the last are beside the padding
        step = np.zeros((shape[0], size))
        step[:, i] = 1
        steps.append(step.reshape(shape))
    return steps


def checked(graph: Any, explained: Any, inputs: Any, rng: np.random.Generator) -> tuple[Any, Any]:
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
        # Resize computes its places in single precision: a weight of 0 may be one of 1e-7.
        assert (np.abs(slope - central)[smooth_here] <= 1e-5 * scale[smooth_here] + 2e-7).all(), (slope, central)
        smooth, kinks = smooth + smooth_here.sum(), kinks + (~smooth_here).sum()
    return smooth, kinks


# -- our own models, one for each form of each operator


@pytest.mark.few(140)
@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_the_slope(name: Any) -> None:
    shape, inputs, build = MODELS[name]
    n = small_nets.Net(*shape)
    # A Softmax or Sigmoid is no head here.
    graph = small_nets.as_it_stands(n.model(n.op("Neg", build(n)), inputs=inputs))
    rng = np.random.default_rng(1)
    x = {t.name: rng.normal(size=(3, *shape)) for t in graph.inputs}
    for explained in inputs:
        smooth, kinks = checked(graph, explained, x, rng)
        assert smooth > 5 * kinks


def test_every_operator_has_a_model_or_cases_of_onnx() -> None:
    modelled = set()
    for shape, _, build in MODELS.values():
        n = small_nets.Net(*shape)
        build(n)
        modelled |= {node.op_type for node in n.nodes}
    assert all(cases(op) for op in set(LAYERS) - modelled - LATER)


# Operators with finite differences of their own: test_quantized.py, test_recurrent.py
LATER = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", *OWN}

# -- the node cases of onnx

MODULES = {m.name.replace("_", ""): m.name for m in pkgutil.iter_modules(node_cases.__path__)}
TWO_OPERANDS = ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Concat")
FLOOR = 0.7  # of the cases that this run meets: the quick and the slow set meet a part of them each
OUTCOMES: dict[str, str] = {}


@cache
def cases(op: Any) -> Any:
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


def closed(case: Any, free: Any) -> tuple[Any, dict[Any, Any]]:
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


@pytest.mark.few(8)
@pytest.mark.parametrize("op", sorted(LAYERS.keys() - LATER))
def test_node_cases_of_onnx(op: Any) -> None:
    for case in cases(op):
        operands = len(case.data_sets[0][0])
        for free in {1, operands} if op in TWO_OPERANDS else {1}:
            name = case.name if free == 1 else f"{case.name} of {free}"
            try:
                model, inputs = closed(case, free)
                graph = small_nets.as_it_stands(model)
                values = [runner(graph, explained) for explained in inputs]
            except OnnxLrpError as error:
                OUTCOMES[name] = f"refused: {error.message}"
                continue
            expected = -np.asarray(case.data_sets[0][1][0], float)
            if not expected.size or not np.isfinite(expected).all():
                OUTCOMES[name] = "refused: empty or infinite"
                continue
            inputs = {key: value.astype(float) for key, value in inputs.items()}
            # Away from whole numbers, where steps jump.
            away = {key: value + 1e-2 * (value == np.round(value)) for key, value in inputs.items()}
            relevance = np.zeros((len(next(iter(inputs.values()))), *graph.outputs[0].shape))
            # Where the batch was not axis 0 of the output it is now.
            axis = graph.batch_axes.get(graph.outputs[0].name, 0)
            turned = np.moveaxis(expected, axis, 0)
            actual = np.moveaxis(values[0](inputs, relevance)[0].reshape(turned.shape), 0, axis)
            np.testing.assert_allclose(actual, expected, rtol=case.rtol, atol=1e-6, err_msg=name)
            rng, kinks = np.random.default_rng(0), 0
            for explained in inputs:
                try:
                    kinks += checked(graph, explained, away, rng)[1]
                except AssertionError as error:
                    raise AssertionError(name) from error
            OUTCOMES[name] = "passed, kinks" if kinks else "passed"


@pytest.mark.slow
def test_enough_node_cases_ran(notes: list[str]) -> None:
    if len({name.split(" ")[0] for name in OUTCOMES}) < 50:
        pytest.skip("the node cases ran elsewhere")
    passed = [name for name, outcome in OUTCOMES.items() if outcome.startswith("passed")]
    kinks = sum(outcome == "passed, kinks" for outcome in OUTCOMES.values())
    refused = [name for name, outcome in OUTCOMES.items() if outcome.startswith("refused")]
    notes.append(
        f"onnx node cases: {len(OUTCOMES)} met, {len(passed)} passed ({kinks} with kinks left out), refused:"
        f" {', '.join(name.removeprefix('test_') for name in refused)}"
    )
    assert len(passed) >= FLOOR * len(OUTCOMES)


def test_dropout_in_training_mode_is_refused() -> None:
    """It has no gradient that a second run would give again."""
    n = small_nets.Net(3, 4)
    graph = small_nets.load(n.model(n.relu(n.op("Dropout", "x", np.array(0.5), np.array(True)))))
    with pytest.raises(OnnxLrpError, match="training mode"):
        runner(graph, "x")
