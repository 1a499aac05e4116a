"""What scikit-learn's exporter writes: linear models, their preprocessing, labels; against onnxruntime's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import model, node, values

COEFFICIENTS = {"coefficients": values(3 * 5).tolist(), "intercepts": values(3, seed=1).tolist()}


def classical(op: Any, inputs: Any, outputs: Any = ("y",), **attributes: Any) -> Any:
    return node(op, list(inputs), list(outputs), name=f"the{op}", domain="ai.onnx.ml", **attributes)


def of(*nodes: Any, constants: Any = None, outputs: Any = ("y",), text: Any = ()) -> Any:
    source = model(list(nodes), constants or {}, ("N", 5), outputs=outputs)
    source.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    for value in source.graph.output:
        if value.name in text:
            value.type.tensor_type.elem_type = TensorProto.STRING
        elif value.name == "label":
            value.type.tensor_type.elem_type = TensorProto.INT64
    return source


CASES = {
    "scaler": ([classical("Scaler", "x", offset=values(5).tolist(), scale=values(5, seed=1).tolist())], ["Sub", "Mul"]),
    "regressor": ([classical("LinearRegressor", "x", targets=3, **COEFFICIENTS)], ["Gemm"]),
    "L1": ([classical("Normalizer", "x", norm="L1")], ["LpNormalization"]),
    "L2": ([classical("Normalizer", "x", norm="L2")], ["LpNormalization"]),
    "columns": ([classical("ArrayFeatureExtractor", ["x", "i"])], ["Gather"]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_for_it(case: str) -> None:
    nodes, operators = CASES[case]
    source = of(*nodes, constants={"i": np.array([[3, 0]])} if case == "columns" else None)
    graph = load(source)
    assert [layer.op for layer in graph.layers] == operators
    assert graph.batch is None
    assert verify(graph, source) < 1e-5


def test_the_maximum_of_a_row_keeps_its_sign() -> None:
    """As the standard and onnxruntime have it: x / max x; a maximum of 0 divides nothing."""
    rows = np.array([[-1, 0, -2, -3, -1], [0, 0, 0, 0, 0], [-1, -2, -3, -4, -5], [1, -4, 2, 0, 1]], np.float32)
    expected = np.array([[-1, 0, -2, -3, -1], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5], [0.5, -2, 1, 0, 0.5]])
    source = of(classical("Normalizer", "x", norm="MAX"))
    for engine in ("reference", "ort"):
        found = onnxlrp.load(source, engine=engine).outputs(rows)["scores"]
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("function", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_a_classifier_gives_its_scores_and_its_label(function: str) -> None:
    classifier = classical("LinearClassifier", "x", ["label", "y"], classlabels_ints=[7, 3, 9],
                           post_transform=function, **COEFFICIENTS)  # fmt: skip
    source = of(classifier, outputs=["label", "y"])
    model_ = onnxlrp.load(source, engine="reference")
    assert verify(model_.graph, source) < 1e-5
    e = model_.explain(values(2, 5), method="epsilon", ledger=True)
    assert e.output.shape == (2, 3)
    assert max(row.error for row in e.ledger) < 1e-6


def test_names_of_classes_are_left_out() -> None:
    found = [node("ArgMax", ["y"], ["best"], axis=1), classical("ArrayFeatureExtractor", ["names", "best"], ["label"])]
    source = of(classical("LinearRegressor", "x", targets=3, **COEFFICIENTS), *found, outputs=["label", "y"],
                constants={"names": np.array(["a", "b", "c"], object)}, text=["label"])  # fmt: skip
    assert [tensor.name for tensor in load(source).outputs] == ["y"]
    del source.graph.output[1]
    with pytest.raises(UnsupportedError, match='output "label" is text'):
        load(source)


def test_numbers_that_nobody_can_follow_are_left_out_where_there_are_scores() -> None:
    """Where the largest are: as many as there are at run time."""
    nodes = [node("Relu", ["x"], ["y"]), node("NonZero", ["y"], ["label"])]
    source = of(*nodes, outputs=["label", "y"])
    assert [tensor.name for tensor in load(source).outputs] == ["y"]


def test_trees_are_answered_by_what_only_hides() -> None:
    trees = classical(
        "TreeEnsembleClassifier", "x", ["label", "y"], nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2],
        nodes_featureids=[2, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], class_treeids=[0, 0, 0, 0],
        class_nodeids=[1, 1, 2, 2], class_ids=[0, 1, 0, 1], class_weights=[0.9, 0.1, 0.2, 0.8],
        classlabels_int64s=[0, 1], post_transform="NONE",
    )  # fmt: skip
    model_ = onnxlrp.load(of(trees, outputs=["label", "y"]), engine="ort")
    x = np.array([[0.5, 0.5, 1, 0.5, 0.5]], np.float32)
    with pytest.raises(UsageError, match="background") as caught:
        model_.explain(x)
    assert "occlusion" in caught.value.command
    e = model_.explain(x, target=1, method="kernel_shap")
    assert np.abs(e.relevance[0]).argmax() == 2
    assert e.relevance[0, 2] == pytest.approx(0.7, abs=1e-3)
