"""What becomes of missing values (NaN) of the explained input: the model fills them in, or its trees branch by them.

Both are decided by the graph alone, column by column: what a runtime computes of NaN elsewhere is an accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import InputError, UnsupportedError, listed
from ..graph import Array, Graph, Layer
from ..operators import ADDITIONS, ARITHMETIC, TREES
from ..reading.printable import printable
from .ensemble import LEAF
from .reading import read
from .routes import NOTHING, moved


class Missing(NamedTuple):
    """What becomes of missing values, by column of the explained input, in the order of its numbers.

    Attributes:
        fills: What the model writes in the place of a missing value [K]; NaN where it writes nothing.
        refusals: What speaks against one, "" for nothing: the layer that would compute with it.
    """

    fills: Array
    refusals: tuple[str, ...]

    def words(self, column: int) -> str:
        """`filled in with 40 by the model`, or that trees have a branch for it."""
        fill = float(self.fills[column])
        return "takes the trees' branch for missing values" if np.isnan(fill) else f"filled in with {fill:.6g}"


class _Affine(NamedTuple):
    """A tensor that may hold NaN: each number is slope · x + shift of one column x, or of none.

    Attributes:
        column: The column [1, …]; `NOTHING` where no missing value changes it.
        slope: The factors [1, …].
        shift: The summands [1, …].
    """

    column: Array
    slope: Array
    shift: Array


def missing(graph: Graph) -> Missing:
    """Follow missing values from the explained input to what reads them.

    They may be moved, scaled and shifted on their way to an Imputer, written as Where(IsNaN(x), value, x), or to trees.
    Trees that state at no split that NaN takes the true branch state nothing of missing values, and refuse them.

    Args:
        graph: The graph, its first input explained.
    """
    first = graph.inputs[0]
    count = int(np.prod(first.shape))
    own = np.arange(count).reshape(1, *first.shape)
    known = {first.name: _Affine(own, np.ones(own.shape), np.zeros(own.shape))}
    tests: dict[str, str] = {}  # the result of an IsNaN → its operand
    fills: list[set[float]] = [set() for _ in range(count)]
    kept = np.zeros(count, bool)  # something else than an Imputer reads NaN
    refusals = [""] * count

    def refuse(columns: Array, why: str) -> None:
        for column in np.unique(columns[columns != NOTHING]).tolist():
            refusals[column] = refusals[column] or why

    def keep(columns: Array) -> None:
        kept[np.unique(columns[columns != NOTHING])] = True

    for layer in graph.layers:
        live = [name for name in layer.inputs if name in known]
        if not live:
            continue
        if layer.op in TREES:
            asked, why = _asked(layer, known[live[0]].column.ravel())
            if why:
                refuse(asked, why)
            else:
                keep(asked)
        elif layer.op == "IsNaN":
            tests[layer.outputs[0]] = layer.inputs[0]
            if not _only_fills(graph, layer):
                keep(known[live[0]].column)
        elif layer.op == "Where" and (filled := _filled(graph, layer, known, tests)) is not None:
            for column, value in filled:
                fills[column].add(value)
        elif (made := _moved(graph, layer, known)) is not None:
            known[layer.outputs[0]] = made
        else:
            why = f'the {layer.op} node "{printable(layer.label)}" would compute with it'
            for name in live:
                refuse(known[name].column, why)
    for name in {t.name for t in graph.outputs} & set(known):
        refuse(known[name].column, f'it is the output "{printable(name)}"')
    one = [values.pop() if len(values) == 1 and not kept[n] else np.nan for n, values in enumerate(fills)]
    return Missing(np.array(one), tuple(refusals))


def _asked(layer: Layer, columns: Array) -> tuple[Array, str]:
    """The columns that the splits of trees read, and what speaks against missing values in them."""
    name = f'the trees of "{printable(layer.label)}"'
    try:
        trees = read(layer).trees
    except UnsupportedError as error:
        return columns, f"{name} cannot be read: {error.message}"
    features = np.unique(trees.feature[trees.mode != LEAF])
    asked = columns[features[features < len(columns)]]
    if not trees.missing.any():
        return asked, f"{name} state no branch for missing values at any split, and would take the false one"
    return asked, ""


def _only_fills(graph: Graph, test: Layer) -> bool:
    """Whether the result of an IsNaN does nothing but choose what is filled in."""
    out, operand = test.outputs[0], test.inputs[0]
    if out in {t.name for t in graph.outputs}:
        return False
    for reader in graph.consumers(out):
        imputes = reader.op == "Where" and reader.inputs[1] in graph.constants and reader.inputs[2] == operand
        unread = reader.op == "Cast" and not graph.consumers(reader.outputs[0])  # the condition of Where as a number
        if not (imputes or unread):
            return False
    return True


def _filled(
    graph: Graph, layer: Layer, known: dict[str, _Affine], tests: dict[str, str]
) -> list[tuple[int, float]] | None:
    """The columns that Where(IsNaN(x), value, x) fills in, each with its x; None for another Where."""
    condition, value, x = layer.inputs
    if tests.get(condition) != x or value not in graph.constants:
        return None
    operand = known[x]
    target = np.broadcast_to(np.asarray(graph.constants[value], np.float64), operand.column.shape)
    found = operand.column != NOTHING
    made = ((target - operand.shift) / operand.slope)[found]
    return list(zip(operand.column[found].tolist(), made.tolist(), strict=True))


def _moved(graph: Graph, layer: Layer, known: dict[str, _Affine]) -> _Affine | None:
    """The result of a layer that moves numbers, or multiplies by constants and adds them; None for another layer."""
    shape = (1, *graph.shapes[layer.outputs[0]]) if layer.outputs[0] in graph.shapes else None
    if shape is None or not graph.dtypes.get(layer.outputs[0], "float32").startswith("float"):
        return None
    if layer.op in ARITHMETIC | ADDITIONS | {"Neg"}:
        return _computed(graph, layer, known, shape)
    parts = []
    for field, nothing in zip(_Affine._fields, (NOTHING, 1, 0), strict=True):
        part = moved(graph, layer, {name: getattr(value, field) for name, value in known.items()}, nothing)
        if part is None:
            return None
        parts.append(np.broadcast_to(part, shape) if part.size == 1 else part.reshape(shape))
    return _Affine(*parts)


def _computed(graph: Graph, layer: Layer, known: dict[str, _Affine], shape: tuple[int, ...]) -> _Affine | None:
    live = [place for place, name in enumerate(layer.inputs) if name in known]
    rest = [name for place, name in enumerate(layer.inputs) if place not in live]
    if len(live) != 1 or any(name not in graph.constants for name in rest) or len(rest) > 1:
        return None
    column, slope, shift = (np.broadcast_to(part, shape) for part in known[layer.inputs[live[0]]])
    if not rest:
        return _Affine(column, -slope, -shift) if layer.op == "Neg" else _Affine(column, slope, shift)
    c = np.broadcast_to(np.asarray(graph.constants[rest[0]], np.float64), shape)
    if layer.op in ("Add", "Sum"):
        return _Affine(column, slope, shift + c)
    if layer.op == "Sub":
        return _Affine(column, slope, shift - c) if live[0] == 0 else _Affine(column, -slope, c - shift)
    factor = 1 / c if layer.op == "Div" else c
    if (layer.op == "Div" and live[0] == 1) or not np.isfinite(factor).all() or not factor.all():
        return None
    return _Affine(column, slope * factor, shift * factor) if layer.op in ("Mul", "Div") else None


def fill(
    graph: Graph, values: Array, origin: str = "the input", names: Sequence[str] | None = None
) -> tuple[Array, dict[int, str]]:
    """Replace missing values by what the model fills in; what its trees read stays NaN.

    A row is explained as the one with these values: the model computes the same of both.

    Args:
        graph: The graph, its first input explained.
        values: Samples [N, …], with NaN where a value is missing.
        origin: What they are called in messages.
        names: The names of the columns.

    Returns:
        The samples, and by column what became of its missing values.

    Raises:
        InputError: The model does not say what becomes of a missing value.
    """
    rows = np.array(values).reshape(len(values), -1)
    gone = np.isnan(rows)
    if not gone.any():
        return values, {}
    found = missing(graph) if graph.opaque is None else None
    columns = np.flatnonzero(gone.any(axis=0)).tolist()
    refused = [n for n in columns if found is None or found.refusals[n]]
    if found is None or refused:
        name = [f'"{names[n]}"' if names else f"{n + 1}" for n in refused or columns]
        row = int(np.argmax(gone[:, refused or columns].any(axis=1))) + 1
        where = f"no value in column{'s' if len(name) > 1 else ''} {listed(name)} (row {row})"
        where = where if np.ndim(values) == 2 else f"{int(gone.sum())} of {gone.size} values are NaN"
        why = "the layers of the model cannot be read" if found is None else found.refusals[refused[0]]
        raise InputError(
            f"{origin}: {where}, and the model does not say what becomes of a missing value: {why}",
            "fill in what is missing as it was in training, or leave the sample out; a model fills in by itself that "
            "was exported with its imputer, as one pipeline",
        )
    rows = np.where(gone & ~np.isnan(found.fills), found.fills, rows).astype(rows.dtype)
    return rows.reshape(np.shape(values)), {n: found.words(n) for n in columns}
