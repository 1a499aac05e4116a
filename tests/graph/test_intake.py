"""What a graph's arithmetic on its input says of the pixels that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxlrp.graph.load import load
from onnxlrp.graph.recognition.pixel_range import pixel_range
from support.small_nets import Net


def graph(first: Any) -> Any:
    """A classifier of 6x6 pictures whose input goes through `first(net, x)`."""
    net = Net(3, 6, 6)
    a = net.relu(net.conv(first(net, "x"), 3, 4))
    return load(net.model(net.dense(net.op("Flatten", a), 144, 4)))


def norm(mean: Any, variance: Any, scale: float = 1.0) -> Callable[..., Any]:
    """A BatchNormalization with those statistics of the input's three channels."""
    full = [np.full(3, v) for v in (scale, 0.1, mean, variance)]
    return lambda net, x: net.op("BatchNormalization", x, *full, epsilon=1e-3)


@pytest.mark.parametrize(
    ("first", "high"),
    [
        (norm(120.0, 3600.0), 255.0),
        (norm(0.45, 0.06), 1.0),
        (norm(0.0, 1.0), None),
        (norm(0.02, 0.9, scale=1.7), None),
        (norm(0.5, 0.0), None),
        (lambda net, x: net.op("Sub", np.array([1.0]), x), None),
        (lambda net, x: net.op("Mul", net.op("Sub", np.array([255.0]), x), np.array([1 / 255])), None),
        (lambda net, x: net.op("Div", net.op("Sub", x, np.full((1, 3, 1, 1), 127.5)), np.array(127.5)), 255.0),
        (lambda net, x: net.op("Mul", x, np.array(0.0)), None),
        (lambda net, x: net.op("Add", x, np.zeros((3, 6, 6))), None),
        (lambda net, x: net.op("Add", net.op("Mul", x, np.array([2.0])), x), None),
        (lambda net, x: net.relu(net.op("Sub", x, np.array([127.5]))), 255.0),
        (lambda net, x: x, None),
    ],
)
def test_pixel_range(first: Any, high: float | None) -> None:
    assert pixel_range(graph(first)) == high
