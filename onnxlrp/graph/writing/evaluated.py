"""Layers behind a file that nobody can read, run by onnx's evaluator: few layers, of models that few have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from onnx.reference import ReferenceEvaluator

from ..graph import Graph, Tensor
from .to_onnx import emit


def layers_behind(
    graph: Graph, known: frozenset[str], wanted: Sequence[str]
) -> tuple[tuple[str, ...], Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """Return what the layers that were put behind an untouched file read of it, and a run of them.

    Args:
        graph: The graph, with such layers as a place in an output.
        known: The tensors that the file gives.
        wanted: The tensors that the run gives.
    """
    layers = [layer for layer in graph.layers if known.isdisjoint(layer.outputs)]
    made = {name for layer in layers for name in layer.outputs}
    reads = dict.fromkeys(n for layer in layers for n in layer.inputs if n and n not in made | graph.constants.keys())
    inputs = tuple(Tensor(name, graph.shapes[name], graph.dtypes.get(name, "float32")) for name in reads)
    ends = tuple(Tensor(name, graph.shapes[name], graph.dtypes.get(name, "float32")) for name in wanted)
    part = replace(graph, layers=tuple(layers), inputs=inputs, outputs=ends, opaque=None, head=None)
    evaluator = ReferenceEvaluator(emit(part))

    def run(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(wanted, evaluator.run(list(wanted), {name: arrays[name] for name in reads}), strict=True))

    return tuple(name for name in reads if name in known), run
