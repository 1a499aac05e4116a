"""Nearest-neighbour Resize as selections by the indices that onnxruntime itself picks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...runtime import missing, onnxruntime
from ..graph import Array, Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph
from ..writing.to_onnx import to_node

OUTSIDE = -1  # the index that stands for the extrapolation value

_REGULAR = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def nearest(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a nearest-neighbour Resize as one Gather per axis, and a Resize where elements are just repeated.

    Runtimes compute the coordinates in different precision, so that they round to different neighbours. The indices are
    those of onnxruntime, read off its own operator (by its formulas where it is not installed), and constants of the
    graph from here on: forward pass and relevance use the same ones on every engine and in every runtime. Where
    coordinates fall outside (tf_crop_and_resize), the input is padded by the extrapolation value, which the Gather
    takes.

    Returns:
        The layers; none for an interpolation, for sizes that are computed at run time, and for a Resize that repeats
        elements and is already written so that every runtime agrees.
    """
    operands = [graph.constant(name) for name in layer.inputs[1:]]
    known = all(value is not None for name, value in zip(layer.inputs[1:], operands, strict=True) if name)
    if layer.attributes.get("mode", "nearest") != "nearest" or layer.inputs[0] in graph.constants or not known:
        return []
    shape = graph.shapes[layer.inputs[0]]
    picks = _picks(graph, layer, shape)
    if not picks or 0 in picks:
        return []
    build, x = Builder(graph, layer), layer.inputs[0]
    repeated = {axis for axis, pick in picks.items() if _repeats(pick, shape[axis])}
    stated = {key: layer.attributes.get(key) for key in _REGULAR}
    if len(repeated) == len(picks) and stated == _REGULAR:
        return []
    outside = sorted(axis for axis, pick in picks.items() if (pick == OUTSIDE).any())
    if outside:
        x = _padded(build, x, outside)
    # Shrinking axes first.
    gathered = sorted(picks.keys() - repeated, key=lambda axis: len(picks[axis]) / shape[axis])
    for n, axis in enumerate(gathered):
        last = n + 1 == len(gathered) and not repeated
        out = build.out if last else f"{build.out}/axis{axis}"
        pick = np.where(picks[axis] == OUTSIDE, shape[axis], picks[axis])
        after = [len(pick) if i == axis else length for i, length in enumerate(build.shape(x))]
        indices = build.integers(pick, f"{out}/indices")
        x = build.add("Gather", x, indices, out=out, name=layer.name if last else "", shape=after, axis=axis)
    if repeated:
        axes = sorted(repeated)
        sizes = build.integers([len(picks[axis]) for axis in axes], f"{build.out}/sizes")
        build.keep(inputs=(x, "", "", sizes), attributes={**_REGULAR, "axes": tuple(axes)})
    return build.layers


def _padded(build: Builder, x: str, axes: list[int]) -> str:
    """Append the extrapolation value behind the last element of these axes."""
    out, fill = f"{build.out}/extrapolated", float(build.layer.attributes.get("extrapolation_value", 0.0))
    amounts = build.integers([*[0] * len(axes), *[1] * len(axes)], f"{out}/amounts")
    value = build.constant(np.array(fill, np.float32), f"{out}/value")
    where = build.integers(axes, f"{out}/axes")
    shape = [length + (axis in axes) for axis, length in enumerate(build.shape(x))]
    return build.add("Pad", x, amounts, value, where, out=out, shape=shape)


