"""Ensembles of trees: the function that makes probabilities of their sums becomes a layer of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import UnsupportedError
from ...operators import TREES
from ..replacement import Decomposition, Replacement

if TYPE_CHECKING:
    from ...trees.reading import Read

_SCORED = {"SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}
_OF_CLASSES = ("class_", "classlabels_")


def _trees(build: Replacement) -> None:
    """The sums of the trees, then Softmax or Sigmoid, where the operator has one: as onnxruntime computes them.

    What is no function of sums stays as it is, for methods that hide features.
    """
    layer = build.layer
    if str(layer.attributes.get("post_transform", "NONE")) in ("NONE", "0"):
        build.keep()
        return
    from ...trees.reading import read  # which few models need

    try:
        found = read(layer)
    except UnsupportedError:
        found = None
    if found is None or found.transform not in _SCORED:
        build.keep()
        return
    scores = layer.outputs[-1]
    if len(layer.outputs) > 1 and layer.outputs[0]:
        # The label of each sample; nothing reads the scores that are written with it.
        build.keep(name=f"{layer.name}/label", path="", outputs=(layer.outputs[0], f"{scores}/of label"))
    if layer.op == "ai.onnx.ml::TreeEnsembleClassifier":
        op, attributes = "ai.onnx.ml::TreeEnsembleRegressor", _as_regressor(layer.attributes, found)
    else:
        op, attributes = layer.op, {**layer.attributes}
        attributes["post_transform"] = 0 if op == "ai.onnx.ml::TreeEnsemble" else "NONE"
    sums = build.compute(op, build.input(0), to=(f"{scores}/sums",), main=True, **attributes)
    further: dict[str, Any] = {"axis": 1} if found.transform == "SOFTMAX" else {}
    build.compute(_SCORED[found.transform], sums, to=(scores,), **further)


def _as_regressor(attributes: Mapping[str, Any], found: Read) -> dict[str, Any]:
    trees = found.trees
    kept = {name: value for name, value in attributes.items() if not name.startswith(_OF_CLASSES)}
    kept = {name: value for name, value in kept.items() if not name.startswith("base_values")}
    places = {name: np.asarray(attributes[f"nodes_{name}"], np.int64) for name in ("treeids", "nodeids")}
    kept |= {f"target_{name}": tuple(ids[trees.leaf].tolist()) for name, ids in places.items()}
    kept |= {"target_ids": tuple(trees.target.tolist()), "n_targets": trees.targets, "post_transform": "NONE"}
    numbers: dict[str, Any] = {"target_weights": trees.weight, "base_values": trees.base}
    if not trees.base.any():
        del numbers["base_values"]
    if "nodes_values_as_tensor" in attributes:
        kind = np.asarray(attributes["nodes_values_as_tensor"]).dtype
        return kept | {f"{name}_as_tensor": value.astype(kind) for name, value in numbers.items()}
    return kept | {name: tuple(value.tolist()) for name, value in numbers.items()}


ENSEMBLES: Mapping[str, Decomposition] = dict.fromkeys(sorted(TREES), _trees)
