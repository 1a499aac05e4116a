"""An explainer and its converted form on one random sample, before the latter is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import runtime

Arrays = dict[str, Any]


def outputs(
    path: str | os.PathLike[str], bounds: tuple[Any, Any] | None = None, feed: Mapping[str, Any] | None = None
) -> tuple[Arrays | None, Arrays]:
    """Run an explainer in onnxruntime.

    Args:
        path: The file.
        bounds: The lowest and the highest value of pictures, for inputs of their shape; None: normal values.
        feed: The inputs; None: random ones, and class 0.

    Returns:
        The outputs by name, None where the file does not run; and the inputs.

    Raises:
        UsageError: onnxruntime is not installed.
    """
    ort = runtime.onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    given = dict(feed or {})
    try:
        session = ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        given = given or {value.name: _sample(value, bounds) for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        return dict(zip(names, session.run(None, given), strict=True)), given
    except Exception:  # it has no class of errors of its own
        return None, given


def relative(found: Any, wanted: Any) -> float:
    """Return |a - b|₂ / |b|₂; infinite where a has another shape, is not finite, or b alone is 0."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if a.shape != b.shape:
        return float("inf")
    apart, size = float(np.linalg.norm((a - b).ravel())), float(np.linalg.norm(b.ravel()))
    if not np.isfinite(apart):
        return float("inf")
    return apart / size if size else 0.0 if not apart else float("inf")


def _sample(value: Any, bounds: tuple[Any, Any] | None) -> Any:
    """Return values of an input: of one sample, and 32 where another length is open."""
    shape = [n if isinstance(n, int) else 1 if n == "N" else 32 for n in value.shape]
    rng = np.random.default_rng(0)
    if value.type == "tensor(uint8)":
        return rng.integers(0, 256, shape).astype(np.uint8)
    if value.type not in _FLOATS:
        return np.zeros(shape, value.type.removeprefix("tensor(").removesuffix(")"))
    if bounds is not None and len(shape) == 4:
        low, high = (np.asarray(bound) for bound in bounds)
        return (low + rng.random(shape) * (high - low)).astype(_FLOATS[value.type])
    return rng.normal(size=shape).astype(_FLOATS[value.type])


_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
