"""Linear models and their preprocessing, as scikit-learn exports them (ai.onnx.ml), become standard layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from ..replacement import Decomposition, Replacement


def _scaler(build: Replacement) -> None:
    """Scaler: (x - offset)·scale."""
    offset, scale = (np.asarray(build.attribute(*known), np.float32) for known in _SCALER)
    centred = build.compute("Sub", build.floats(build.input(0)), build.store(offset, "offset"))
    build.compute("Mul", centred, build.store(scale, "scale"), main=True)
    build.finish()


_SCALER = (("offset", (0.0,)), ("scale", (1.0,)))


def _regressor(build: Replacement) -> None:
    """LinearRegressor: x·Wᵀ + b."""
    targets = int(build.attribute("targets", 1))
    _linear(build, targets, build.output())
    _transformed(build, build.output(), build.output())


def _classifier(build: Replacement) -> None:
    """LinearClassifier: scores x·Wᵀ + b, transformed as `post_transform` says, and the class of the largest."""
    labels = build.attribute("classlabels_ints", ()) or build.attribute("classlabels_strings", ())
    count = len(np.asarray(build.attribute("intercepts", ()))) or len(labels)
    if count != len(labels) or count < 2:
        raise build.refuse(f"{count} scores for {len(labels)} classes")
    scores = _linear(build, count, f"{build.output(1) or build.output(0)}/scores")
    if build.output(1):
        _transformed(build, scores, build.output(1))
    best = build.compute("ArgMax", scores, axis=1, keepdims=0)
    classes = build.attribute("classlabels_ints", ()) or range(count)
    build.compute("Gather", build.store(np.asarray(classes, np.int64), "labels"), best, to=(build.output(),), axis=0)


def _linear(build: Replacement, rows: int, out: str) -> str:
    weight = np.asarray(build.attribute("coefficients", ()), np.float32).reshape(rows, -1)
    bias = np.asarray(build.attribute("intercepts", ()) or [0.0] * rows, np.float32)
    operands = (build.floats(build.input(0)), build.store(weight, "coefficients"), build.store(bias, "intercepts"))
    return build.compute("Gemm", *operands, to=(out,), main=True, transB=1)


def _transformed(build: Replacement, scores: str, out: str) -> None:
    kind = build.attribute("post_transform", "NONE")
    if kind == "NONE":
        if scores != out:
            build.compute("Identity", scores, to=(out,))
    elif kind == "SOFTMAX" and scores != out:
        build.compute("Softmax", scores, to=(out,), axis=1)
    elif kind == "LOGISTIC" and scores != out:
        build.compute("Sigmoid", scores, to=(out,))
    else:
        raise build.refuse(f"the post_transform {kind}")


def _normalizer(build: Replacement) -> None:
    """Normalizer: rows divided by their norm, x / ‖x‖; of MAX by their largest value, if that is not 0."""
    kind, x = build.attribute("norm", "MAX"), build.floats(build.input(0))
    if kind == "MAX":
        largest = build.compute("ReduceMax", x, build.store(np.array([1]), "axes"))
        none = build.compute("Equal", largest, build.store(0.0, "zero"))
        one = build.add("Cast", none, out=f"{build.out}/one", to=TensorProto.FLOAT, saturate=1)
        build.compute("Div", x, build.compute("Add", largest, one), main=True)
    else:
        build.compute("LpNormalization", x, main=True, axis=1, p={"L1": 1, "L2": 2}[kind])
    build.finish()


def _extractor(build: Replacement) -> None:
    """ArrayFeatureExtractor: columns by constant indices, or a label for each index that is computed."""
    x, indices = build.input(0), build.input(1)
    table = build.graph.constant(x)
    if table is None:
        columns = build.graph.constant(indices)
        if columns is None:
            raise build.refuse("columns that are chosen at run time")
        build.compute("Gather", x, build.store(columns.reshape(-1), "places"), main=True, axis=-1)
    else:
        found = build.compute("Gather", build.store(table.reshape(-1), "table"), indices, axis=0)
        build.compute("Reshape", found, build.store(np.array([1, -1], np.int64), "row"))
    build.finish()


def _linear_machine(build: Replacement) -> None:
    """SVMClassifier without support vectors: scores x·Wᵀ + b, one b for all classes, as onnxruntime computes them.

    One with support vectors, or of two classes, stays as it is.
    """
    labels = build.attribute("classlabels_ints", ()) or build.attribute("classlabels_strings", ())
    rho, stored = (np.asarray(build.attribute(name, ()), np.float32) for name in ("rho", "coefficients"))
    scores = build.output(1)
    # Of two classes onnxruntime's label is not that of the largest score: what would be explained is not clear.
    if build.attribute("vectors_per_class", ()) or not scores or not len(rho) or len(labels) < 3:
        build.keep()
        return
    if build.output(0):  # the operator's own label
        build.keep(name=f"{build.layer.name}/label", path="", outputs=(build.output(0), f"{scores}/of label"))
    weight = stored.reshape(len(labels), -1)
    x, bias = build.floats(build.input(0)), np.full(len(labels), rho[0], np.float32)
    operands = x, build.store(weight, "coefficients"), build.store(bias, "intercept")
    made = build.compute("Gemm", *operands, to=(f"{scores}/decisions",), main=True, transB=1)
    _transformed(build, made, scores)


LINEAR: Mapping[str, Decomposition] = {
    "ai.onnx.ml::Scaler": _scaler,
    "ai.onnx.ml::LinearRegressor": _regressor,
    "ai.onnx.ml::LinearClassifier": _classifier,
    "ai.onnx.ml::SVMClassifier": _linear_machine,
    "ai.onnx.ml::Normalizer": _normalizer,
    "ai.onnx.ml::ArrayFeatureExtractor": _extractor,
}
