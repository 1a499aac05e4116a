"""Clusterings and Gaussian mixtures, in the forms that exporters write them in, against their definitions in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.explanation import ledger

WIDTH, COUNT = 4, 3
RNG = np.random.default_rng(5)
CENTRES = RNG.normal(size=(COUNT, WIDTH)).astype(np.float32) * 2
WEIGHTS = np.log(np.array([0.2, 0.5, 0.3]))
EXACT: dict[str, Any] = {"method": "epsilon", "epsilon": 1e-12, "stabilizer": 1e-12}


def samples(count: int = 8) -> Any:
    return np.random.default_rng(1).normal(size=(count, WIDTH)).astype(np.float32) * 2


def model_of(nodes: Any, constants: Any, outputs: Any) -> Any:
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])
    types = {"label": TensorProto.INT64}
    made = [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in outputs]
    graph = helper.make_graph(nodes, "clusters", [given], made, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def node(op: str, inputs: str, output: str, **more: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **more)


def single(value: Any) -> Any:
    return np.asarray(value, np.float32)


def clustering(scaled: bool = False) -> Any:
    """‖x‖² − 2 x μ + ‖μ‖², of columns that are scaled first or not."""
    nodes = [node("Mul", "x scale", "z")] if scaled else [node("Identity", "x", "z")]
    nodes += [
        node("ReduceSumSquare", "z axis", "own", keepdims=1),
        node("Gemm", "z centres", "crossed", alpha=-2.0, transB=1),
        node("Add", "own crossed", "part"),
        node("Add", "squares part", "distances"),
        node("ArgMin", "distances", "label", axis=1, keepdims=0),
        node("Sqrt", "distances", "scores"),
    ]
    constants = {
        "axis": np.array([1]),
        "centres": CENTRES,
        "squares": (CENTRES**2).sum(axis=1),
        "scale": single([1, 2, 0.5, 1]),
    }
    used = {name for n in nodes for name in n.input}
    return model_of(nodes, {k: v for k, v in constants.items() if k in used}, ["label", "scores"])


def covariances(kind: str) -> Any:
    """Precisions [COUNT, WIDTH, WIDTH] and the constants of the densities."""
    rng = np.random.default_rng(9)
    if kind == "diag":
        precisions = np.array([np.diag(rng.uniform(0.3, 2, WIDTH)) for _ in range(COUNT)])
    else:
        roots = rng.normal(size=(COUNT, WIDTH, WIDTH))
        precisions = roots @ roots.transpose(0, 2, 1) + 0.3 * np.eye(WIDTH)
    shift = 0.5 * np.linalg.slogdet(precisions)[1] - 0.5 * WIDTH * np.log(2 * np.pi) + WEIGHTS
    return precisions, shift


def mixture(kind: str) -> Any:
    """A mixture as scikit-learn's exporter writes it: products of squares, or a Gemm for each component."""
    precisions, shift = covariances(kind)
    constants: dict[str, Any] = {"axis": np.array([1]), "half": single([-0.5]), "shift": single(shift)}
    if kind == "diag":
        diagonal = np.diagonal(precisions, axis1=1, axis2=2)
        constants |= {"linear": single((CENTRES * diagonal).T), "quadratic": single(diagonal.T),
                      "squares": single((CENTRES**2 * diagonal).sum(axis=1))}  # fmt: skip
        nodes = [
            node("Gemm", "x linear", "crossed", alpha=-2.0),
            node("Add", "squares crossed", "part"),
            node("Mul", "x x", "powers"),
            node("Gemm", "powers quadratic", "own"),
            node("Add", "part own", "distances"),
        ]
    else:
        nodes = []
        for n in range(COUNT):
            root = np.linalg.cholesky(precisions[n])
            constants |= {f"root{n}": single(root), f"bias{n}": single(-CENTRES[n] @ root)}
            nodes.append(node("Gemm", f"x root{n} bias{n}", f"y{n}"))
            nodes.append(node("ReduceSumSquare", f"y{n} axis", f"d{n}", keepdims=1))
        nodes.append(node("Concat", " ".join(f"d{n}" for n in range(COUNT)), "distances", axis=1))
    nodes += [
        node("Mul", "distances half", "halved"),
        node("Add", "halved shift", "densities"),
        node("ArgMax", "densities", "label", axis=1),
        node("ReduceLogSumExp", "densities axis", "total", keepdims=1),
        node("Sub", "densities total", "logarithms"),
        node("Exp", "logarithms", "probabilities"),
    ]
    return model_of(nodes, constants, ["label", "probabilities"])


