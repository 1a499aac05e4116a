"""Votes of classes behind a support vector machine, as scikit-learn's exporter writes them around the operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import helper

from ...graph import Array, Layer
from ...operators import VOTES
from ...outputs.scores import voted
from ...rewriting.mutable_graph import MutableGraph
from ...writing.to_onnx import build
from .svm import pairs_of

_CLOSE = 1e-4
_LONGEST = 20  # layers for each pair of classes


def votes_of(graph: MutableGraph, decisions: str, classes: int) -> list[str]:
    """Return the tensors that are the votes of pairwise decisions, with or without confidences.

    A tensor is one where it is made of the decisions alone and has, for random decisions, the value of the formula.

    Args:
        graph: The model.
        decisions: The pairwise decisions [N, P].
        classes: C.
    """
    reached, cone = {decisions}, []
    for layer in graph.layers:
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if live and reached.issuperset(live) and layer.op in VOTES:
            cone.append(layer)
            reached.update(layer.outputs)
    found = [layer for layer in cone if graph.shapes.get(layer.outputs[0]) == (graph.batch, classes)]
    if not found or len(cone) > _LONGEST * len(pairs_of(classes)):
        return []
    rows = np.random.default_rng(0).normal(size=(graph.batch, len(pairs_of(classes)))).astype(np.float32)
    values = _evaluated(graph, cone, decisions, rows, [layer.outputs[0] for layer in found])
    expected = voted(rows)
    return [name for name, value in values.items() if any(np.allclose(value, e, atol=_CLOSE) for e in expected)]


def _evaluated(
    graph: MutableGraph, layers: list[Layer], source: str, rows: Array, wanted: list[str]
) -> dict[str, Array]:
    from onnx.reference import ReferenceEvaluator

    read = {name for layer in layers for name in layer.inputs}
    constants = {name: value for name, value in graph.constants.items() if name in read}
    given = [helper.make_tensor_value_info(source, 1, rows.shape)]
    results = [helper.make_empty_tensor_value_info(name) for name in wanted]
    layers = [replace(layer, name=f"{n}") for n, layer in enumerate(layers)]
    model = build(layers, constants, given, results, graph.opsets, np.dtype(np.float32), source, graph.batch)
    return dict(zip(wanted, map(np.asarray, ReferenceEvaluator(model).run(None, {source: rows})), strict=True))
