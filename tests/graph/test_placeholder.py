"""The number that stands for the batch: no length of a model is taken for it. Operands of unequal ranks; scalars."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.frontend.placeholder import fitting_prime

F = np.float32
RNG = np.random.default_rng(0)


def model(nodes: Any, constants: Any, inputs: Any, opset: int = 17) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(k, 9 if k == "m" else 1, shape) for k, shape in inputs.items()]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", values, [helper.make_tensor_value_info("y", 1, None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_the_prime_divides_no_number() -> None:
    assert fitting_prime([0, 224, 1000]) == 1009
    assert fitting_prime([2018, 7 * 1013]) == 1019
    assert fitting_prime([], above=1009) == 1013


@pytest.mark.parametrize("classes", [1009, 2018, 5045, 1013 * 2, 1009 * 1013])
def test_any_number_of_classes(classes: int) -> None:
    weight = RNG.normal(size=(3, classes)).astype(F)
    loaded = onnxlrp.load(model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}, {"x": ["N", 3]}))
    assert loaded.graph.batch is None
    made = loaded.explain(np.ones((2, 3), F), target=classes - 1, method="gradient")
    np.testing.assert_array_equal(made.relevance, np.tile(weight[:, -1], (2, 1)))


@pytest.mark.parametrize("length", [1011, 1013 + 2, 2020])
def test_a_length_that_the_model_computes(length: int) -> None:
    """A valid convolution of 3 leaves 1009, 1013 or 2018 positions, none of which the file states."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("ReduceSum", ["c", "a"], ["y"], keepdims=0)]
    weight = RNG.normal(size=(2, 1, 3)).astype(F)
    loaded = onnxlrp.load(model(nodes, {"w": weight, "a": np.array([2])}, {"x": ["N", 1, length]}))
    assert loaded.graph.batch is None
    made = loaded.explain(np.ones((2, 1, length), F), target=1, method="gradient")
    np.testing.assert_allclose(made.relevance[1, 0, 2:-2], weight[1].sum(), rtol=1e-5)


@pytest.mark.parametrize("method", ["gradient", "epsilon", "occlusion"])
@pytest.mark.parametrize("shape", [(1,), ()])
def test_one_number_a_sample_and_one_constant(method: str, shape: Any) -> None:
    """Σ w x + b of each sample, as a factorisation machine ends in."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceSum", ["h", "a"], ["s"], keepdims=0),
        helper.make_node("Add", ["s", "b"], ["y"]),
    ]
    weight = RNG.normal(size=(3, 4)).astype(F)
    constants = {"w": weight, "a": np.array([1]), "b": np.full(shape, 0.5, F)}
    x = RNG.normal(size=(2, 3)).astype(F)
    for engine in ("ort", "reference"):
        made = onnxlrp.load(model(nodes, constants, {"x": ["N", 3]}), engine=engine).explain(x, target=0, method=method)
        np.testing.assert_allclose(made.output.reshape(-1), x @ weight.sum(axis=1) + 0.5, rtol=1e-5)
        slope = np.tile(weight.sum(axis=1), (2, 1))
        if method == "gradient":
            np.testing.assert_allclose(made.relevance, slope, rtol=1e-5)
        assert np.isfinite(made.relevance).all()


@pytest.mark.parametrize("tail", [False, True])
def test_where_between_three_inputs(tail: bool) -> None:
    nodes = [helper.make_node("Where", ["m", "x", "z"], ["v" if tail else "y"])]
    nodes += [helper.make_node("MatMul", ["v", "w"], ["y"])] * tail
    weight = RNG.normal(size=(2, 2)).astype(F) if tail else np.eye(2, dtype=F)
    made = model(nodes, {"w": weight} if tail else {}, {name: ["N", 2] for name in "mxz"})
    x, z, mask = RNG.normal(size=(3, 2)).astype(F), RNG.normal(size=(3, 2)).astype(F), RNG.random((3, 2)) > 0.5
    for engine in ("ort", "reference"):
        e = onnxlrp.load(made, engine).explain(x, target=1, method="gradient", input="x", given={"m": mask, "z": z})
        np.testing.assert_allclose(e.output, np.where(mask, x, z) @ weight, rtol=1e-5)
        np.testing.assert_allclose(e.relevance, mask * weight[:, 1], rtol=1e-5)


@pytest.mark.parametrize("op", ["Where", "Add"])
def test_operands_whose_batch_meets_another_axis(op: str) -> None:
    """In [2, 2] + [2], numbers of all samples reach each: no sample can be explained alone."""
    shapes = {"m": [2, 2], "x": [2], "z": [2]} if op == "Where" else {"x": [2], "z": [2, 2]}
    with pytest.raises(UnsupportedError, match=f"the {op} node"):
        onnxlrp.load(model([helper.make_node(op, list(shapes), ["y"])], {}, shapes))
