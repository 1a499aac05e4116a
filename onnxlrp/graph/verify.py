"""Comparison of a graph with the untouched model on random inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from ..errors import CheckFailed
from ..runtime import onnxruntime, opened
from .decomposition.quantized import INTEGERS
from .frontend.batch_in_front import WITHOUT, in_file, in_front
from .graph import Array, Graph, Layer, Tensor
from .reading.read import Source
from .writing.to_onnx import emit

_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
_DTYPES |= {f"tensor({name})": name for name in ("int64", "int32", "bool")}
# Behind the name of a tensor: as the untouched model has it; before it is rounded.
_GIVEN, _UNROUNDED = "/given", "/unrounded"


def verify(graph: Graph, source: Source, batches: Sequence[int] = (1, 3, 8), tolerance: float = 1e-4) -> float:
    """Return the largest deviation from the untouched model on random inputs, relative to each tensor's range.

    A model that rounds is compared piece by piece, each from the untouched model's own integers: one that falls to the
    other side of a half moves all that is behind it, and says nothing of it. What a piece gives before it is rounded
    must lie within half a quantum of the file's integer, and `tolerance` of the integers' range. Dynamic quantisation
    looks at the whole batch in the file, at each sample alone in the graph: then the file runs sample by sample, as one
    whose batch is fixed does. Where a CPU has no VNNI, onnxruntime's sums of two products of 8 bits may saturate at 16:
    the file then computes there what it does not say.

    Args:
        graph: The graph.
        source: The model that it was loaded from.
        batches: Batch sizes to compare at, where any is possible.
        tolerance: The largest deviation that passes.

    Raises:
        CheckFailed: A tensor deviates by more.
    """
    outputs, cut, untouched = [tensor.name for tensor in graph.outputs], _roundings(graph), _untouched(source)
    if cut:
        untouched, cut = _watched(untouched, cut)
    original, rewritten = _session(untouched), None
    alone = any(layer.op == "DynamicQuantizeLinear" for layer in graph.layers)
    worst = 0.0
    for batch in [graph.batch] if graph.batch else batches:
        feed = _feed(graph, batch, np.random.default_rng(batch))
        names = list(dict.fromkeys([*outputs, *cut]))
        expected = dict(zip(names, _run(original, graph, feed, names, alone, graph.batch_axes), strict=True))
        # One whose batch is elsewhere in the file is stored in another order.
        fits = [name for name in cut if expected[name].shape == (batch, *graph.shapes[name])]
        if rewritten is None or fits != cut:
            cut, pieces = fits, _in_pieces(graph, fits)
            rewritten = _session(emit(pieces, portable=True).SerializeToString())
        feed |= {f"{name}{_GIVEN}": expected[name] for name in cut}
        made = [tensor.name for tensor in pieces.outputs]
        for name, got in zip(made, _run(rewritten, graph, feed, made), strict=True):
            deviation = _deviation(expected[name.removesuffix(_UNROUNDED)], got, name.endswith(_UNROUNDED))
            worst = max(worst, deviation)
            if not deviation <= tolerance:
                raise CheckFailed(
                    f'"{name}" deviates from the untouched model by {deviation:.1e} at batch {batch}',
                    "report the model: its graph was rewritten wrongly",
                )
    return worst


def _deviation(want: Array, got: Array, unrounded: bool) -> float:
    apart = float(np.abs(want.reshape(-1).astype(np.float64) - got.reshape(-1).astype(np.float64)).max(initial=0))
    if unrounded:
        ends = np.iinfo(want.dtype)
        return max(apart - 0.5, 0.0) / (ends.max - ends.min)
    return apart / (float(np.abs(want.astype(np.float64)).max(initial=0)) or 1.0)


def _roundings(graph: Graph) -> list[str]:
    """The activations between which a graph rounds nothing."""
    inputs = {tensor.name for tensor in graph.inputs}
    rounded = [
        t for layer in graph.layers if layer.op == "QuantizeLinear" for t in layer.outputs
        if graph.dtypes[t] in INTEGERS
    ]  # fmt: skip
    return rounded + [
        t for layer in graph.layers if layer.op == "DynamicQuantizeLinear" for t in layer.inputs if t not in inputs
    ]


def _watched(source: str | bytes, tensors: Sequence[str]) -> tuple[bytes, list[str]]:
    """The untouched model with those of the tensors that it has as further outputs."""
    model = onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load_model(source)
    made = {name for node in model.graph.node for name in node.output}
    found = [name for name in dict.fromkeys(tensors) if name in made]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in found if name not in known)
    return bytes(model.SerializeToString()), found


def _in_pieces(graph: Graph, cut: Sequence[str]) -> Graph:
    """The graph that reads these tensors where it would read what it computes, and gives its own unrounded."""
    layers: list[Layer] = []
    constants = dict(graph.constants)
    outputs = [tensor for tensor in graph.outputs if tensor.name not in cut]
    rounded = {layer.outputs[0] for layer in graph.layers if layer.op == "QuantizeLinear"}.intersection(cut)
    for layer in graph.layers:
        inputs = tuple(f"{name}{_GIVEN}" if name in cut else name for name in layer.inputs)
        if layer.outputs[0] in rounded:
            layers += _unrounded(graph, replace(layer, inputs=inputs), constants)
        else:
            layers.append(replace(layer, inputs=inputs))
    given = [Tensor(f"{name}{_GIVEN}", graph.shapes[name], graph.dtypes[name]) for name in cut]
    own = [Tensor(f"{name}{_UNROUNDED}" if name in rounded else name, graph.shapes[name], "float32") for name in cut]
    shapes = {**graph.shapes, **{tensor.name: tensor.shape for tensor in own}}
    return replace(
        graph, layers=tuple(layers), inputs=(*graph.inputs, *given), outputs=(*outputs, *own), constants=constants,
        shapes=shapes,
    )  # fmt: skip


def _unrounded(graph: Graph, layer: Layer, constants: dict[str, Array]) -> list[Layer]:
    """clip(x/s + z): a QuantizeLinear without its rounding."""
    out, shape = layer.outputs[0], graph.shapes[layer.outputs[0]]
    axis = int(layer.attributes.get("axis", 1)) % (len(shape) + 1)

    def constant(what: str, value: Array) -> str:
        if value.ndim == 1 and value.size > 1:
            value = value.reshape([-1 if i == axis else 1 for i in range(len(shape) + 1)])
        constants[f"{out}/{what}"] = value.astype(np.float32)
        return f"{out}/{what}"

    zero = constants[layer.inputs[2]] if len(layer.inputs) > 2 and layer.inputs[2] else np.zeros((), np.uint8)
    ends = np.iinfo(graph.dtypes[out])
    low, high = (constant(what, np.array(end)) for what, end in (("low", ends.min), ("high", ends.max)))
    units, moved = f"{out}/units", f"{out}/moved"
    return [
        Layer("Div", units, "", (layer.inputs[0], constant("scale", constants[layer.inputs[1]])), (units,)),
        Layer("Add", moved, "", (units, constant("zero", zero)), (moved,)),
        Layer("Clip", f"{out}/clipped", "", (moved, low, high), (f"{out}{_UNROUNDED}",)),
    ]


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
    return opened(ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


def _feed(graph: Graph, batch: int, rng: np.random.Generator) -> dict[str, Array]:
    feed: dict[str, Array] = {}
    for tensor in graph.inputs:
        shape = (batch, *tensor.shape)
        whole = np.issubdtype(np.dtype(tensor.dtype), np.integer)
        feed[tensor.name] = (rng.integers(0, 100, shape) if whole else rng.normal(size=shape)).astype(tensor.dtype)
    return feed


def _run(
    session: Any,
    graph: Graph,
    feed: dict[str, Array],
    names: Sequence[str],
    alone: bool = False,
    axes: Mapping[str, int] = MappingProxyType({}),
) -> list[Array]:
    """Run a session on arrays with the batch on axis 0, and return such; `axes` has its axis of tensors where not 0."""
    types = {value.name: _DTYPES.get(value.type) for value in session.get_inputs()}
    feed = {name: value.astype(types[name]) if types.get(name) else value for name, value in feed.items()}
    unread: dict[str, Array] = {}
    # What the graph has lost nobody reads: exporters list constants that they have folded.
    for value in session.get_inputs():
        if value.name not in feed:
            shape = [d if isinstance(d, int) and d > 0 else 1 for d in value.shape]
            switch = graph.switches.get(value.name)
            number = switch.value if switch else graph.scalars.get(value.name) or 0
            unread[value.name] = np.full(shape, number, _DTYPES.get(value.type, "float32"))
    fixed = next(
        (d for v in session.get_inputs() if v.name in feed for d in v.shape[axes.get(v.name, 0) :][:1]
         if isinstance(d, int) and d > 0), None
    )  # fmt: skip

    def run(rows: slice) -> list[Array]:
        given = {name: in_file(value[rows], axes.get(name, 0)) for name, value in feed.items()}
        found = [np.asarray(value) for value in session.run(list(names), given | unread)]
        return [in_front(v, WITHOUT if single else axes.get(name, 0)) for v, name in zip(found, names, strict=True)]

    single = WITHOUT in axes.values()
    total = len(next(iter(feed.values())))
    size = 1 if single else fixed or (1 if alone else total)
    if size == total:
        return run(slice(None))
    runs = [run(slice(start, start + size)) for start in range(0, total - total % size, size)]
    return [np.concatenate([_rows(found[i], size) for found in runs]) for i in range(len(names))]


def _rows(value: Any, size: int) -> Array:
    array = np.asarray(value)
    return array if array.shape[:1] == (size,) else array.reshape(size, -1)
