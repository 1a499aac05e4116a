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


def assembled(steps: list[tuple[str, int, tuple[int, ...]]]) -> tuple[Axes | None, Any]:
    """As `chain`, of tokens [8 · 12, 6] and steps (operator, axis, numbers).

    "Roll" gives the position that comes first; "Beside" how many tokens of no place come before and behind, numbered
    -1; "Slice" the first and last position; "Gather" the positions.
    """
    numbers = np.arange(np.prod(SHAPE)).reshape(6, 96).T
    shapes: dict[str, tuple[int, ...]] = {"x": SHAPE, "a": (6, 96), "t": (96, 6)}
    layers = [
        Layer("Reshape", "a", "", ("x",), ("a",)),
        Layer("Transpose", "t", "", ("a",), ("t",), {"perm": (0, 2, 1)}),
    ]
    constants: dict[str, Any] = {}
    last = "t"

    def add(op: str, values: Any, *operands: Any, **attributes: Any) -> str:
        name = f"r{len(layers)}"
        names = [name_of if isinstance(name_of, str) else f"{name}c{i}" for i, name_of in enumerate(operands)]
        constants.update({n: np.array(v) for n, v in zip(names, operands, strict=True) if not isinstance(v, str)})
        layers.append(Layer(op, name, "", tuple(names), (name,), attributes))
        shapes[name] = values.shape
        return name

    for op, axis, how in steps:
        if op == "Reshape":
            numbers = numbers.reshape(how)
            last = add("Reshape", numbers, last)
        elif op == "Transpose":
            numbers = numbers.transpose(how)
            last = add("Transpose", numbers, last, perm=(0, *(1 + a for a in how)))
        elif op == "Roll":
            parts = np.split(numbers, how, axis)[::-1]
            bounds = [(how[0], numbers.shape[axis]), (0, how[0])]
            made = [add("Slice", v, last, [a], [b], [axis + 1]) for v, (a, b) in zip(parts, bounds, strict=True)]
            numbers = np.concatenate(parts, axis)
            last = add("Concat", numbers, *made, axis=axis + 1)
        elif op == "Beside":
            more = [np.full((*numbers.shape[:axis], n, *numbers.shape[axis + 1 :]), -1) for n in how]
            numbers = np.concatenate([more[0], numbers, more[1]], axis)
            last = add("Concat", numbers, more[0][np.newaxis], last, more[1][np.newaxis], axis=axis + 1)
        elif op == "Slice":
            numbers = np.take(numbers, range(*how), axis)
            last = add("Slice", numbers, last, [how[0]], [how[1]], [axis + 1])
        else:
            numbers = np.take(numbers, how, axis)
            last = add("Gather", numbers, last, how, axis=axis + 1)
    source = Tensor("x", SHAPE, "float32")
    graph = Graph(tuple(layers), (source,), (Tensor(last, numbers.shape, "float32"),), constants, shapes)
    return trace_axes(graph, source).get(last), numbers


GRID = ("Reshape", 0, (8, 12, 6))
WINDOWS = [("Reshape", 0, (2, 4, 3, 4, 6)), ("Transpose", 0, (0, 2, 1, 3, 4)), ("Reshape", 0, (6, 16, 6))]
TOGETHER = [("Reshape", 0, (2, 3, 4, 4, 6)), ("Transpose", 0, (0, 2, 1, 3, 4)), GRID]
ROLLS: dict[str, list[Any]] = {
    "class token": [("Beside", 0, (1, 0))],
    "registers": [("Beside", 0, (1, 0)), ("Beside", 0, (0, 4))],
    "heads": [("Beside", 0, (2, 0)), ("Reshape", 0, (98, 2, 3)), ("Transpose", 0, (1, 2, 0))],
    "without the class token": [("Beside", 0, (1, 0)), ("Slice", 0, (1, 97))],
    "gathered": [("Beside", 0, (1, 0)), ("Gather", 0, (*range(96, 0, -1), 0))],
    "rolled": [GRID, ("Roll", 0, (3,)), ("Roll", 1, (5,))],
    "rolled windows": [GRID, ("Roll", 0, (3,)), ("Roll", 1, (5,)), *WINDOWS],
    "rolled back": [GRID, ("Roll", 0, (3,)), *WINDOWS, *TOGETHER, ("Roll", 0, (5,))],
    "rolled, then tokens beside a class": [GRID, ("Roll", 1, (5,)), ("Reshape", 0, (96, 6)), ("Beside", 0, (1, 1))],
    "one row less": [GRID, ("Roll", 0, (3,)), ("Slice", 0, (0, 7))],
    "one token less": [("Beside", 0, (1, 0)), ("Slice", 0, (0, 96))],
    "one token twice": [("Beside", 0, (1, 0)), ("Gather", 0, (0, 1, *range(1, 97)))],
    "the class token alone": [("Beside", 0, (1, 0)), ("Slice", 0, (0, 1))],
}


@pytest.mark.parametrize("name", ROLLS)
def test_rolled_and_beside_others(name: str) -> None:
    """Each place of the maps has the picture's own elements, or there are no maps."""
    axes, values = assembled(ROLLS[name])
    assert axes is not None
    found = places(axes, (1, 2))
    if name.startswith(("one", "the")):
        assert found is None
        return
    assert found is not None
    maps = found.maps(np.stack([values, values + 1000]))
    original = np.sort(np.arange(np.prod(SHAPE)).reshape(SHAPE), axis=0)
    np.testing.assert_array_equal(np.sort(maps, axis=1), np.stack([original, original + 1000]))
    assert found.others == (values.size - original.size) // 6


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
