"""Pipelines as scikit-learn's exporter writes them: preprocessing of columns, an input for each, names of columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.graph.loading.contracts import run
from onnxlrp.graph.loading.load_state import LoadState
from onnxlrp.graph.loading.passes import PASSES
from onnxlrp.graph.reading.read import read

WEIGHTS = np.array([[0.5, -1.0, 0.3, -0.7, 2.0], [-0.5, 1.0, 0.2, 0.7, -1.0]], np.float32)
BIAS = np.array([0.1, -0.2], np.float32)
OFFSET, SCALE = np.array([40.0, 30.0], np.float32), np.array([0.1, 0.2], np.float32)
CATEGORIES = [1, 2, 7]
ROWS = np.array([[41.0, 31.5, 1], [38.5, 34.0, 7], [52.0, 20.0, 2]])


def node(op: str, inputs: str, output: str, domain: str = "", **more: Any) -> Any:
    return helper.make_node(op, inputs.split(), output.split(), domain=domain, **more)


def ml(op: str, inputs: str, output: str, **more: Any) -> Any:
    return node(op, inputs, output, "ai.onnx.ml", **more)


def pipeline(imputed: bool = False) -> Any:
    """Columns age and fare, scaled, and a category as one hot, behind a linear classifier."""
    first = [ml("Imputer", "both", "whole", imputed_value_floats=[40.0, 30.0], replaced_value_float=float("nan"))]
    nodes = [
        node("Concat", "age fare", "both", axis=1),
        *(first if imputed else [node("Identity", "both", "whole")]),
        ml("Scaler", "whole", "scaled", offset=OFFSET, scale=SCALE),
        node("Gather", "kind place", "one", axis=1),
        node("Cast", "one", "integers", to=TensorProto.INT64),
        ml("OneHotEncoder", "integers", "hot", cats_int64s=CATEGORIES, zeros=1),
        node("Reshape", "hot shape", "flat"),
        node("Concat", "scaled flat", "features", axis=1),
        ml("LinearClassifier", "features", "label probabilities", classlabels_ints=[0, 1], post_transform="SOFTMAX",
           coefficients=WEIGHTS.reshape(-1), intercepts=BIAS),
    ]  # fmt: skip
    stored = [numpy_helper.from_array(np.array([0]), "place"), numpy_helper.from_array(np.array([-1, 3]), "shape")]
    given = [helper.make_tensor_value_info(name, kind, ["N", 1]) for name, kind in
             (("age", TensorProto.FLOAT), ("fare", TensorProto.FLOAT), ("kind", TensorProto.INT64))]  # fmt: skip
    made = [helper.make_tensor_value_info("label", TensorProto.INT64, None),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)]  # fmt: skip
    graph = helper.make_graph(nodes, "pipeline", given, made, stored)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def contributions(rows: Any) -> Any:
    """What each original column adds to each logit: of the category all of its one-hot columns together."""
    hot = (rows[:, 2:] == np.array(CATEGORIES)).astype(float)
    scaled = (rows[:, :2] - OFFSET) * SCALE
    numbers = scaled[:, None] * np.asarray(WEIGHTS[:, :2], np.float64)
    return np.concatenate([numbers, (hot @ np.asarray(WEIGHTS[:, 2:], np.float64).T)[..., None]], axis=2)


@pytest.mark.parametrize("imputed", [False, True])
def test_relevance_is_that_of_the_original_columns(imputed: bool) -> None:
    model = onnxlrp.load(pipeline(imputed), engine="reference")
    assert [(t.name, t.shape) for t in model.graph.inputs] == [("columns", (3,))]
    explained: Any = model.explain(ROWS.astype(np.float32), ledger=True, method="epsilon", epsilon=1e-12)
    parts = contributions(ROWS)
    logits = parts.sum(axis=2) + BIAS
    np.testing.assert_array_equal(explained.target, logits.argmax(axis=1))
    own = np.take_along_axis(parts, explained.target[:, None, None], axis=1)[:, 0]
    np.testing.assert_allclose(explained.relevance, own, atol=1e-5)
    np.testing.assert_allclose(explained.logit, logits.max(axis=1), atol=1e-5)
    assert max(row.error for row in explained.ledger) < 1e-8
    assert explained.feature_names == ("age", "fare", "kind")


def test_outputs_are_onnxruntimes() -> None:
    runtime = pytest.importorskip("onnxruntime")
    rows = np.concatenate([ROWS, [[40.0, 30.0, 5]]])  # a category that the model does not know
    feeds = {"age": rows[:, [0]].astype(np.float32), "fare": rows[:, [1]].astype(np.float32)}
    feeds["kind"] = rows[:, [2]].astype(np.int64)
    for imputed in (False, True):
        source = pipeline(imputed)
        _, expected = runtime.InferenceSession(source.SerializeToString()).run(None, feeds)
        explained = onnxlrp.load(source, engine="ort").explain(rows.astype(np.float32))
        np.testing.assert_allclose(explained.output, expected, atol=1e-6)


W3 = np.array([[0.5, -1.0], [-0.25, 0.75], [1.5, 0.125]], np.float32)  # of three classes


def whole(kind: str, types: tuple[int, int]) -> Any:
    """Columns age and hours of whole numbers, side by side, which an operator of ai.onnx.ml reads as floats."""
    linear = {"coefficients": W3.reshape(-1), "intercepts": [0.1, -0.2, 0.3]}
    readers = {
        "Scaler": [ml("Scaler", "both", "z", offset=[0.0, 0.0], scale=[0.5, 0.25])],
        "Normalizer": [ml("Normalizer", "both", "z", norm="L1")],
        "FeatureVectorizer": [ml("FeatureVectorizer", "both", "z", inputdimensions=[2])],
        "LinearClassifier": [ml("LinearClassifier", "both", "label y", classlabels_ints=[0, 1, 2], **linear)],
        "SVMClassifier": [ml("SVMClassifier", "both", "label y", classlabels_ints=[0, 1, 2], rho=[0.1],
                             coefficients=W3.reshape(-1), kernel_type="LINEAR", kernel_params=[0.0, 0.0, 3.0])],
        "doubled": [ml("Scaler", "both", "z", offset=[0.0, 0.0], scale=[0.5, 0.25])],
    }  # fmt: skip
    first = [node("Concat", "age hours", "both", axis=1)]
    if kind == "doubled":  # the model computes with whole numbers, which then do not become floats
        first = [node("Add", "hours hours", "more"), node("Concat", "age more", "both", axis=1)]
    last = [node("Gemm", "z w", "y", transB=1)] if "z" in readers[kind][0].output else []
    given = [
        helper.make_tensor_value_info(name, of, ["N", 1]) for name, of in zip(("age", "hours"), types, strict=True)
    ]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])]
    graph = helper.make_graph([*first, *readers[kind], *last], "whole", given, made, [numpy_helper.from_array(W3, "w")])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize("types", [(TensorProto.INT64, TensorProto.INT64), (TensorProto.INT32, TensorProto.INT32)])
@pytest.mark.parametrize(
    "kind",
    ["Scaler", "Normalizer", "FeatureVectorizer", "LinearClassifier", "SVMClassifier", "doubled"],
)
def test_whole_numbers_side_by_side_are_read_as_floats(kind: str, types: tuple[int, int]) -> None:
    """Outputs are onnxruntime's; relevance of what is linear is what its output loses where a column is 0."""
    runtime = pytest.importorskip("onnxruntime")
    source, rows = whole(kind, types), np.array([[39, 40], [50, 13], [-7, 2]])
    session = runtime.InferenceSession(source.SerializeToString())
    whole_type = helper.tensor_dtype_to_np_dtype(types[0])

    def computed(x: Any) -> Any:
        return session.run(["y"], {"age": x[:, :1].astype(whole_type), "hours": x[:, 1:].astype(whole_type)})[0]

    how: Any = (
        {"method": "occlusion", "score": "logit"} if kind == "doubled" else {"method": "epsilon", "epsilon": 1e-12}
    )
    for engine in ("ort", "reference"):
        found = onnxlrp.load(source, engine=engine).explain(rows.astype(np.float32), target=1, **how)
        np.testing.assert_allclose(found.output, computed(rows), rtol=1e-5, atol=1e-5)
        if kind != "Normalizer":
            lost = [computed(rows) - computed(np.where(np.arange(2) == n, 0, rows)) for n in range(2)]
            np.testing.assert_allclose(found.relevance, np.stack(lost, axis=2)[:, 1], rtol=1e-4, atol=1e-4)