@pytest.mark.parametrize("scaled", [False, True])
def test_a_cluster_is_explained_against_the_nearest_other(scaled: bool) -> None:
    x = samples()
    explained: Any = onnxlrp.load(clustering(scaled), engine="reference").explain(x, ledger=True, **EXACT)
    scale = np.array([1, 2, 0.5, 1]) if scaled else np.ones(WIDTH)
    parts = (np.asarray(x, np.float64)[:, None] * scale - np.asarray(CENTRES, np.float64)) ** 2
    squares = parts.sum(axis=2)
    own, rival = np.argsort(squares, axis=1)[:, :2].T
    rows = np.arange(len(x))
    np.testing.assert_array_equal(explained.target, own)
    np.testing.assert_allclose(explained.logit, squares[rows, rival] - squares[rows, own], atol=1e-5)
    np.testing.assert_allclose(explained.relevance, parts[rows, rival] - parts[rows, own], atol=1e-5)
    assert max(row.error for row in explained.ledger) < 1e-9
    assert [best[0][0] for best in explained.top(1)] == own.tolist()
    assert explained.quantity == "distance"
    np.testing.assert_allclose(explained.output, np.sqrt(squares), atol=1e-5)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_a_component_is_explained_by_its_log_odds(kind: str) -> None:
    x = samples()
    explained: Any = onnxlrp.load(mixture(kind), engine="reference").explain(x, ledger=True, **EXACT)
    precisions, shift = covariances(kind)
    apart = np.asarray(x, np.float64)[:, None] - np.asarray(CENTRES, np.float64)
    # −½ (x − μ) ⊙ Λ (x − μ): what each feature adds to each density.
    parts = -0.5 * apart * np.einsum("nci,cij->ncj", apart, precisions)
    densities = parts.sum(axis=2) + shift
    p = np.exp(densities - np.log(np.exp(densities).sum(axis=1, keepdims=True)))
    gone = ledger.sums(explained.ledger)
    np.testing.assert_allclose(explained.output, p, atol=1e-6)
    np.testing.assert_array_equal(explained.target, densities.argmax(axis=1))
    for n, own in enumerate(explained.target):
        others = [k for k in range(COUNT) if k != own]
        q = p[n, others] / p[n, others].sum()
        log_odds = densities[n, own] - np.log(np.exp(densities[n, others]).sum())
        assert explained.logit[n] == pytest.approx(log_odds, rel=1e-5, abs=1e-5)
        np.testing.assert_allclose(explained.relevance[n], parts[n, own] - q @ parts[n, others], rtol=1e-4, atol=1e-5)
        assert gone["coefficients"][n] == pytest.approx(shift[own] - q @ shift[others], abs=1e-4)
        assert gone["entropy"][n] == pytest.approx(q @ np.log(q), abs=1e-4)
    assert max(row.error for row in explained.ledger) < 1e-9


@pytest.mark.parametrize("source", [clustering(), mixture("diag"), mixture("full")], ids=["clusters", "diag", "full"])
def test_outputs_are_onnxruntimes(source: Any) -> None:
    runtime = pytest.importorskip("onnxruntime")
    label, scores = runtime.InferenceSession(source.SerializeToString()).run(None, {"x": samples()})
    explained: Any = onnxlrp.load(source, engine="ort").explain(samples(), ledger=True)
    np.testing.assert_allclose(explained.output, scores, atol=1e-5)
    np.testing.assert_array_equal(explained.target, label.reshape(-1))
    assert max(row.error for row in explained.ledger) < 1e-4


def test_what_is_no_distance_is_left_alone() -> None:
    """Of a softmax of squares with both signs the logits are explained, as those of any other."""
    mixed = RNG.normal(size=(WIDTH, COUNT)).astype(np.float32)
    nodes = [node("Mul", "x x", "powers"), node("Gemm", "powers w", "z"), node("Softmax", "z", "y", axis=1)]
    model = onnxlrp.load(model_of(nodes, {"w": mixed}, ["y"]), engine="reference")
    assert not model.graph.explained
    np.testing.assert_allclose(model.explain(samples()).logit, (samples() ** 2 @ mixed).max(axis=1), rtol=1e-5)
