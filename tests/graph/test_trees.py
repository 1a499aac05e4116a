"""Trees as arrays: their sums are those of onnxruntime, for every mode, aggregate, pair of classes and export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.graph import Layer
from onnxlrp.graph.trees.ensemble import Ensemble, margins
from onnxlrp.graph.trees.reading import Read, is_trees, read
from support.arrays import Array
from support.tree_models import MODES, classifier, computed, grown, newer, regressor, weights

EXPORTS = sorted((Path(__file__).parent.parent / "golden" / "trees").glob("*.onnx"))
RNG = np.random.default_rng(1)
X = np.round(RNG.normal(size=(60, 4)), 1).astype(np.float32)


def layer(model: Any) -> Layer:
    """The operator of trees of a file."""
    node = next(node for node in model.graph.node if "TreeEnsemble" in node.op_type)
    attributes: dict[str, Any] = {}
    for one in node.attribute:
        kinds = {1: one.f, 2: one.i, 3: one.s.decode(), 4: one.t, 6: list(one.floats), 7: list(one.ints)}
        value = kinds.get(one.type, [text.decode() for text in one.strings])
        attributes[one.name] = numpy_helper.to_array(value) if one.type == 4 else value
    return Layer(f"ai.onnx.ml::{node.op_type}", node.name, "", tuple(node.input), tuple(node.output), attributes)


def scores(found: Read, x: Array) -> Array:
    """The results by the functions' definitions."""
    z = margins(found.trees, x)
    if found.transform == "SOFTMAX":
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return np.asarray(1 / (1 + np.exp(-z))) if found.transform == "LOGISTIC" else z


def same(model: Any, x: Array, trees: int = 1) -> None:
    np.testing.assert_allclose(scores(read(layer(model)), x), computed(model, x), rtol=2e-6, atol=1e-6 * trees)


@pytest.mark.parametrize("mode", [*MODES, "all"])
@pytest.mark.parametrize("missing", [False, True])
def test_modes_and_missing_values(mode: str, missing: bool) -> None:
    x = np.where(RNG.random(X.shape) < 0.2, np.nan, np.round(X)).astype(np.float32)
    for seed in range(3):
        modes = MODES if mode == "all" else (mode,)
        nodes, leaves = grown(seed, trees=4, depth=4, modes=modes, missing=missing, whole=True)
        same(regressor(nodes, weights(seed, leaves, [0])), x)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("base", [None, 1, 3])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_aggregates_and_base_values(aggregate: str, base: int | None, transform: str) -> None:
    for targets in (1, 3):
        nodes, leaves = grown(5, trees=3)
        more: dict[str, Any] = {"aggregate_function": aggregate, "post_transform": transform}
        if base is not None:
            more["base_values"] = [0.5, -1.0, 2.0][:base]
        model = regressor(nodes, weights(5, leaves, list(range(targets))), targets, **more)
        if base is not None and base != targets:
            with pytest.raises(UnsupportedError, match="base values"):
                read(layer(model))
            continue
        same(model, X)


def two_classes() -> Iterator[tuple[str, Any]]:
    nodes, leaves = grown(2, trees=3)
    first, second = leaves[::2], leaves[1::2]
    for sign in ("positive", "mixed"):
        positive = sign == "positive"
        yield f"{sign}, first class", (nodes, weights(2, leaves, [0], positive))
        yield f"{sign}, second class", (nodes, weights(2, leaves, [1], positive))
        yield f"{sign}, both", (nodes, weights(2, leaves, [0, 1], positive))
        parts = [*weights(2, first, [0], positive), *weights(3, second, [1], positive)]
        yield f"{sign}, one in each leaf", (nodes, parts)


CASES = dict(two_classes())
# What onnxruntime computes by which leaves a row reaches.
BY_LEAVES = {(name, base) for name in CASES for base in (0, 1, 2) if "each leaf" in name} | {
    (name, 2) for name in CASES if "second class" in name
}


@pytest.mark.few(40)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("base", [[], [0.0], [0.3], [0.0, 0.0], [0.1, 0.4]])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_two_classes(name: str, base: list[float], transform: str) -> None:
    nodes, added = CASES[name]
    more: dict[str, Any] = {"base_values": base} if base else {}
    model = classifier(nodes, added, 2, post_transform=transform, **more)
    if (name, len(base)) in BY_LEAVES:
        with pytest.raises(UnsupportedError, match="onnxruntime"):
            read(layer(model))
        return
    same(model, X)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_other_numbers_of_classes(classes: int, transform: str) -> None:
    nodes, leaves = grown(4)
    for base in ([], [0.1, 0.2, 0.4][:classes]):
        more: dict[str, Any] = {"base_values": base} if base else {}
        same(classifier(nodes, weights(4, leaves, list(range(classes))), classes, post_transform=transform, **more), X)
    sparse = [w for n, w in enumerate(weights(4, leaves, list(range(classes)))) if n % 3]
    same(classifier(nodes, sparse, classes, post_transform=transform, base_values=[0.1] * classes), X)


def test_thresholds_of_doubles_are_compared_as_doubles() -> None:
    """A value between a threshold of float64 and its float32: they fall on its two sides."""
    nodes, leaves = grown(1, trees=1, depth=1)
    nodes["nodes_values"] = [0.1, 0.0, 0.0]
    added = [(tree, leaf, 0, float(n)) for n, (tree, leaf) in enumerate(leaves)]
    x = np.full((2, 4), 0.1)
    x[1] = np.float32(0.1)
    assert computed(regressor(nodes, added, double=True), x).ravel().tolist() == [0.0, 1.0]
    same(regressor(nodes, added, double=True, base_values=[0.25]), x)
    same(regressor(nodes, added), x.astype(np.float32))
    assert read(layer(regressor(nodes, added, double=True))).trees.threshold.dtype == np.float64