def _repeats(pick: Array, length: int) -> bool:
    return len(pick) % length == 0 and np.array_equal(pick, np.repeat(np.arange(length), len(pick) // length))


def _picks(graph: MutableGraph, layer: Layer, shape: tuple[int, ...]) -> dict[int, Array]:
    """Return the input index of each output along each axis that the layer changes, from onnxruntime.

    Args:
        graph: The graph.
        layer: A nearest-neighbour Resize with constant parameters.
        shape: The shape of its operand, batch included.
    """
    rank = len(shape)
    axes = [int(axis) % rank for axis in layer.attributes.get("axes", range(rank))]
    parts = [graph.constant(name) for name in (*layer.inputs[1:], "", "", "")[:3]]
    roi, scales, sizes = ([] if part is None else part.reshape(-1).tolist() for part in parts)
    stays = set(range(rank)) - set(axes)
    if layer.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        crops = zip(roi[: len(axes)], roi[len(axes) :], strict=True)
        stays |= {a for a, (start, end), n in zip(axes, crops, scales or sizes, strict=True)
                  if (start, end) == (0, 1) and n == (1 if scales else shape[a])}  # fmt: skip
    elif layer.attributes.get("keep_aspect_ratio_policy", "stretch") == "stretch":
        stays |= {a for a, n in zip(axes, scales or sizes, strict=True) if n == (1 if scales else shape[a])}
    changed = [axis for axis in range(rank) if axis not in stays]
    if missing():
        made = _computed(layer, {axis: shape[axis] for axis in axes}, (roi, scales, sizes))
        return {a: made[a] for a in changed if not np.array_equal(made[a], np.arange(shape[a]))}
    # Of an axis that stays one element is enough: of the batch, which is no number of samples here, above all.
    short = [1 if axis in stays else length for axis, length in enumerate(shape)]
    session = _session(graph, layer, short, [1 if a in stays else n for a, n in zip(axes, sizes, strict=False)])
    found = {}
    for axis in changed:
        ramp = np.arange(short[axis], dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(rank)])
        (y,) = session.run(None, {"x": np.broadcast_to(ramp, short).copy()})
        # An element is outside where any of its coordinates is.
        pick = y.max(axis=tuple(i for i in range(rank) if i != axis)).astype(np.int64)
        if not np.array_equal(pick, np.arange(shape[axis])):
            found[axis] = pick
    return found


def _computed(layer: Layer, lengths: Mapping[int, int], operands: tuple[list[Any], ...]) -> dict[int, Array]:
    """Return the input index of each output along each axis, without onnxruntime."""
    from .nearest_indices import indices

    roi, scales, sizes = operands
    whole = [np.float32(length) for length in lengths.values()]
    if sizes:
        factors = [np.float32(size) / length for size, length in zip(sizes, whole, strict=True)]
        policy = layer.attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [min(factors) if policy == "not_larger" else max(factors)] * len(factors)
            sizes = [round(float(length * factors[0])) for length in whole]
    else:
        factors = [np.float32(scale) for scale in scales]
        sizes = [int(length * factor) for length, factor in zip(whole, factors, strict=True)]
    if sizes == list(lengths.values()):  # onnxruntime hands the operand on, whatever the scales
        return {axis: np.arange(length) for axis, length in lengths.items()}
    parts = zip(roi[: len(whole)], roi[len(whole) :], strict=True) if roi else [(0.0, 1.0)] * len(whole)
    return {
        axis: indices(layer.attributes, length, int(size), float(factor), part)
        for (axis, length), size, factor, part in zip(lengths.items(), sizes, factors, parts, strict=True)
    }


def _session(graph: MutableGraph, layer: Layer, shape: list[int], sizes: list[int]) -> Any:
    """Return a session of the layer alone on "x", float32."""
    ort = onnxruntime()
    names = ["x", *(part if name else "" for name, part in zip(layer.inputs[1:], _OPERANDS, strict=False))]
    attributes = {**layer.attributes, "extrapolation_value": float(OUTSIDE)}
    node = to_node(replace(layer, inputs=tuple(names), outputs=("y",), attributes=attributes))
    constants = [
        numpy_helper.from_array(np.asarray(sizes, np.int64) if part == "sizes" else graph.constants[name], part)
        for name, part in zip(layer.inputs[1:], _OPERANDS, strict=False)
        if name
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    opset = helper.make_opsetid("", graph.opsets.get("", 23))
    model = helper.make_model(helper.make_graph([node], "nearest", [x], [y], constants), opset_imports=[opset])
    model.ir_version = 10
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


_OPERANDS = ("roi", "scales", "sizes")
