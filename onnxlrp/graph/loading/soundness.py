"""What the layers of a model must satisfy: windows that fit, indices in range, weights that are finite numbers.

onnxruntime opens models that break these rules and fails, or computes NaN, when they run.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError, UnsupportedError
from .. import operators
from ..graph import Array, Layer
from ..reading.printable import printable
from ..rewriting.mutable_graph import MutableGraph

_WINDOWS = operators.CONVOLUTIONS | operators.WINDOW_POOLS
_EXPORT = "export the model again"
_MOST_AXES = 32


def check_layers(graph: MutableGraph) -> None:
    """Check windows, groups and constant indices.

    Raises:
        InputError: A convolution whose groups, channels or kernel do not fit, a window that is larger than its input,
            or an index out of range; the message names the layer.
        UnsupportedError: A tensor of more than 32 axes.
    """
    for layer in graph.layers:
        _check_rank(graph, layer)
        if layer.op in operators.CONVOLUTIONS:
            _check_groups(graph, layer)
        if layer.op in _WINDOWS:
            _check_window(graph, layer)
        elif layer.op == "Gather":
            _check_indices(graph, layer)


def check_constants(graph: MutableGraph) -> None:
    """Check that constants are numbers: not NaN, and no factor is infinite.

    Raises:
        InputError: The message names the tensor and a layer that reads it.
    """
    wrong = {name: array for name, array in graph.constants.items() if not _is_finite(array)}
    if not wrong:
        return
    for layer in graph.layers:
        for position, name in enumerate(layer.inputs):
            if name not in wrong:
                continue
            is_factor = layer.op in operators.FACTORS and position < 2
            nan = int(np.isnan(wrong[name]).sum())
            if nan or is_factor:
                what = f"{nan} NaN" if nan else f"{int(np.isinf(wrong[name]).sum())} infinite values"
                raise InputError(
                    f'the constant "{printable(name)}" of the {_named(layer)} holds {what}: nothing behind it can be '
                    "explained",
                    "export the model again from weights that are finite numbers",
                )


def _check_rank(graph: MutableGraph, layer: Layer) -> None:
    rank = max((len(graph.shapes.get(name, ())) for name in layer.outputs), default=0)
    if rank > _MOST_AXES:
        raise UnsupportedError(
            f"the {_named(layer)} has a result of {rank} axes, of which numpy handles {_MOST_AXES}",
            "export the model without axes of length 1",
        )


def _check_groups(graph: MutableGraph, layer: Layer) -> None:
    data, weight = _shape(graph, layer.inputs[0]), _shape(graph, layer.inputs[1])
    group = int(layer.attributes.get("group", 1))
    if data is None or weight is None or len(data) < 2 or len(weight) < 2:
        return
    channels, filters = data[1], weight[0]
    if channels % graph.prime == 0:
        return  # the batch: refused where it is freed
    wanted = weight[1] * group if layer.op == "Conv" else filters
    if group < 1 or channels != wanted or filters % group:
        raise InputError(
            f"the {_named(layer)} has {group} groups, and weights {list(weight)} for an input of {channels} channels: "
            "these do not fit",
            _EXPORT,
        )
    kernel = list(layer.attributes.get("kernel_shape") or weight[2:])
    if kernel != list(weight[2:]):
        raise InputError(f"the {_named(layer)} has a kernel of {kernel}, and weights {list(weight)}", _EXPORT)


def _check_window(graph: MutableGraph, layer: Layer) -> None:
    data, result = _shape(graph, layer.inputs[0]), _shape(graph, layer.outputs[0])
    if data is None or result is None or min(data[2:], default=1) < 1 or len(result) != len(data):
        return
    if min(result[2:], default=1) < 1 or _reaches_beyond(layer, data[2:]):
        raise InputError(
            f"the {_named(layer)} has a window that is larger than its input of {' x '.join(map(str, data[2:]))}",
            "give a larger size, or export the model again",
        )


def _reaches_beyond(layer: Layer, lengths: tuple[int, ...]) -> bool:
    """Whether a window with its dilations is longer than a padded axis; onnxruntime makes a result all the same."""
    kernel = layer.attributes.get("kernel_shape")
    padded = layer.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if (
        layer.op == "ConvTranspose"
        or kernel is None
        or padded
        or layer.attributes.get("ceil_mode", 0)
        or len(kernel) != len(lengths)
    ):
        return False
    d = len(kernel)
    dilations, pads = layer.attributes.get("dilations") or [1] * d, layer.attributes.get("pads") or [0] * 2 * d
    if len(dilations) != d or len(pads) != 2 * d:
        return False
    rooms = zip(lengths, kernel, dilations, pads[:d], pads[d:], strict=True)
    return any(n + before + after < dilation * (k - 1) + 1 for n, k, dilation, before, after in rooms)


def _check_indices(graph: MutableGraph, layer: Layer) -> None:
    data, indices = _shape(graph, layer.inputs[0]), graph.constant(layer.inputs[1])
    if data is None or indices is None or not indices.size:
        return
    length = data[int(layer.attributes.get("axis", 0))]
    low, high = int(indices.min()), int(indices.max())
    if low < -length or high >= length:
        raise InputError(
            f"the {_named(layer)} reads index {high if high >= length else low} of an axis of length {length}", _EXPORT
        )


def _shape(graph: MutableGraph, name: str) -> tuple[int, ...] | None:
    value = graph.constant(name)
    return graph.shapes.get(name) if value is None else value.shape


def _is_finite(array: Array) -> bool:
    if array.dtype.kind != "f":
        return True
    # Axes that repeat one value (of a broadcast constant) are looked at once.
    own = array[tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)]
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum is finite only if every value is; one that overflows is no proof of the contrary.
        return bool(np.isfinite(own.sum()) or np.isfinite(own).all())


def _named(layer: Layer) -> str:
    path = f" ({printable(layer.path)})" if layer.path else ""
    return f'{layer.op} node "{printable(layer.name)}"{path}'
