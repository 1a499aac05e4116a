"""The sets of operators against onnx's own definitions, and that they are written once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import onnxlrp
from onnxlrp.comparison.divergence import pairs
from onnxlrp.graph import operators
from onnxlrp.graph.load import load
from support.arrays import Array, one_output
from support.tiny_models import batch_norm, model, node, norm, values

ROOT = Path(onnxlrp.__file__).parent
SETS = {
    name: set(value)
    for name, value in vars(operators).items()
    if isinstance(value, (frozenset, dict)) and not name.startswith("__")
}
STANDARD = {schema.name for schema in onnx.defs.get_all_schemas()}
CLASSICAL = {f"{schema.domain}::{schema.name}" for schema in onnx.defs.get_all_schemas_with_history() if schema.domain}
# Operands that are no plain activation: constants that each has to have.
OPERANDS: dict[str, list[Any]] = {
    "Clip": [np.float32(-0.5), np.float32(0.5)],
    "Pow": [np.float32(3)],
    "PRelu": [np.float32(0.1)],
    "Where": [values(5, 7), values(5, 7)],
    "QuantizeLinear": [np.float32(0.1), np.int8(0)],
    "DequantizeLinear": [np.float32(0.1)],
    "Slice": [np.array([1]), np.array([3])],
    "Expand": [np.array([2, 5, 7])],
    "Tile": [np.array([1, 2])],
    "Gather": [np.array([2, 0])],
    "GatherElements": [np.zeros((5, 7), np.int64)],
    "GatherND": [np.array([[2, 0]])],
    "Reshape": [np.array([7, 5])],
    "TopK": [np.array([2])],
    "CumSum": [np.array(1)],
    "Unsqueeze": [np.array([0])],
    "Concat": [values(5, 3) ** 2],
}
BINARY = operators.ARITHMETIC | operators.ops(
    "Max Min Sum Mean Mod And Or Xor Equal Greater GreaterOrEqual Less LessOrEqual"
)
MAPS = operators.WINDOW_POOLS | operators.GLOBAL_POOLS | operators.ops("LRN DepthToSpace SpaceToDepth")
# The reference implementation lacks these.
UNKNOWN = operators.ops("GlobalLpPool Swish")
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Cast": {"to": TensorProto.FLOAT},
    "Split": {"num_outputs": 2},
    "Concat": {"axis": 1},
    "LRN": {"size": 3},
    "DepthToSpace": {"blocksize": 2},
    "SpaceToDepth": {"blocksize": 2},
    **{op: {"kernel_shape": [2, 2]} for op in operators.WINDOW_POOLS},
}
RESULTS = {"Split": 2, "TopK": 2, "DynamicQuantizeLinear": 3}


def evaluate(op: Any, x: Any) -> tuple[Array, Any]:
    """The first result of an operator by onnx's reference implementation, and the shape that onnx infers for it."""
    logical = op in ("And", "Or", "Xor", "Not", "Where")
    operand = x.astype(bool) if logical else x.astype(np.int8) if op == "DequantizeLinear" else x
    feeds = [operand, *OPERANDS.get(op, [operand[:1] if op in BINARY else None])]
    feeds = [np.asarray(value) for value in feeds if value is not None]
    names = [f"i{n}" for n in range(len(feeds))]
    results = [f"o{n}" for n in range(RESULTS.get(op, 1))]
    first = helper.make_tensor_value_info(names[0], helper.np_dtype_to_tensor_dtype(feeds[0].dtype), feeds[0].shape)
    body = helper.make_graph(
        [node(op, names, results, **ATTRIBUTES.get(op, {}))], "one", [first], [onnx.ValueInfoProto(name=results[0])],
        [numpy_helper.from_array(value, name) for name, value in zip(names[1:], feeds[1:], strict=True)],
    )  # fmt: skip
    proto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 23)])
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True).graph.output[0]
    shape = tuple(dim.dim_value for dim in inferred.type.tensor_type.shape.dim)
    return one_output(ReferenceEvaluator(proto).run([results[0]], {names[0]: feeds[0]})), shape


def sample(op: Any, positive: bool = False) -> Any:
    x = values(2, 4, 6, 6, seed=3) if op in MAPS else values(5, 7, seed=3)
    if op in ("Acos", "Asin", "Atanh"):
        x = np.tanh(x)
    if op == "Acosh":
        x = 1 + np.abs(x)
    return np.abs(x) if positive or op in ("Sqrt", "Log") else x


