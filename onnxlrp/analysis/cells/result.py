"""Cells along a text: what was found, its record and its picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ...files import to_jsonable
from .tracking import Tracked
from .watch import HIGH, LOW, Run

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

PICTURED = 480  # characters of a cell in a picture


@dataclass(eq=False)
class CellsResult:
    """The cells of recurrent layers along texts.

    Attributes:
        runs: The layers, each direction by itself, with the states of their cells [places, cells] and how often their
            gates are saturated.
        symbols: The character, token or number of each place.
        starts: The first place of each text.
        properties: By name the value of a property at each place.
        tracked: For each property the cell that tracks it best, tested on the second half of the places.
        shown: Cells that were asked for, by their number among all.
        excerpt: The places whose characters pages and pictures show.
        notes: What was decided, with what to type for another.
        provenance: The model, the texts and the options.
    """

    runs: Sequence[Run]
    symbols: Sequence[str]
    starts: Sequence[int]
    properties: Mapping[str, Array]
    tracked: Sequence[Tracked]
    shown: Sequence[int] = ()
    excerpt: range = range(0)
    notes: Sequence[tuple[str, str]] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def states(self) -> Array:
        """The cells of all layers side by side [places, cells]; of an LSTM tanh c, else h."""
        return np.concatenate([run.states for run in self.runs], axis=1)

    @property
    def cells(self) -> int:
        """The number of cells of all layers."""
        return sum(run.layer.width for run in self.runs)

    def unit(self, cell: int) -> str:
        """Return the name of a cell as a unit of the model, such as "lstm.cell:12"."""
        run, n = self._home(cell)
        return f"{run.layer.cells}:{n}"

    def values(self, cell: int) -> Array:
        """Return the values of one cell [places]."""
        run, n = self._home(cell)
        return np.asarray(run.states[:, n])

    def limit(self, cell: int) -> float:
        """Return what the colours of a cell reach to: 1, or what the cells of a layer without bounds seldom exceed."""
        return self._home(cell)[0].limit

    def number_of(self, word: str) -> int:
        """Return the number among all of a cell by its name as a unit.

        Raises:
            UsageError: There is no such cell.
        """
        name, colon, channel = word.rpartition(":")
        first = 0
        for run in self.runs:
            fits = name in (run.layer.cells, run.layer.label)
            if colon and fits and channel.isdecimal() and int(channel) < run.layer.width:
                return first + int(channel)
            first += run.layer.width
        known = [f"{run.layer.cells}:0 to {run.layer.width - 1}" for run in self.runs]
        raise UsageError(f'"{word}" is no cell of the model', f"cells are {', '.join(known)}")

    def order(self) -> Iterator[int]:
        """Yield all cells: those asked for, those that track a property, then those that vary most."""
        tracked = [one.cell for one in self.tracked if one.cell >= 0]
        first = list(dict.fromkeys([*self.shown, *tracked]))
        spread = np.concatenate([run.states.std(axis=0) for run in self.runs])
        rest = [int(n) for n in np.argsort(-spread, kind="stable") if int(n) not in set(first)]
        yield from (*first, *rest)

    def caption(self, cell: int) -> str:
        """Return the name of a cell and what it tracks."""
        said = [describe(one) for one in self.tracked if one.cell == cell]
        return ": ".join([self.unit(cell), *([", ".join(said)] if said else [])])

    def saturation(self) -> list[dict[str, Any]]:
        """Return of each gate the mean shares of places at which it is left- and right-saturated, over cells."""
        found = []
        for run in self.runs:
            for gate, (low, high) in run.shares().items():
                found.append({
                    "gate": f"{run.layer.label}.{gate}",
                    "left": float(low.mean()),
                    "right": float(high.mean()),
                    "cells_mostly_left": int((low > 0.5).sum()),
                    "cells_mostly_right": int((high > 0.5).sum()),
                    "cells": run.layer.width,
                })  # fmt: skip
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return all but the states in JSON's types."""
        made = {
            "places": len(self.symbols),
            "texts": len(self.starts),
            "layers": [
                {
                    "layer": run.layer.label,
                    "op": run.layer.op,
                    "reverse": run.layer.reverse,
                    "cells": run.layer.width,
                    "gates": {gate: {"left": a, "right": b} for gate, (a, b) in run.shares().items()},
                }
                for run in self.runs
            ],
            "saturated": {"left_below": LOW, "right_above": HIGH, "gates": self.saturation()},
            "properties": [self._record(one) for one in self.tracked],
            "notes": [text for text, _ in self.notes],
            "provenance": self.provenance,
        }
        plain: dict[str, Any] = to_jsonable(made)
        return plain

    def figure(self) -> Image:
        """Draw the cells that were asked for, or those that track a property, over the beginning of the excerpt."""
        from ...pictures import figure, letters, words
        from ...pictures.style import Style

        cells = list(self.shown) or [one.cell for one in self.tracked if one.is_outside]
        cells = list(dict.fromkeys(cells)) or [next(self.order())]
        places = self.excerpt[:PICTURED]
        symbols = [self.symbols[n] for n in places]
        limits = [self.limit(cell) for cell in cells]
        draw = letters.panel if letters.is_letters(symbols) else words.panel
        panels = []
        for cell, v in zip(cells, limits, strict=True):
            panels.append(figure.heading(self.caption(cell)))
            panels.append(draw(self.values(cell)[places.start : places.stop], symbols, v))
        table = figure.scale(np.array([-1.0, 1.0]), "RdBu_r", max(limits))
        alike = len({round(v, 6) for v in limits}) == 1
        return figure.figure(panels, table if alike else None, Style(title=self.title()), stacked=True)

    def title(self) -> str:
        """Return the title of pages and pictures."""
        texts = "a text" if len(self.starts) == 1 else f"{len(self.starts)} texts"
        return f"Cells of {Path(str(self.provenance.get('model') or 'the model')).name} along {texts}"

    def _home(self, cell: int) -> tuple[Run, int]:
        for run in self.runs:
            if cell < run.layer.width:
                return run, cell
            cell -= run.layer.width
        raise UsageError(f"cell {cell}: there is none", f"cells are counted from 0 to {self.cells - 1}")

    def _record(self, one: Tracked) -> dict[str, Any]:
        if one.null is None:
            return {"property": one.name, "tested": False, "why_not": one.why_not}
        return {
            "property": one.name,
            "tested": True,
            "cell": self.unit(one.cell),
            "statistic": one.statistic,
            "on_the_first_half": one.chosen,
            "on_the_second_half": one.value,
            "r": one.r,
            "chance": {
                "level": one.level,
                "threshold": one.threshold,
                "median": float(np.median(one.null)),
                "largest": float(one.null.max()),
                "shifts": len(one.null),
            },
            "p": one.p,
            "outside_chance": one.is_outside,
        }


def describe(one: Tracked) -> str:
    """Return what a cell tracks, and how well, in words."""
    if one.null is None:
        return f"{one.name}: not tested, {one.why_not}"
    return f"{one.name} {one.statistic} {one.value:.2f} (chance {one.threshold:.2f})"