@pytest.mark.parametrize("double", [False, True])
def test_the_operator_of_version_5(double: bool) -> None:
    """Two trees: a set of values with a leaf behind it, and one leaf alone; then a set of one, and an empty one."""
    x = RNG.integers(0, 5, size=(40, 4)).astype(np.float64 if double else np.float32)
    trees: dict[str, Any] = {
        "tree_roots": [0, 3], "nodes_modes": [6, 0, 4, 0], "nodes_featureids": [0, 1, 2, 0],
        "nodes_splits": [0.0, 2.0, 3.0, 0.0], "nodes_truenodeids": [1, 0, 2, 4], "nodes_trueleafs": [0, 1, 1, 1],
        "nodes_falsenodeids": [2, 1, 3, 4], "nodes_falseleafs": [0, 1, 1, 1],
        "leaf_targetids": [0, 1, 0, 1, 0], "leaf_weights": [1.0, 2.0, 4.0, 8.0, 0.25],
        "membership_values": [0.0, 2.0, 3.0, np.nan],
    }  # fmt: skip
    for transform in (0, 1, 2):
        for aggregate in (0, 1, 2, 3):
            how: dict[str, Any] = {"aggregate_function": aggregate, "post_transform": transform}
            same(newer(targets=2, double=double, **trees, **how), x)
    found = read(layer(newer(targets=2, double=double, **trees, aggregate_function=1, post_transform=0))).trees
    want = [
        [1.25, 0] if row[0] in (0, 2, 3) and row[1] <= 2 else [0.25, 2] if row[0] in (0, 2, 3)
        else [4.25, 0] if row[2] == 3 else [0.25, 8]
        for row in x
    ]  # fmt: skip
    np.testing.assert_allclose(margins(found, x), want)


def test_what_makes_no_trees_is_refused() -> None:
    nodes, leaves = grown(3)
    added = weights(3, leaves, [0])
    shared = dict(nodes, nodes_falsenodeids=list(nodes["nodes_truenodeids"]))
    wrong: list[tuple[dict[str, Any], Any, str]] = [
        (shared, added, "two paths"),
        (dict(nodes, nodes_truenodeids=[99] * len(nodes["nodes_truenodeids"])), added, "not there"),
        (dict(nodes, nodes_modes=["BRANCH_NEAR"] * len(nodes["nodes_modes"])), added, "BRANCH_NEAR"),
        (dict(nodes, nodes_values=nodes["nodes_values"][:-1]), added, "several lengths"),
        (nodes, [(0, 99, 0, 1.0)], "not there"),
        (nodes, [(*added[0][:2], 7, 1.0)], "beyond"),
    ]
    for broken, weighted, words in wrong:
        with pytest.raises(UnsupportedError, match=words):
            read(layer(regressor(broken, weighted)))


def test_the_first_node_of_a_tree_is_its_root() -> None:
    """As onnxruntime takes it, whatever node has no parent."""
    nodes, leaves = grown(1, trees=1, depth=1)
    turned = {name: [values[n] for n in (1, 2, 0)] for name, values in nodes.items()}
    same(regressor(turned, weights(1, leaves, [0])), X)


@pytest.mark.few(10)
@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.stem)
def test_exports_give_the_scores_of_the_file(path: Path) -> None:
    """Through `load`, where functions of the sums are layers of their own."""
    model = onnxlrp.load(path)
    x = np.load(path.parent.parent / "trees.npz")["x"]
    assert model.graph.opaque is None
    named = {node.op_type for node in _proto(path).graph.node}
    found = model.outputs(x)["scores"]
    want = _scores(path, x, model.choice.output if model.choice else "")
    np.testing.assert_allclose(found.reshape(want.shape), want, rtol=2e-6, atol=1e-6)
    assert any("TreeEnsemble" in name for name in named)
    for one in model.graph.layers:
        if is_trees(one) and one.inputs[0] == "x" and len(one.outputs) == 1:
            sums = model.outputs(x, activations=[one.label])[f"activation/{one.label}"]
            np.testing.assert_allclose(margins(read(one).trees, x), sums, rtol=2e-6, atol=1e-6)


def test_probabilities_of_boosted_trees_have_logits() -> None:
    folder = EXPORTS[0].parent
    for name, kind in (("boosting_two_classes", "Sigmoid"), ("lightgbm_three_classes", "Softmax")):
        assert onnxlrp.load(folder / f"{name}.onnx").head.kind == kind
    assert onnxlrp.load(folder / "forest_three_classes.onnx").head.kind == "Scores"


def test_large_forests_are_summed_in_parts() -> None:
    nodes, leaves = grown(6, trees=50, depth=5)
    x = RNG.normal(size=(30_000, 4)).astype(np.float32)
    same(regressor(nodes, weights(6, leaves, [0])), x, trees=5)  # onnxruntime adds in single precision


def _proto(path: Path) -> Any:
    import onnx

    return onnx.load(path)


def _scores(path: Path, x: Array, output: str) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    feed = {source.name: x.astype(np.float64 if "double" in source.type else np.float32)}
    names = [value.name for value in session.get_outputs()]
    made = dict(zip(names, session.run(None, feed), strict=True))
    found = made.get(output, made[names[-1]])
    if isinstance(found, list):  # a ZipMap
        return np.array([list(row.values()) for row in found])
    return np.asarray(found)


def test_an_ensemble_knows_its_size() -> None:
    nodes, leaves = grown(7, trees=5, depth=4)
    found: Ensemble = read(layer(regressor(nodes, weights(7, leaves, [0])))).trees
    assert (len(found.roots), found.leaves, found.depth, found.targets) == (5, len(leaves), 4, 1)