@pytest.mark.parametrize("op", sorted(operators.ELEMENTWISE - UNKNOWN))
def test_elementwise(op: Any) -> None:
    """The result has the shape of the operand, and each element depends on that at its place alone."""
    x = sample(op)
    y, shape = evaluate(op, x)
    assert shape == x.shape == y.shape
    changed = x.copy()
    changed[2:] = np.abs(changed[2:]) * 0.5 + 0.1 + (op == "Acosh")
    moved = evaluate(op, changed)[0]
    assert np.array_equal(y[1:2], moved[1:2], equal_nan=True)


@pytest.mark.parametrize("op", sorted(operators.NONNEGATIVE - UNKNOWN))
def test_nonnegative(op: Any) -> None:
    assert (evaluate(op, sample(op))[0] >= 0).all()


@pytest.mark.parametrize("op", sorted((operators.KEEPS_SIGN | operators.ROUTES) - UNKNOWN - {"Where"}))
def test_the_sign_is_kept(op: Any) -> None:
    assert (evaluate(op, sample(op, positive=True))[0] >= 0).all()


@pytest.mark.parametrize("op", sorted(operators.BOUNDED - {"Clip"}))
def test_bounded(op: Any) -> None:
    """However large the operand is."""
    assert np.abs(evaluate(op, 50 * sample(op))[0]).max() <= 1


@pytest.mark.parametrize("op", sorted(operators.DEFAULT_AXIS))
def test_default_axes_are_those_of_onnx(op: Any) -> None:
    attribute = onnx.defs.get_schema(op, 23).attributes["axis"]
    if attribute.default_value.type:
        assert attribute.default_value.i == operators.DEFAULT_AXIS[op]
    else:
        assert op in ("Concat", "Compress")  # required; flattened where it is absent


@pytest.mark.parametrize("name", sorted(SETS))
def test_operators_exist(name: Any) -> None:
    assert {op for op in SETS[name] if "::" not in op} <= STANDARD
    assert {op for op in SETS[name] if "::" in op} <= CLASSICAL | operators.OWN


def _collections(path: Any) -> Iterator[tuple[Any, Any]]:
    """(line, words) of each list, tuple or set of texts in a module, and of each call of `ops`."""
    for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(found, ast.List | ast.Tuple | ast.Set):
            texts = [e.value for e in found.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            yield found.lineno, texts
        elif isinstance(found, ast.Call) and getattr(found.func, "id", getattr(found.func, "attr", "")) == "ops":
            first: Any = found.args[0]
            yield found.lineno, first.value.split()


def test_no_other_module_lists_operators() -> None:
    """Three or more standard operators in one collection belong into `operators`, where they are told once.

    Tables of functions by operator may stand where the functions do; `layers` registers operators one by one, and
    `program` and the engines have operators of their own, some with ONNX's names.
    """
    others = [
        path for path in ROOT.rglob("*.py")
        if path != ROOT / "graph/operators.py" and path.parts[len(ROOT.parts)] not in ("layers", "program", "engines")
    ]  # fmt: skip
    assert len(others) > 100
    for path in others:
        for line, words in _collections(path):
            known = [word for word in words if word in STANDARD]
            assert len(known) < 3, f"{path.relative_to(ROOT)}:{line}: {' '.join(known)}"


def test_an_einsum_has_weights_in_every_comparison() -> None:
    """A BatchNormalization behind an Einsum is found in another model that has it folded into a convolution."""

    def net(second: Any) -> Any:
        nodes = [node("Einsum", ["x", "w"], ["e"], name="/mix/Einsum", equation="nchw,cwk->nkh"),
                 batch_norm("e", "y") if second else node("Relu", ["e"], ["y"], name="/act/Relu")]  # fmt: skip
        return load(model(nodes, {"w": values(4, 8, 6)} | norm(6)))

    graph = net(True)
    (weights,) = (layer for layer in graph.layers if layer.op == "Einsum")
    (normed,) = (layer for layer in graph.layers if layer.op == "BatchNormalization")
    found = {pair.path: pair.a for pair in pairs(graph, graph)}
    assert found[weights.label] == found[normed.label] == normed.name
