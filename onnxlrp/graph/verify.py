"""Does the graph compute what the untouched model computes?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxlrp.errors import CheckFailed
from onnxlrp.graph.emit import emit
from onnxlrp.graph.graph import Array, Graph
from onnxlrp.graph.read import Source
from onnxlrp.graph.simplify import onnxruntime

_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}


def verify(graph: Graph, source: Source, batches: Sequence[int] = (1, 3, 8), tolerance: float = 1e-4) -> float:
    """The largest deviation from the untouched model on random inputs, relative to each output's largest value.

    A model whose batch is fixed runs sample by sample. Raises `CheckFailed` above `tolerance`.
    """
    original, rewritten = _session(_untouched(source)), _session(emit(graph).SerializeToString())
    batches = [graph.batch] if graph.batch else batches
    worst = 0.0
    for batch in batches:
        feed = _feed(graph, batch, np.random.default_rng(batch))
        expected, actual = _run(original, graph, feed), _run(rewritten, graph, feed)
        for tensor, want, got in zip(graph.outputs, expected, actual, strict=True):
            want, got = want.astype(np.float64).reshape(batch, -1), got.astype(np.float64).reshape(batch, -1)
            deviation = float(np.abs(want - got).max() / (np.abs(want).max() or 1.0))
            worst = max(worst, deviation)
            if not deviation <= tolerance:
                raise CheckFailed(
                    f'"{tensor.name}" deviates from the untouched model by {deviation:.1e} at batch {batch}.',
                    "Report the model: its graph was rewritten wrongly.",
                )
    return worst


def _untouched(source: Source) -> str | bytes:
    if isinstance(source, bytes):
        return source
    return bytes(source.SerializeToString()) if isinstance(source, onnx.ModelProto) else os.fspath(source)


def _session(model: str | bytes) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    # What the file says: optimised, weights in int8 compute differently and roundings flip.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _feed(graph: Graph, batch: int, rng: np.random.Generator) -> dict[str, Array]:
    feed: dict[str, Array] = {}
    for tensor in graph.inputs:
        shape = (batch, *tensor.shape)
        whole = np.issubdtype(np.dtype(tensor.dtype), np.integer)
        feed[tensor.name] = (rng.integers(0, 100, shape) if whole else rng.normal(size=shape)).astype(tensor.dtype)
    return feed


def _run(session: Any, graph: Graph, feed: dict[str, Array]) -> list[Array]:
    names = [tensor.name for tensor in graph.outputs]
    types = {value.name: _DTYPES.get(value.type) for value in session.get_inputs()}
    feed = {name: value.astype(types[name]) if types.get(name) else value for name, value in feed.items()}
    unread: dict[str, Array] = {}
    # What the graph has lost nobody reads: exporters list constants that they have folded.
    for value in session.get_inputs():
        if value.name not in feed:
            shape = [d if isinstance(d, int) and d > 0 else 1 for d in value.shape]
            unread[value.name] = np.zeros(shape, _DTYPES.get(value.type, "float32"))
    fixed = next(
        (d for v in session.get_inputs() for d in v.shape[:1] if v.name in feed and isinstance(d, int) and d > 0), None
    )
    total = len(next(iter(feed.values())))
    if fixed is None or fixed == total:
        return [np.asarray(value) for value in session.run(names, feed | unread)]
    runs = [
        session.run(names, {name: value[start : start + fixed] for name, value in feed.items()} | unread)
        for start in range(0, total - total % fixed, fixed)
    ]
    return [np.concatenate([np.asarray(run[i]).reshape(fixed, -1) for run in runs]) for i in range(len(names))]
