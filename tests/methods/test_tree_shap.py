"""tree_shap: equal to the enumeration of all coalitions, and to what shap gives for the native models."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import OnnxLrpError, UnsupportedError, UsageError
from support.arrays import Array
from support.shapley import enumerated
from support.tree_models import MODES, computed, grown, regressor, weights

GOLDEN = Path(__file__).parent.parent / "golden"
SAVED = np.load(GOLDEN / "trees.npz")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("depth", "features"), [(3, 4), (6, 5), pytest.param(9, 9, marks=pytest.mark.slow)])
def test_enumeration(depth: int, features: int) -> None:
    """At most 7 players of a path, by tables; and more, by the patterns that occur."""
    nodes, leaves = grown(depth, trees=3, depth=depth, features=features, modes=MODES)
    model = regressor(nodes, weights(1, leaves, [0]), features=features)
    x, rows = (np.round(RNG.normal(size=(n, features)), 1).astype(np.float32) for n in (3, 6))
    found = onnxlrp.load(model).explain(x, method="tree_shap", background=rows)
    want = enumerated(lambda z: computed(model, z)[:, 0], x, rows)
    np.testing.assert_allclose(found.relevance, want, atol=1e-6)
    assert np.abs(found.notes["difference"]).max() < 1e-5


@pytest.mark.parametrize("name", [name for name in SAVED.files if name not in ("x", "background") and "/" not in name])
def test_shap_of_the_native_models(name: str) -> None:
    """Margins of every export of which shap explains the model that it was made from."""
    want = SAVED[name]
    model = onnxlrp.load(GOLDEN / "trees" / f"{name}.onnx")
    assert model.classes in (want.shape[2], 2)
    for target in range(model.classes):
        found = model.explain(SAVED["x"], target, "tree_shap", background=SAVED["background"]).relevance
        column = (
            want[:, :, target] if want.shape[2] > 1 else want[:, :, 0] * (1 if target or model.classes == 1 else -1)
        )
        np.testing.assert_allclose(found, column, atol=2e-6)


@pytest.mark.parametrize("name", ["scaler", "columns", "voting", "bagging", "forest_two_values"])
def test_pipelines_are_explained_at_the_columns(name: str) -> None:
    """Scalers, Concat, sums of several ensembles: against the enumeration by onnxruntime's own scores."""
    model = onnxlrp.load(GOLDEN / "trees" / f"{name}.onnx")
    x, rows = SAVED["x"][:3], SAVED["background"][:8]
    found = model.explain(x, target=0, method="tree_shap", background=rows)
    want = enumerated(lambda z: model.outputs(z)["logits"].reshape(len(z), -1)[:, 0].astype(float), x, rows)
    np.testing.assert_allclose(found.relevance, want, atol=1e-6)


def test_path_dependent_values_by_hand() -> None:
    """One split on x0, then one on x1: v(S) by the shares of background rows in each branch."""
    nodes: dict[str, Any] = {
        "nodes_treeids": [0] * 5, "nodes_nodeids": list(range(5)), "nodes_featureids": [0, 1, 0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"], "nodes_values": [0.0] * 5,
        "nodes_truenodeids": [1, 3, 0, 0, 0], "nodes_falsenodeids": [2, 4, 0, 0, 0],
    }  # fmt: skip
    model = regressor(nodes, [(0, 2, 0, 1.0), (0, 3, 0, 10.0), (0, 4, 0, 4.0)], features=2)
    rows = np.array([[-1, -1], [-1, 1], [-1, 1], [1, -1]], np.float32)
    x = np.array([[-1, -1]], np.float32)
    found = onnxlrp.load(model).explain(x, method="tree_shap", background=rows, perturbation="path_dependent")
    inside = 10 / 3 + 4 * 2 / 3  # below the first split, without x1
    none, first, second, both = 0.75 * inside + 0.25, inside, 0.75 * 10 + 0.25, 10.0
    want = [(first - none + both - second) / 2, (second - none + both - first) / 2]
    np.testing.assert_allclose(found.relevance[0], want, atol=1e-6)


def test_what_it_needs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = GOLDEN / "trees" / "lightgbm_two_classes.onnx"
    with pytest.raises(UsageError, match="background rows") as caught:
        onnxlrp.load(path).explain(SAVED["x"], method="tree_shap")
    assert "background=" in caught.value.fix
    table, rows = tmp_path / "rows.csv", tmp_path / "train.csv"
    for file, values in ((table, SAVED["x"][:2]), (rows, SAVED["background"])):
        np.savetxt(file, values, delimiter=",", header="a,b,c,d,e,f", comments="")
    (tmp_path / "out").mkdir()
    words = ["explain", str(path), str(table), "-m", "tree_shap", "-o", str(tmp_path / "out")]
    assert main(words) == 2
    assert "--background" in capsys.readouterr().err
    assert main([*words, "--background", str(rows)]) == 0
    assert "25 rows of train.csv" in capsys.readouterr().out


def test_trees_have_it_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    path = GOLDEN / "trees" / "lightgbm_two_classes.onnx"
    found = onnxlrp.load(path).explain(SAVED["x"], background=SAVED["background"])
    assert found.method == "tree_shap"
    assert found.provenance["default_for"] == "an ensemble of trees"
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "4 trees, 28 leaves" in said
    assert "--background" in said


def test_evaluate_leaves_out_what_takes_gradients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(GOLDEN / "trees" / "lightgbm_two_classes.onnx")
    for name, values in (("x", SAVED["x"][:3]), ("train", SAVED["background"])):
        np.save(tmp_path / f"{name}.npy", values)
    words = ["evaluate", path, str(tmp_path / "x.npy"), "--background", str(tmp_path / "train.npy")]
    assert main([*words, "--metric", "pixel_flipping", "-o", str(tmp_path / "e.json")]) == 0
    said = capsys.readouterr()
    assert "sensitivity left out: sensitivity takes gradients, and trees have none" in said.err
    assert "tree_shap" in said.out


def test_there_is_no_explainer_of_trees_to_export(tmp_path: Path) -> None:
    model = onnxlrp.load(GOLDEN / "trees" / "lightgbm_two_classes.onnx")
    with pytest.raises(UnsupportedError, match="trees have no rules") as caught:
        model.export(tmp_path / "never.onnx")
    assert "--background" in caught.value.fix
    assert not (tmp_path / "never.onnx").exists()


def test_what_is_no_sum_of_trees_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="several columns"):
        onnxlrp.load(GOLDEN / "trees" / "normalizer.onnx").explain(
            SAVED["x"], method="tree_shap", background=SAVED["background"]
        )
    nodes, leaves = grown(1)
    least = regressor(nodes, weights(1, leaves, [0]), aggregate_function="MIN")
    with pytest.raises(UnsupportedError, match="MIN"):
        onnxlrp.load(least).explain(np.zeros((1, 4), np.float32), method="tree_shap", background=np.zeros((2, 4)))
    with pytest.raises(OnnxLrpError, match="Sigmoid"):
        onnxlrp.load(GOLDEN / "trees" / "lightgbm_two_classes.onnx").explain(
            SAVED["x"], method="tree_shap", background=SAVED["background"], head="as-is"
        )


