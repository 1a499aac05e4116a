"""Lengths of open axes that the readers of an input tell: channels of a convolution, columns of a scaler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import helper

from ..graph import Array
from ..operators import RECURRENT, SAME_COLUMNS, operator_of

_PER_COLUMN = {"Scaler": ("offset", "scale"), "Imputer": ("imputed_value_floats", "imputed_value_int64s")}


def told_lengths(model: onnx.ModelProto, weights: Mapping[str, Array], value: onnx.ValueInfoProto) -> dict[int, int]:
    """Return axis → length, of the axes of an input that a node which reads it has constants for.

    Trees tell no width: a forest may ask for some of the columns alone.
    """
    rank = len(value.type.tensor_type.shape.dim)
    found: dict[int, int] = {}
    same = {value.name}
    for node in model.graph.node:
        if not node.input or node.input[0] not in same:
            continue
        operator = operator_of(node.op_type, node.domain)
        for axis, length in _told(operator, node, weights, rank):
            if 0 < axis < rank and length > 0:
                found.setdefault(axis, length)
        if operator in SAME_COLUMNS:
            same.add(node.output[0])
    return found


def _told(operator: str, node: onnx.NodeProto, weights: Mapping[str, Array], rank: int) -> list[tuple[int, int]]:
    """(axis, length) of what a node reads, as its constants have it."""
    stated = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.domain == "ai.onnx.ml":
        return [(rank - 1, _columns(node.op_type, stated))]
    weight = weights.get(node.input[1]) if len(node.input) > 1 else None
    if weight is None:
        return []
    match operator:
        case "Conv":
            return [(1, weight.shape[1] * int(stated.get("group", 1)))]
        case "ConvTranspose" | "BatchNormalization":
            return [(1, weight.shape[0])]
        case "MatMul" if weight.ndim >= 2:
            return [(rank - 1, weight.shape[-2])]
        case "Gemm" if not stated.get("transA"):
            return [(rank - 1, weight.shape[1 if stated.get("transB") else 0])]
    return [(2, weight.shape[2])] if operator in RECURRENT else []


def _columns(operator: str, stated: Mapping[str, Any]) -> int:
    """The number of columns that an operator of ai.onnx.ml has numbers for, 0 where it has none or one for all."""
    if operator in _PER_COLUMN:
        counts = {len(stated.get(name, ())) for name in _PER_COLUMN[operator]}
        return max(counts) if max(counts) > 1 else 0
    if operator in ("LinearClassifier", "LinearRegressor"):
        rows = len(stated.get("intercepts", ())) or int(stated.get("targets", 1))
        return _shared(len(stated.get("coefficients", ())), rows)
    if operator in ("SVMClassifier", "SVMRegressor"):
        vectors = sum(stated.get("vectors_per_class", ())) or int(stated.get("n_supports", 0))
        return _shared(len(stated.get("support_vectors", ())), vectors)
    return 0


def _shared(count: int, rows: int) -> int:
    return count // rows if rows and count % rows == 0 else 0
