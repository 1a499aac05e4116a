"""Linear models and their preprocessing, as scikit-learn exports them (ai.onnx.ml), become the layers that they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .replacement import Replacement


def _scaler(parts: Replacement) -> None:
    """(x - offset)·scale."""
    offset, scale = (np.asarray(parts.attribute(*known), np.float32) for known in _SCALER)
    centred = parts.compute("Sub", parts.input(0), parts.store(offset, "offset"))
    parts.compute("Mul", centred, parts.store(scale, "scale"), main=True)
    parts.finish()


_SCALER = (("offset", (0.0,)), ("scale", (1.0,)))


def _regressor(parts: Replacement) -> None:
    """x·Wᵀ + b."""
    targets = int(parts.attribute("targets", 1))
    _linear(parts, targets, parts.output())
    _transformed(parts, parts.output(), parts.output())


def _classifier(parts: Replacement) -> None:
    """Scores x·Wᵀ + b and what `post_transform` makes of them; the class of the best."""
    labels = parts.attribute("classlabels_ints", ()) or parts.attribute("classlabels_strings", ())
    count = len(np.asarray(parts.attribute("intercepts", ()))) or len(labels)
    if count != len(labels) or count < 2:
        raise parts.refuse(f"{count} scores for {len(labels)} classes")
    scores = _linear(parts, count, f"{parts.output(1) or parts.output(0)}/scores")
    if parts.output(1):
        _transformed(parts, scores, parts.output(1))
    best = parts.compute("ArgMax", scores, axis=1, keepdims=0)
    numbers = parts.attribute("classlabels_ints", ()) or range(count)
    parts.compute("Gather", parts.store(np.asarray(numbers, np.int64), "labels"), best, to=(parts.output(),), axis=0)


def _linear(parts: Replacement, rows: int, out: str) -> str:
    weight = np.asarray(parts.attribute("coefficients", ()), np.float32).reshape(rows, -1)
    bias = np.asarray(parts.attribute("intercepts", ()) or [0.0] * rows, np.float32)
    operands = (parts.input(0), parts.store(weight, "coefficients"), parts.store(bias, "intercepts"))
    return parts.compute("Gemm", *operands, to=(out,), main=True, transB=1)


def _transformed(parts: Replacement, scores: str, out: str) -> None:
    kind = parts.attribute("post_transform", "NONE")
    if kind == "NONE":
        if scores != out:
            parts.compute("Identity", scores, to=(out,))
    elif kind == "SOFTMAX" and scores != out:
        parts.compute("Softmax", scores, to=(out,), axis=1)
    elif kind == "LOGISTIC" and scores != out:
        parts.compute("Sigmoid", scores, to=(out,))
    else:
        raise parts.refuse(f"the post_transform {kind}")


def _normalizer(parts: Replacement) -> None:
    """x / ‖x‖ of each row."""
    kind, x = parts.attribute("norm", "MAX"), parts.input(0)
    if kind == "MAX":
        parts.compute(
            "Div", x, parts.compute("ReduceMax", parts.compute("Abs", x), parts.store(np.array([1]), "axes")), main=True
        )
    else:
        parts.compute("LpNormalization", x, main=True, axis=1, p={"L1": 1, "L2": 2}[kind])
    parts.finish()


def _extractor(parts: Replacement) -> None:
    """Columns at constant places, or a label for each index that is found."""
    x, indices = parts.input(0), parts.input(1)
    table = parts.graph.constant(x)
    if table is None:
        places = parts.graph.constant(indices)
        if places is None:
            raise parts.refuse("places that are found at run time")
        parts.compute("Gather", x, parts.store(places.reshape(-1), "places"), main=True, axis=-1)
    else:
        found = parts.compute("Gather", parts.store(table.reshape(-1), "table"), indices, axis=0)
        parts.compute("Reshape", found, parts.store(np.array([1, -1], np.int64), "row"))
    parts.finish()


CLASSICAL: dict[str, Callable[[Replacement], None]] = {
    "ai.onnx.ml::Scaler": _scaler,
    "ai.onnx.ml::LinearRegressor": _regressor,
    "ai.onnx.ml::LinearClassifier": _classifier,
    "ai.onnx.ml::Normalizer": _normalizer,
    "ai.onnx.ml::ArrayFeatureExtractor": _extractor,
}