def test_every_command_takes_a_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What says that it lacks one has the option, and a key of the settings."""
    path = str(GOLDEN / "trees" / "lightgbm_two_classes.onnx")
    table, rows = str(tmp_path / "rows.csv"), str(tmp_path / "train.csv")
    for file, values in ((table, SAVED["x"][:2]), (rows, SAVED["background"])):
        np.savetxt(file, values, delimiter=",", header="a,b,c,d,e,f", comments="")
    commands = {
        "check": ["check", path, table],
        "compare": ["compare", path, path, table],
        "evaluate": ["evaluate", path, table, "--metric", "pixel_flipping"],
    }
    for name, words in commands.items():
        assert main(words) == 2, name
        assert "--background train.csv" in capsys.readouterr().err, name
        assert main([*words, "--background", rows]) == 0, name
        capsys.readouterr()
    assert main([*commands["check"], "--background", rows, "-m", "kernel_shap"]) == 2
    assert "method kernel_shap has no option --background" in capsys.readouterr().err
    assert main([*commands["check"], "-m", "kernel_shap", "--kernel-shap-baseline", rows]) == 0
    settings = tmp_path / "settings" / "onnxlrp.toml"
    settings.parent.mkdir()
    settings.write_text(f'model = {path!r}\nsamples = ["../rows.csv"]\n[options]\nbackground = "../train.csv"\n')
    assert main(["check", "-c", str(settings)]) == 0
    assert main(["check", "-c", str(settings), "-m", "occlusion"]) == 0  # whose options are its own


def test_trees_behind_which_other_functions_stand_are_explained_by_hiding(tmp_path: Path) -> None:
    """As of IsolationForest, whose score is a power of a sum; its value is no probability."""
    nodes, leaves = grown(2)
    source = regressor(nodes, weights(2, leaves, [0], positive=True))
    source.graph.node[0].output[0] = "sum"
    source.graph.node.append(onnx.helper.make_node("Exp", ["sum"], ["y"]))
    opened = onnxlrp.load(source)
    x = RNG.normal(size=(2, 4)).astype(np.float32)
    found = opened.explain(x)
    assert (found.method, found.provenance["default_for"]) == (
        "kernel_shap", "trees whose sums other functions are computed of",
    )  # fmt: skip
    np.testing.assert_allclose(found.notes["value of x"], computed(source, x)[:, 0], rtol=1e-5)
    assert not any("probability" in name for name in found.notes)


def enumerated_pairs(v: dict[tuple[bool, ...], Array], count: int) -> Array:
    """The Shapley interaction index by its definition [N, K, K], of the worth of each coalition [N]."""
    found = np.zeros((len(next(iter(v.values()))), count, count))
    for i, j in itertools.permutations(range(count), 2):
        for coalition in v:
            if coalition[i] or coalition[j]:
                continue
            size = sum(coalition)
            weight = math.factorial(size) * math.factorial(count - size - 2) / math.factorial(count - 1)

            def worth(*more: int, coalition: tuple[bool, ...] = coalition) -> Array:
                return v[tuple(inside or n in more for n, inside in enumerate(coalition))]

            found[:, i, j] += weight * (worth(i, j) - worth(i) - worth(j) + worth())
    return found


@pytest.mark.parametrize(("depth", "features"), [(3, 4), (6, 5), pytest.param(9, 9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("missing", [False, True])
def test_interactions_are_the_enumerated_index(depth: int, features: int, missing: bool) -> None:
    """By tables of patterns, and by the patterns that occur; halves of it off the diagonal, φ in the sums of rows."""
    nodes, leaves = grown(depth, trees=3, depth=depth, features=features, modes=MODES, missing=missing, whole=missing)
    model = regressor(nodes, weights(1, leaves, [0]), features=features)
    x, rows = (np.round(RNG.normal(size=(n, features)), 0 if missing else 1).astype(np.float32) for n in (3, 6))
    if missing:
        x, rows = (np.where(RNG.random(part.shape) < 0.3, np.nan, part).astype(np.float32) for part in (x, rows))
    found = onnxlrp.load(model).explain(x, method="tree_shap", background=rows, interactions=True)
    worth = {
        coalition: computed(model, np.where(np.array(coalition), x[:, None], rows[None]).reshape(-1, features))[:, 0]
        .reshape(len(x), -1)
        .mean(axis=1, dtype=np.float64)
        for coalition in itertools.product([False, True], repeat=features)
    }
    made = found.notes["interactions"]
    off = ~np.eye(features, dtype=bool)
    np.testing.assert_allclose(made[:, off], enumerated_pairs(worth, features)[:, off] / 2, atol=1e-6)
    np.testing.assert_allclose(made.sum(axis=2), found.relevance, atol=1e-9)
    np.testing.assert_array_equal(made, made.transpose(0, 2, 1))


def test_path_dependent_interactions_by_the_worth_of_shares() -> None:
    """v(S) takes both branches of a split outside S, by the shares of background rows; columns asked twice too."""
    nodes, leaves = grown(4, trees=2, depth=4, features=3)
    source = regressor(nodes, weights(4, leaves, [0]), features=3)
    x, rows = (RNG.normal(size=(n, 3)).astype(np.float32) for n in (4, 30))
    how: dict[str, Any] = {"background": rows, "perturbation": "path_dependent", "interactions": True}
    found = onnxlrp.load(source).explain(x, method="tree_shap", **how)
    value = {(tree, node): weight for tree, node, _, weight in weights(4, leaves, [0])}
    places = {key: n for n, key in enumerate(zip(nodes["nodes_treeids"], nodes["nodes_nodeids"], strict=True))}

    def worth(row: Array, coalition: tuple[bool, ...], tree: int, node: int, here: Array) -> float:
        place = places[tree, node]
        if nodes["nodes_modes"][place] == "LEAF":
            return value[tree, node]
        column, threshold = nodes["nodes_featureids"][place], np.float32(nodes["nodes_values"][place])
        branches = nodes["nodes_truenodeids"][place], nodes["nodes_falsenodeids"][place]
        left = here[:, column] <= threshold
        if coalition[column]:
            inside = bool(row[column] <= threshold)
            return worth(row, coalition, tree, branches[0 if inside else 1], here[left == inside])
        share = float(left.mean()) if len(here) else 0.5
        parts = [
            worth(row, coalition, tree, branch, here[left == side])
            for branch, side in zip(branches, (True, False), strict=True)
        ]
        return share * parts[0] + (1 - share) * parts[1]

    worths = {
        coalition: np.array([sum(worth(row, coalition, tree, 0, rows) for tree in range(2)) for row in x])
        for coalition in itertools.product([False, True], repeat=3)
    }
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found.notes["interactions"][:, off], enumerated_pairs(worths, 3)[:, off] / 2, atol=1e-6)


def test_the_strongest_interactions_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(GOLDEN / "trees" / "lightgbm_three_classes.onnx")
    table, rows = tmp_path / "rows.csv", tmp_path / "train.csv"
    for file, values in ((table, SAVED["x"][:1]), (rows, SAVED["background"])):
        np.savetxt(file, values, delimiter=",", header="a,b,c,d,e,f", comments="")
    words = ["explain", path, str(table), "--background", str(rows), "-t", "1", "--interactions", "true"]
    assert main([*words, "-o", str(tmp_path / "{target}.json")]) == 0
    said = capsys.readouterr().out
    how: dict[str, Any] = {"method": "tree_shap", "background": SAVED["background"], "interactions": True}
    both = onnxlrp.load(path).explain(SAVED["x"][:2], targets=[0, 1], **how).notes["interactions"]
    assert both.shape == (2, 2, 6, 6)
    square = both[1, 0]
    i, j = np.unravel_index(np.abs(np.triu(square, 1)).argmax(), (6, 6))
    strongest = 2 * square[i, j]
    assert f"strongest interactions {'abcdef'[i]} & {'abcdef'[j]} {'-' * bool(strongest < 0)}" in said
    stored = json.loads((tmp_path / "1.json").read_text(encoding="utf-8"))["notes"]["interactions"]
    np.testing.assert_allclose(stored[0], square, atol=1e-9)
