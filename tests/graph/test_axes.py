"""Axes that are traced through reshapes and transposes, against numpy on elements that carry their own coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxlrp.graph.axes.parts import Axes
from onnxlrp.graph.axes.places import places
from onnxlrp.graph.axes.tracing import trace_axes
from onnxlrp.graph.graph import Graph, Layer, Tensor

SHAPE = (6, 8, 12)  # channels, height, width


def chain(steps: list[tuple[str, tuple[int, ...]]]) -> tuple[Axes | None, Any]:
    """The traced axes of the last result, and the result itself, of elements that are their own numbers."""
    values = np.arange(np.prod(SHAPE)).reshape(1, *SHAPE)
    shapes: dict[str, tuple[int, ...]] = {"x": SHAPE}
    layers = []
    for n, (op, argument) in enumerate(steps):
        values = values.transpose(0, *(1 + a for a in argument)) if op == "Transpose" else values.reshape(1, *argument)
        attributes = {"perm": (0, *(1 + a for a in argument))} if op == "Transpose" else {}
        name = f"t{n}"
        layers.append(Layer(op, name, "", (f"t{n - 1}" if n else "x",), (name,), attributes))
        shapes[name] = values.shape[1:]
    last = Tensor(f"t{len(steps) - 1}", values.shape[1:], "float32")
    source = Tensor("x", SHAPE, "float32")
    graph = Graph(tuple(layers), (source,), (last,), {}, shapes)
    return trace_axes(graph, source).get(last.name), values


@st.composite
def rearrangements(draw: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Axes cut in two, put in another order, and merged."""
    shape: tuple[int, ...] = SHAPE
    steps: list[tuple[str, tuple[int, ...]]] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["cut", "order", "merge"]))
        at = draw(st.integers(0, len(shape) - 1))
        if kind == "order":
            order = tuple(draw(st.permutations(range(len(shape)))))
            steps.append(("Transpose", order))
            shape = tuple(shape[a] for a in order)
            continue
        if kind == "cut":
            part = draw(st.sampled_from([d for d in range(1, shape[at] + 1) if shape[at] % d == 0]))
            shape = (*shape[:at], part, shape[at] // part, *shape[at + 1 :])
        elif at + 1 < len(shape):
            shape = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
        steps.append(("Reshape", shape))
    return steps


@pytest.mark.slow
@given(rearrangements())
@settings(max_examples=300)
def test_places_lead_back_to_the_picture(steps: list[tuple[str, tuple[int, ...]]]) -> None:
    """However elements are rearranged, the maps have the picture's own elements at each place, or there are none."""
    axes, values = chain(steps)
    if axes is None:
        return
    found = places(axes, (1, 2))
    if found is None:
        return
    maps = found.maps(values)[0]
    original = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    assert maps.shape == original.shape
    np.testing.assert_array_equal(np.sort(maps, axis=0), np.sort(original, axis=0))


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("channels last", [("Transpose", (1, 2, 0))]),
        ("tokens", [("Reshape", (6, 96)), ("Transpose", (1, 0))]),
        ("windows", [("Reshape", (6, 2, 4, 3, 4)), ("Transpose", (1, 3, 2, 4, 0)), ("Reshape", (6, 16, 6))]),
        (
            "windows put back",
            [
                ("Reshape", (6, 2, 4, 3, 4)),
                ("Transpose", (1, 3, 2, 4, 0)),
                ("Reshape", (2, 3, 4, 4, 6)),
                ("Transpose", (0, 2, 1, 3, 4)),
                ("Reshape", (8, 12, 6)),
            ],
        ),
        ("patches", [("Reshape", (6, 4, 2, 6, 2)), ("Transpose", (1, 3, 0, 2, 4)), ("Reshape", (24, 24))]),
        ("heads", [("Transpose", (1, 2, 0)), ("Reshape", (96, 2, 3)), ("Transpose", (1, 0, 2))]),
    ],
)
def test_what_networks_do_has_places(name: str, steps: list[tuple[str, tuple[int, ...]]]) -> None:
    axes, values = chain(steps)
    assert axes is not None
    found = places(axes, (1, 2))
    assert found is not None, name
    maps = found.maps(values)[0]
    assert maps.shape == SHAPE
    original = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    np.testing.assert_array_equal(np.sort(maps, axis=0), np.sort(original, axis=0))
    assert places(axes, (1, 2, 3)) is None  # there is no third axis of space