def test_columns_of_a_table_are_found_by_their_names(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("kind,age,fare\n" + "\n".join(f"{k:g},{a:g},{f:g}" for a, f, k in ROWS), encoding="utf-8")
    model = onnxlrp.load(pipeline(), engine="reference")
    np.testing.assert_allclose(
        model.explain(str(table)).relevance, model.explain(ROWS.astype(np.float32)).relevance, atol=1e-6
    )


def test_passes_keep_their_contracts() -> None:
    """Of a pipeline of columns, each pass has what it requires, and leaves intact what it should."""
    state = LoadState(read(pipeline(imputed=True)))
    run(PASSES, state, check=True)
    assert state.columns == ("age", "fare", "kind")


def test_other_models_keep_their_inputs() -> None:
    """Without operators of ai.onnx.ml, inputs of one number each are inputs of their own."""
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in "ab"]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])]
    graph = helper.make_graph([node("Mul", "a b", "y")], "product", given, made)
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert [t.name for t in onnxlrp.load(source).graph.inputs] == ["a", "b"]


POWERS = np.array([0.6, -1.4])


def transformed(x: Any) -> Any:
    """Yeo and Johnson (2000): ((x + 1)^λ − 1) / λ above 0, −((1 − x)^(2 − λ) − 1) / (2 − λ) below."""
    up = ((np.maximum(x, 0) + 1) ** POWERS - 1) / POWERS
    down = -((1 - np.minimum(x, 0)) ** (2 - POWERS) - 1) / (2 - POWERS)
    return np.where(x < 0, down, up)


