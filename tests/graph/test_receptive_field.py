"""Receptive fields, against what changes when a pixel of the input does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.graph.outputs import units
from onnxlrp.graph.recognition.receptive_field import receptive_field
from support.tiny_models import model, node


def weights(*shape: int, seed: int = 0) -> Any:
    """Positive: nothing cancels, so that every pixel of a window shows."""
    return (np.random.default_rng(seed).random(shape) + 0.1).astype(np.float32)


def conv(source: str, target: str, weight: str, **attributes: Any) -> Any:
    return node("Conv", [source, weight], [target], name=target, **attributes)


W3 = {
    "w": weights(2, 2, 3, 3),
    "v": weights(2, 2, 3, 3, seed=1),
    "one": weights(2, 2, 1, 1),
    "wide": weights(2, 2, 5, 2),
}
CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "stride and pads": ([conv("x", "a", "w", strides=[2, 2], pads=[1, 0, 0, 1]), conv("a", "y", "v")], {}),
    "dilation": ([conv("x", "a", "w", dilations=[2, 1], pads=[2, 1, 2, 1]), conv("a", "y", "v", strides=[1, 2])], {}),
    "uneven kernel": ([conv("x", "a", "wide", strides=[3, 1]), node("Relu", ["a"], ["y"], name="y")], {}),
    "max pooling": (
        [
            conv("x", "a", "w", pads=[1, 1, 1, 1]),
            node("MaxPool", ["a"], ["p"], kernel_shape=[3, 3], strides=[2, 2]),
            conv("p", "y", "v", pads=[1, 1, 1, 1]),
        ],
        {},
    ),
    "pooling beyond the border": (
        [node("MaxPool", ["x"], ["p"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), conv("p", "y", "v")],
        {},
    ),
    "average pooling": (
        [node("AveragePool", ["x"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), conv("p", "y", "v")],
        {},
    ),
    "residual": (
        [
            conv("x", "a", "w", pads=[1, 1, 1, 1], strides=[2, 2]),
            conv("x", "b", "one", strides=[2, 2]),
            node("Add", ["a", "b"], ["y"], name="y"),
        ],
        {},
    ),
    "concatenation": (
        [
            conv("x", "a", "w", pads=[1, 1, 1, 1]),
            conv("x", "b", "one"),
            node("Concat", ["a", "b"], ["c"], axis=1),
            conv("c", "y", "four"),
        ],
        {"four": weights(2, 4, 3, 3)},
    ),
    "transposed convolution": (
        [
            conv("x", "a", "w", strides=[2, 2]),
            node("ConvTranspose", ["a", "v"], ["y"], name="y", strides=[2, 2], pads=[1, 0, 0, 1]),
        ],
        {},
    ),
    "padding": (
        [node("Pad", ["x", "pads"], ["p"]), conv("p", "y", "w", strides=[2, 2])],
        {"pads": np.array([0, 0, 3, 1, 0, 0, 1, 2])},
    ),
    "axes swapped": (
        [conv("x", "a", "wide"), node("Transpose", ["a"], ["t"], perm=[0, 1, 3, 2]), conv("t", "y", "v")],
        {},
    ),
    "softmax over channels": ([conv("x", "a", "w"), node("Softmax", ["a"], ["y"], name="y", axis=1)], {}),
}


def measured(net: Any, unit: Any, position: tuple[int, ...], x: Any, more: float) -> Any:
    """Whether the value at a position changes with each pixel [H, W]: one pass for each pixel."""
    h, w = x.shape[-2:]
    changed = np.repeat(x[None], h * w + 1, axis=0)
    for n in range(h * w):
        changed[n, :, n // w, n % w] += more
    values = net.outputs(changed, activations=[unit])[f"activation/{unit.label}"]
    at = values[(slice(None), slice(None), *position)]
    return (np.abs(at[:-1] - at[-1]).max(axis=1) > 1e-6).reshape(h, w)


@pytest.mark.few(6)
@pytest.mark.parametrize("name", CASES)
def test_the_field_is_what_changes_the_value(name: str) -> None:
    nodes, constants = CASES[name]
    net = onnxlrp.load(model(nodes, {**W3, **constants}, shape=("N", 2, 13, 11)).SerializeToString())
    unit = units.unit(net.graph, "y")
    field = receptive_field(net.graph, unit.tensor, unit.axis)
    x = np.random.default_rng(3).random((2, 13, 11)).astype(np.float32)
    assert not field.is_whole
    for position in np.ndindex(*unit.space):
        (_, _), rows, columns = field.box(position)
        expected = measured(net, unit, position, x, 0.5 if "softmax" in name else 50)
        if not expected.any():
            assert rows[0] == rows[1] or columns[0] == columns[1]
            continue
        hull = [np.flatnonzero(expected.any(axis=axis)) for axis in (1, 0)]
        assert [rows, columns] == [(line[0], line[-1] + 1) for line in hull], position


LAST: dict[str, list[Any]] = {
    "Flatten": [node("Flatten", ["a"], ["f"]), node("Gemm", ["f", "g"], ["y"], name="y")],
    "GlobalAveragePool": [node("GlobalAveragePool", ["a"], ["y"], name="y")],
    "Softmax": [node("Softmax", ["a"], ["s"], axis=3), conv("s", "y", "v")],
}


@pytest.mark.parametrize("op", LAST)
def test_what_moves_no_window_sees_all(op: str) -> None:
    constants = {**W3, "g": weights(12 * 7, 3)}
    net = onnxlrp.load(model([conv("x", "a", "w"), *LAST[op]], constants, shape=("N", 2, 9, 8)).SerializeToString())
    unit = units.unit(net.graph, "y")
    field = receptive_field(net.graph, unit.tensor, unit.axis)
    box = field.box((0,) * len(unit.space))
    assert box[2] == (0, 8)
    assert box[:2] == (((0, 2), (0, 5)) if op == "Softmax" else ((0, 2), (0, 9)))  # rows are windows still
