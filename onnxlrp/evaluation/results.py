"""Results of an evaluation: a cell for each method and metric, as a table and as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import InputError, UsageError
from ..files import to_jsonable
from .metrics.registry import Curve

_LONGEST = 1 << 30  # bytes of a file of results

Array = npt.NDArray[Any]

DRAWS = 2000
ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class Line:
    """The mean of a curve over the samples, with its interval.

    Attributes:
        x: Positions along the axis.
        mean: The mean at each x.
        low: The lower bound of the interval at each x.
        high: The upper bound.
        along: What x is.
        across: What the values are.
        ticks: Names for x, empty for numbers.
    """

    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    along: str
    across: str
    ticks: Sequence[str] = ()


@dataclass(frozen=True)
class Cell:
    """One metric of one method.

    Attributes:
        key: A digest of the question: method, metric, options, seed.
        method: The name of the method.
        options: Its options.
        metric: The name of the metric.
        settings: Its options.
        better: "higher" or "lower".
        values: The value of each sample, None where it has none.
        mean: The mean of the values.
        low: The lower bound of its 95 % bootstrap interval.
        high: The upper bound.
        curves: Curves by name.
        note: Why samples have no value.
        refused: Whether the method cannot explain this model.
    """

    key: str
    method: str
    options: Mapping[str, Any]
    metric: str
    settings: Mapping[str, Any]
    better: str
    values: Sequence[float | None] = ()
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    curves: Mapping[str, Line] = field(default_factory=dict)
    note: str = ""
    refused: bool = False

    @property
    def count(self) -> int:
        """How many samples have a value."""
        return sum(value is not None for value in self.values)

    def __str__(self) -> str:
        if self.mean is None or self.low is None or self.high is None:
            return "refused" if self.refused else "-"
        low, high = (_short(bound) for bound in (self.low, self.high))
        return f"{_short(self.mean)} [{low}, {high}]"


@dataclass(frozen=True)
class Evaluation:
    """The cells of an evaluation.

    Attributes:
        about: What they have in common: model, samples, classes, engine.
        cells: A cell for each method and metric.
    """

    about: Mapping[str, Any]
    cells: Sequence[Cell]

    def cell(self, method: str, metric: str) -> Cell:
        """Return the cell of a method and a metric, by their names. Raises UsageError."""
        found = next((c for c in self.cells if (c.method, c.metric) == (method, metric)), None)
        if found is None:
            raise UsageError(f"{metric} of {method} was not evaluated", "name both when you evaluate")
        return found

    def rows(self) -> list[list[str]]:
        """Return a table with a head: a row for each method, a column for each metric, arrows to the better side."""
        metrics = list(dict.fromkeys((c.metric, c.better) for c in self.cells))
        rows = [["method", *(f"{name} {ARROWS[better]}" for name, better in metrics)]]
        for method in dict.fromkeys(c.method for c in self.cells):
            found = {c.metric: str(c) for c in reversed(self.cells) if c.method == method}
            rows.append([method, *(found.get(name, "") for name, _ in metrics)])
        return rows

    def notes(self) -> dict[str, str]:
        """Return the reasons why samples have no value, with their cells: `deletion of gradient, epsilon`."""
        reasons: dict[str, dict[str, list[str]]] = {}
        for cell in self.cells:
            if cell.note:
                reasons.setdefault(cell.note, {}).setdefault(cell.metric, []).append(cell.method)
        methods = len({cell.method for cell in self.cells})

        def cells(metric: str, names: Sequence[str]) -> str:
            return metric if len(names) == methods > 1 else f"{metric} of {', '.join(names)}"

        return {note: "; ".join(cells(*pair) for pair in where.items()) for note, where in reasons.items()}

    def markdown(self) -> str:
        """Format the table as Markdown."""
        head, *rows = self.rows()
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation in JSON's types."""
        return {**self.about, "cells": [asdict(cell) for cell in self.cells]}

    def to_json(self) -> str:
        """Format the evaluation as JSON."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> Path:
        """Write the evaluation as JSON, whole or not at all. Raises InputError."""
        return files.replace(path, self.to_json().encode())


def read(path: str | Path) -> Evaluation:
    """Read an evaluation that `save` wrote. Raises InputError."""
    path = Path(path)
    files.check(path)
    try:
        return parsed(json.loads(files.read_text(path, _LONGEST)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: not the results of an evaluation ({files.reason(error)})", "choose another name with -o"
        ) from None


def parsed(stored: Mapping[str, Any]) -> Evaluation:
    """Rebuild an evaluation from what `to_dict` returned. Raises KeyError, TypeError, AttributeError."""
    about = dict(stored)
    return Evaluation(about, [_cell(dict(entry)) for entry in about.pop("cells")])


def key_of(*what: Any) -> str:
    """Digest what identifies a cell: equal for the same question."""
    text = json.dumps(what, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def summary(values: Array, seed: int) -> tuple[Array, Array, Array]:
    """Compute the mean over samples with its 95 % interval, by the percentile bootstrap (Efron 1979).

    The same samples are drawn for every method. Equal values have an interval without width, which says little about
    other samples.

    Args:
        values: Values [N, …]; rows with NaN are left out.
        seed: The seed of the bootstrap.

    Returns:
        (mean, low, high) [...]; NaN where no row is left.
    """
    rows = values[~np.isnan(values.reshape(len(values), -1)).any(axis=1)]
    n = len(rows)
    if not n:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing, nothing
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS) / n
    means = np.tensordot(weights, rows, axes=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return rows.mean(axis=0), low, high


def measured_cell(cell: Cell, values: Array, curves: Mapping[str, Curve], why: str, seed: int) -> Cell:
    """Fill a cell with its measurement."""
    mean, low, high = (to_jsonable(bound) for bound in summary(values, seed))
    without = int(np.isnan(values).sum())
    lines = {n: _line(c, seed) for n, c in curves.items() if not np.isnan(c.y).any(axis=1).all()}
    note = f"{without} of {len(values)} samples: {why}" if without else ""
    found = [to_jsonable(value) for value in values]
    return replace(cell, values=found, mean=mean, low=low, high=high, curves=lines, note=note)


def _line(curve: Curve, seed: int) -> Line:
    mean, low, high = (bound.tolist() for bound in summary(curve.y, seed))
    return Line(curve.x.tolist(), mean, low, high, curve.along, curve.across, list(curve.ticks))


def _cell(entry: dict[str, Any]) -> Cell:
    lines = {name: Line(**line) for name, line in entry.pop("curves").items()}
    return Cell(**entry, curves=lines)


def _short(value: float) -> str:
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.1e}"
