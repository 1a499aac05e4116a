"""Models of trees, made node by node, for onnxruntime to compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .arrays import Array

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
Weights = Sequence[tuple[int, int, int, float]]  # tree, leaf, target, weight


def grown(
    seed: int,
    trees: int = 3,
    depth: int = 3,
    features: int = 4,
    modes: Sequence[str] = MODES[:1],
    missing: bool = False,
    whole: bool = False,
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Return the attributes of random nodes, some branches shorter than others, and tree and number of each leaf."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {
        key: []
        for key in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing")
    }
    leaves: list[tuple[int, int]] = []
    for tree in range(trees):
        todo, count = [(0, 0)], 1
        while todo:
            node, level = todo.pop(0)
            inner = level < depth and (level < 1 or rng.random() < 0.85)
            rows["treeids"].append(tree)
            rows["nodeids"].append(node)
            rows["featureids"].append(int(rng.integers(features)) if inner else 0)
            rows["values"].append(float(np.float32(rng.integers(-1, 3) if whole else rng.normal())) if inner else 0.0)
            rows["modes"].append(str(rng.choice(list(modes))) if inner else "LEAF")
            rows["truenodeids"].append(count if inner else 0)
            rows["falsenodeids"].append(count + 1 if inner else 0)
            rows["missing"].append(int(rng.integers(2)) if inner else 0)
            if inner:
                todo += [(count, level + 1), (count + 1, level + 1)]
                count += 2
            else:
                leaves.append((tree, node))
    named = {f"nodes_{key}": value for key, value in rows.items() if key != "missing"}
    return named | ({"nodes_missing_value_tracks_true": rows["missing"]} if missing else {}), leaves


def weights(seed: int, leaves: Sequence[tuple[int, int]], targets: Sequence[int], positive: bool = False) -> Weights:
    """Return a weight for each leaf and target."""
    rng = np.random.default_rng(seed)
    numbers = rng.random((len(leaves), len(targets))) if positive else rng.normal(size=(len(leaves), len(targets)))
    pairs = [(leaf, t, w) for leaf, row in zip(leaves, numbers, strict=True) for t, w in zip(targets, row, strict=True)]
    return [(tree, node, target, float(np.float32(w))) for (tree, node), target, w in pairs]


def regressor(nodes: dict[str, Any], added: Weights, targets: int = 1, features: int = 4, **more: Any) -> Any:
    """Return a model of one TreeEnsembleRegressor; `double` computes in float64."""
    double = more.pop("double", False)
    attributes = {**nodes, **_weights("target", added), "n_targets": targets, **more}
    if double:
        attributes = _doubles(attributes, ("nodes_values", "target_weights", "base_values"))
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    return _model([node], features, [("y", TensorProto.FLOAT, ["N", targets])], double)


def classifier(nodes: dict[str, Any], added: Weights, classes: int, features: int = 4, **more: Any) -> Any:
    """Return a model of one TreeEnsembleClassifier."""
    attributes = {**nodes, **_weights("class", added), "classlabels_int64s": list(range(classes)), **more}
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **attributes)
    outputs = [("label", TensorProto.INT64, ["N"]), ("y", TensorProto.FLOAT, ["N", classes])]
    return _model([node], features, outputs)


def newer(features: int = 4, targets: int = 1, double: bool = False, **attributes: Any) -> Any:
    """Return a model of one TreeEnsemble of ai.onnx.ml 5."""
    kind = np.float64 if double else np.float32
    made = {}
    for key, value in attributes.items():
        floating = key in ("nodes_splits", "leaf_weights", "membership_values")
        if floating or key == "nodes_modes":
            made[key] = numpy_helper.from_array(np.asarray(value, kind if floating else np.uint8), key)
        else:
            made[key] = value
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=targets, **made)
    outputs = [("y", TensorProto.DOUBLE if double else TensorProto.FLOAT, ["N", targets])]
    return _model([node], features, outputs, double, version=5)


def _weights(kind: str, added: Weights) -> dict[str, Any]:
    names = ("treeids", "nodeids", "ids", "weights")
    columns = zip(*added, strict=True) if added else ((), (), (), ())
    return {f"{kind}_{name}": list(column) for name, column in zip(names, columns, strict=True)}


def _doubles(attributes: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    made = dict(attributes)
    for name in names:
        if name in made:
            value = np.asarray(made.pop(name), np.float64)
            made[f"{name}_as_tensor"] = numpy_helper.from_array(value, name)
    return made


def _model(
    nodes: Sequence[Any], features: int, outputs: Sequence[tuple[str, int, Any]], double: bool = False, version: int = 3
) -> Any:
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info("x", kind, ["N", features])],
        [helper.make_tensor_value_info(*output) for output in outputs],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def computed(model: onnx.ModelProto, x: Array) -> Array:
    """Return the last output of a model by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made: Array = session.run(None, {session.get_inputs()[0].name: x})[-1]
    return made
