"""Missing values: a model fills them in, or its trees have a branch for them; elsewhere they are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError
from onnxlrp.graph.trees.missing import missing
from support.arrays import Array
from support.shapley import enumerated
from support.tree_models import MODES, classifier, computed, grown, newer, regressor, weights

NAN = float("nan")
RNG = np.random.default_rng(4)
WEIGHT = np.array([[0.5, -1.0, 0.25], [-0.5, 1.0, 0.75]], np.float32)


def ml(op: str, inputs: str, output: str, **more: Any) -> Any:
    domain = "" if op in ("Concat", "IsNaN", "Cast", "Relu", "MatMul") else "ai.onnx.ml"
    return helper.make_node(op, inputs.split(), output.split(), domain=domain, **more)


def model(nodes: list[Any], width: int, constants: dict[str, Array] | None = None, classes: int = 2) -> Any:
    stored = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", classes])]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph(nodes, "table", given, made, stored), opset_imports=opsets, ir_version=9)


SCALER = {"offset": [40.0, 30.0, 2.0], "scale": [0.1, 0.2, -0.5]}
LINEAR = ml("LinearClassifier", "whole", "label y", classlabels_ints=[0, 1], post_transform="NONE",
            coefficients=WEIGHT.reshape(-1), intercepts=[0.1, -0.2])  # fmt: skip


def imputer(inputs: str, output: str, values: list[float]) -> Any:
    return ml("Imputer", inputs, output, imputed_value_floats=values, replaced_value_float=NAN)


def imputed(scaled_first: bool = False) -> Any:
    """A linear model behind an Imputer of (41, 28, 1), with a Scaler behind or before it."""
    fills = np.array([41.0, 28.0, 1.0])
    if scaled_first:
        filled = ((fills - SCALER["offset"]) * SCALER["scale"]).tolist()
        nodes = [ml("Scaler", "x", "scaled", **SCALER), imputer("scaled", "whole", filled)]
    else:
        nodes = [imputer("x", "filled", fills.tolist()), ml("Scaler", "filled", "whole", **SCALER)]
    return model([*nodes, LINEAR], 3)


def with_gaps(shape: tuple[int, int], rng: Any = RNG) -> Array:
    """Whole numbers, a third of them missing."""
    return np.where(rng.random(shape) < 0.3, NAN, rng.integers(-1, 3, shape)).astype(np.float32)


@pytest.mark.parametrize("scaled_first", [False, True])
@pytest.mark.parametrize("method", ["epsilon", "gradient_x_input", "integrated_gradients", "kernel_shap", "occlusion"])
def test_a_row_is_explained_as_the_one_that_the_model_fills_in(method: str, scaled_first: bool) -> None:
    source = imputed(scaled_first)
    rows = np.array([[NAN, 31.5, 1], [38.5, NAN, NAN], [52, 20, 2]], np.float32)
    whole = np.where(np.isnan(rows), np.array([41.0, 28.0, 1.0]), rows).astype(np.float32)
    opened = onnxlrp.load(source)
    found, want = (opened.explain(x, target=1, method=method) for x in (rows, whole))
    np.testing.assert_allclose(found.relevance, want.relevance, atol=1e-5)
    np.testing.assert_allclose(found.output, computed(source, rows), atol=1e-5)  # of NaN, by onnxruntime
    assert found.inputs is not None
    np.testing.assert_array_equal(np.isnan(found.inputs), np.isnan(rows))
    assert found.provenance["missing"] == {
        "feature 0": "filled in with 41", "feature 1": "filled in with 28", "feature 2": "filled in with 1",
    }  # fmt: skip
    assert "missing" not in want.provenance


@pytest.mark.parametrize("mode", [*MODES, "all"])
@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_tree_shap_is_the_enumeration_by_onnxruntime(mode: str, kind: str) -> None:
    """Rows and background with missing values, splits that send them both ways."""
    modes = MODES if mode == "all" else (mode,)
    nodes, leaves = grown(7, trees=4, depth=4, modes=modes, missing=True, whole=True)
    added = weights(7, leaves, [0] if kind == "regressor" else [0, 1, 2])
    source = regressor(nodes, added) if kind == "regressor" else classifier(nodes, added, 3)
    x, rows = with_gaps((6, 4)), with_gaps((9, 4))
    found = onnxlrp.load(source).explain(x, target=0, method="tree_shap", background=rows)
    np.testing.assert_allclose(found.relevance, enumerated(lambda z: computed(source, z)[:, 0], x, rows), atol=1e-6)
    assert np.abs(found.notes["difference"]).max() < 1e-5
    assert set(found.provenance["missing"].values()) == {"takes the trees' branch for missing values"}


def test_sets_of_values_and_leaves_of_the_operator_of_version_5() -> None:
    trees: dict[str, Any] = {
        "tree_roots": [0], "nodes_modes": [6, 0, 4], "nodes_featureids": [0, 1, 2],
        "nodes_splits": [0.0, 1.0, 2.0], "nodes_truenodeids": [1, 0, 2], "nodes_trueleafs": [0, 1, 1],
        "nodes_falsenodeids": [2, 1, 3], "nodes_falseleafs": [0, 1, 1],
        "nodes_missing_value_tracks_true": [1, 1, 0],
        "leaf_targetids": [0, 0, 0, 0], "leaf_weights": [1.0, 2.0, 4.0, 8.0], "membership_values": [0.0, 2.0, NAN],
    }  # fmt: skip
    source = newer(targets=1, features=3, **trees, aggregate_function=1, post_transform=0)
    x, rows = with_gaps((20, 3)), with_gaps((7, 3))
    found = onnxlrp.load(source).explain(x, method="tree_shap", background=rows)
    np.testing.assert_allclose(found.relevance, enumerated(lambda z: computed(source, z)[:, 0], x, rows), atol=1e-6)


def test_path_dependent_shares_count_missing_values() -> None:
    """Their sum is f(x) less the mean over the background, whose rows take the branches that f takes."""
    nodes, leaves = grown(5, trees=3, depth=4, modes=MODES, missing=True, whole=True)
    source = regressor(nodes, weights(5, leaves, [0]))
    x, rows = with_gaps((5, 4)), with_gaps((40, 4))
    found = onnxlrp.load(source).explain(x, method="tree_shap", background=rows, perturbation="path_dependent")
    own, others = computed(source, x)[:, 0], computed(source, rows)[:, 0]
    np.testing.assert_allclose(found.total, own - others.mean(), atol=1e-5)


@pytest.mark.parametrize("method", ["kernel_shap", "occlusion", "lime", "rise"])
@pytest.mark.parametrize("baseline", ["zero", "mean", "black", "rows"])
def test_methods_that_hide_columns_take_them_from_trees(method: str, baseline: str) -> None:
    """A missing value that is shown is missing still; baselines are made of the values that there are."""
    nodes, leaves = grown(3, trees=4, depth=4, missing=True, whole=True)
    source = regressor(nodes, weights(3, leaves, [0]))
    x = with_gaps((3, 4))
    x[:, 0] = [1, 0, NAN]  # a value in each row
    x[2, 1] = 2
    rows = np.where(np.arange(4) == 2, NAN, RNG.integers(-1, 3, (9, 4))).astype(np.float32)
    asked: Any = rows if baseline == "rows" else baseline
    found = onnxlrp.load(source).explain(x, method=method, baseline=asked)
    assert np.isfinite(found.relevance).all()
    if method != "kernel_shap":
        return
    start = {
        "zero": np.zeros_like(x),
        "mean": np.broadcast_to(np.nanmean(x, axis=1, keepdims=True), x.shape),
        "black": np.broadcast_to(np.nanmin(x, axis=1, keepdims=True), x.shape),
        "rows": np.broadcast_to([*rows[:, :2].mean(axis=0), NAN, rows[:, 3].mean()], x.shape),
    }[baseline]
    for row, own, values in zip(x, start, found.relevance, strict=True):
        want = enumerated(lambda z: computed(source, z)[:, 0], row[None], own[None].astype(np.float32))
        np.testing.assert_allclose(values, want[0], atol=1e-5)


def test_who_reads_a_missing_value_is_named() -> None:
    relu = [ml("MatMul", "x w", "z"), ml("Relu", "z", "y")]
    nodes, leaves = grown(1)
    cases: list[tuple[Any, str]] = [
        (model(relu, 3, {"w": WEIGHT.T.copy()}), r'the (MatMul|Gemm) node ".*" would compute with it'),
        (regressor(nodes, weights(1, leaves, [0])), "state no branch for missing values at any split"),
        (imputed(), ""),
    ]
    for source, why in cases:
        opened = onnxlrp.load(source)
        x = np.ones((2, opened.graph.inputs[0].shape[0]), np.float32)
        x[1, 2] = NAN
        if not why:
            opened.explain(x, method="epsilon")
            continue
        with pytest.raises(InputError, match=why) as caught:
            opened.explain(x, method="occlusion")
        assert "column 3 (row 2)" in caught.value.message
        assert "imputer" in caught.value.fix
    x[0, 0] = np.inf
    with pytest.raises(InputError, match="infinity"):
        onnxlrp.load(imputed()).explain(x)


def test_a_column_of_two_imputers_or_an_indicator_is_not_filled_in() -> None:
    """Nothing stands for it then: f(x) is not f of a row without gaps."""
    both = [imputer("x", "a", [1.0]), imputer("x", "b", [2.0]), ml("Concat", "a b", "whole", axis=1)]
    linear = ml("LinearClassifier", "whole", "label y", classlabels_ints=[0, 1], post_transform="NONE",
                coefficients=[1.0, 2.0, -1.0, 1.0], intercepts=[0.0, 0.0])  # fmt: skip
    found = missing(onnxlrp.load(model([*both, linear], 1)).graph)
    assert np.isnan(found.fills).all()
    flag = [imputer("x", "a", [1.0]), ml("IsNaN", "x", "no"), ml("Cast", "no", "b", to=TensorProto.FLOAT), both[2]]
    source = model([*flag, linear], 1)
    found = missing(onnxlrp.load(source).graph)
    assert np.isnan(found.fills).all()
    x = np.array([[NAN], [3.0]], np.float32)
    made = onnxlrp.load(source).explain(x, target=1, method="kernel_shap", baseline=np.array([[0.5]]))
    want = computed(source, x)[:, 1] - computed(source, np.array([[0.5]], np.float32))[:, 1]
    np.testing.assert_allclose(made.relevance[:, 0], want, atol=1e-5)


def test_empty_cells_of_a_table_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = imputed()
    helper.set_model_props(source, {"feature_names": "age,fare,kind"})
    path, table, train = (str(tmp_path / name) for name in ("m.onnx", "rows.csv", "train.csv"))
    onnx.save(source, path)
    cells = "fare,age,kind\n31.5,,1\nNA,38.5,\nnull,NaN,N/A\n"
    Path(table).write_text(cells, encoding="utf-8")
    Path(train).write_text(cells + "30,40,2\n", encoding="utf-8")
    opened = onnxlrp.load(path)
    found = opened.explain(table, method="epsilon", target=0)
    want = opened.explain(np.array([[41, 31.5, 1], [38.5, 28, 1], [41, 28, 1]], np.float32), method="epsilon", target=0)
    np.testing.assert_allclose(found.relevance, want.relevance, atol=1e-5)
    assert (
        main(["explain", path, table, "-m", "kernel_shap", "--baseline", train, "-o", str(tmp_path / "{stem}.png")])
        == 0
    )
    assert "mean of 4 samples of train.csv" in capsys.readouterr().out
    assert main(["explain", path, table, "-m", "epsilon", "-o", str(tmp_path / "{stem}.json")]) == 0
    said = capsys.readouterr().err
    assert "missing values: " in said
    assert "age filled in with 41" in said
    stored = json.loads((tmp_path / "rows.0.json").read_text(encoding="utf-8"))
    assert stored["provenance"]["missing"]["age"] == "filled in with 41"
    Path(table).write_text("fare,age,kind\n31.5,abc,1\n", encoding="utf-8")
    assert main(["explain", path, table]) == 3
    assert "row 1, column \"age\": 'abc' is no finite number" in capsys.readouterr().err