def power_transformer() -> Any:
    """PowerTransformer as skl2onnx writes it: powers that are undefined on the other side of 0, behind a mask."""
    nodes = [
        node("Add", "X one", "above"), node("Sub", "one X", "below"),
        node("Less", "X zero", "falls"), node("Not", "falls", "rises"),
        node("Cast", "falls", "m", to=TensorProto.FLOAT), node("Cast", "rises", "p", to=TensorProto.FLOAT),
        node("Pow", "above l", "a"), node("Sub", "a one", "b"), node("Div", "b l", "c"),
        node("Pow", "below k", "d"), node("Sub", "one d", "e"), node("Div", "e k", "f"),
        node("Log", "below", "g"), node("Mul", "g none", "h"), node("Add", "f h", "i"),
        ml("Imputer", "c", "cc", imputed_value_floats=[0.0, 0.0], replaced_value_float=float("nan")),
        ml("Imputer", "i", "ii", imputed_value_floats=[0.0, 0.0], replaced_value_float=float("nan")),
        node("Mul", "cc p", "up"), node("Mul", "ii m", "down"), node("Add", "up down", "z"),
        node("MatMul", "z w", "y"),
    ]  # fmt: skip
    stored = {"one": [1.0], "zero": [0.0], "none": [0.0, 0.0], "l": POWERS, "k": 2 - POWERS, "w": W3[:2]}
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in stored.items()]
    given, made = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", k]) for n, k in (("X", 2), ("y", 2)))
    graph = helper.make_graph(nodes, "power", [given], [made], tensors)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize("engine", ["reference", "ort"])
def test_powers_by_column_have_values_and_slopes_on_the_side_where_they_are_defined(engine: str) -> None:
    model = onnxlrp.load(power_transformer(), engine=engine)
    x = np.array([[2.0, -3.0], [-4.0, 1.5], [5.0, 0.5], [-2.0, -1.5]])
    z, weights = transformed(x), np.asarray(W3[:2], np.float64)
    for target in (0, 1):
        found = model.explain(x.astype(np.float32), target=target, method="epsilon", task="classification")
        np.testing.assert_allclose(found.relevance, z * weights[:, target], rtol=1e-4)
        slopes = model.explain(x.astype(np.float32), target=target, method="gradient").relevance
        expected = (transformed(x + 1e-6) - transformed(x - 1e-6)) / 2e-6 * weights[:, target]
        np.testing.assert_allclose(slopes, expected, rtol=1e-4)
