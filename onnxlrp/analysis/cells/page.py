"""The page of cells along a text: the text on coloured grounds, gates, properties; offline, without a script."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pages.markup import Markup, escaped, number, tag
from ...pages.shell import document, package_file
from ...pictures.colors import colormap, is_dark
from ...pictures.letters import is_letters
from .result import CellsResult
from .tracking import Tracked
from .watch import HIGH, LOW

Array = npt.NDArray[Any]

SHOWN = 256  # cells of a page
_SHADES = 21  # colours of a text, from -1 to 1
_SIDE, _EDGE = 200, 34  # of a scatter plot


def page(found: CellsResult) -> str:
    """Format the whole file.

    Args:
        found: The cells.
    """
    style = package_file("onnxlrp.report", "style.css") + package_file(__package__, "cells.css") + _shades()
    first = [*found.shown, *(one.cell for one in found.tracked if one.cell >= 0)]
    ordered = list(islice(found.order(), max(SHOWN, len(found.shown))))
    best = list(dict.fromkeys(first)) or ordered[:1]
    rest = [cell for cell in ordered if cell not in set(best)]
    links = [("tracked", "Properties")] if found.tracked else []
    links += [
        ("best", "Cells"),
        ("gates", "Gates"),
        *([("all", "All cells")] if rest else []),
        ("about", "How it was made"),
    ]
    header = tag(
        "header",
        tag("h1", found.title()),
        tag("p", _summary(found)),
        tag("nav", [tag("a", text, href=f"#{word}") for word, text in links], aria_label="sections"),
    )
    content = [_tracked(found), _best(found, best), _gates(found), _rest(found, rest), _about(found)]
    return document(found.title(), header, content, Markup(style))


def _summary(found: CellsResult) -> str:
    layers = ", ".join(f"{run.layer.label} ({run.layer.op}, {run.layer.width} cells)" for run in found.runs)
    return f"{layers}; {len(found.symbols)} places"


def _shades() -> str:
    """The colours of a text as a style sheet: their names are the same on every page."""
    rules = []
    for n, at in enumerate(np.rint(np.linspace(0, 256, _SHADES)).astype(int)):
        red, green, blue = (int(c) for c in colormap("RdBu_r")[at])
        ink = "#fff" if is_dark((red, green, blue)) else "#1b1f24"
        rules.append(f".k{n}{{background:#{red:02x}{green:02x}{blue:02x};color:{ink}}}\n")
    return "".join(rules)


def _tracked(found: CellsResult) -> Any:
    if not found.tracked:
        return []
    heads = ["property", "cell", "statistic", "first half", "second half", "r", "chance", "p", "verdict"]
    numeric = {"first half", "second half", "r", "chance", "p"}
    head = [tag("th", word, scope="col", class_="n" if word in numeric else None) for word in heads]
    rows = [_row(found, one) for one in found.tracked]
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))
    text = (
        "The cell of each property was chosen on the first half of the text; the number of the second half is the one "
        "to quote. Chance is what the best of all cells exceeds with the property shifted to other places of that "
        f"half, in a share of {found.tracked[0].level:g} of the shifts: texts are so regular that large numbers come "
        "about by chance."
    )
    scrolled = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="properties")
    return tag("section", tag("h2", "Properties that cells track"), tag("p", text), scrolled, id="tracked")


def _row(found: CellsResult, one: Tracked) -> Markup:
    if one.null is None:
        return tag("tr", tag("th", one.name, scope="row"), tag("td", f"not tested: {one.why_not}", colspan=8))
    cells = [tag("td", number(value), class_="n") for value in (one.chosen, one.value, one.r, one.threshold, one.p)]
    verdict = "beyond chance" if one.is_outside else "within chance"
    return tag(
        "tr",
        tag("th", one.name, scope="row"),
        tag("td", tag("a", found.unit(one.cell), href=f"#c{one.cell}")),
        tag("td", one.statistic),
        cells,
        tag("td", verdict),
    )


def _best(found: CellsResult, cells: Sequence[int]) -> Markup:
    ramp = tag("span", [tag("span", class_=f"k{n}") for n in range(_SHADES)], class_="ramp", aria_hidden="true")
    legend = tag("p", "blue: −1 ", ramp, " red: +1, or the layer's own limits where they are stated", class_="legend")
    shown = [_cell(found, cell, opened=True) for cell in cells]
    at = found.excerpt
    words = f"Places {at.start} to {at.stop - 1} of {len(found.symbols)}."
    return tag("section", tag("h2", "Cells along the text"), tag("p", words), legend, shown, id="best")


def _rest(found: CellsResult, cells: Sequence[int]) -> Any:
    if not cells:
        return []
    left = found.cells - len(cells)
    text = "Ordered by how much they vary along the text."
    if len(cells) >= SHOWN - len(found.tracked) and left > len(found.tracked):
        text += f" Of {found.cells} cells those {len(cells)} that vary most."
    shown = [_cell(found, cell) for cell in cells]
    return tag("section", tag("h2", "All cells"), tag("p", text), shown, id="all")


def _cell(found: CellsResult, cell: int, opened: bool = False) -> Markup:
    limit, places = found.limit(cell), found.excerpt
    symbols = [found.symbols[n] for n in places]
    letters = is_letters(symbols)
    values = found.values(cell)[places.start : places.stop]
    caption = found.caption(cell) + ("" if limit == 1 else f" (colours up to ±{number(limit)})")
    text = tag(
        "pre", _colored(symbols, values / limit, letters), tabindex=0, role="region", aria_label=found.unit(cell)
    )
    look = "cell" if letters else "cell words"
    return tag("details", tag("summary", caption), text, id=f"c{cell}", class_=look, open=opened)


def _colored(symbols: Sequence[str], values: Array, letters: bool) -> list[Markup]:
    """The text, each run of places of one colour an element."""
    shades = np.rint((np.clip(values, -1, 1) + 1) / 2 * (_SHADES - 1)).astype(int).tolist()
    made: list[Markup] = []
    if not letters:
        for symbol, shade in zip(symbols, shades, strict=True):
            made += [tag("span", symbol.strip() or "·", class_=f"k{shade}"), Markup(" ")]
        return made
    for shade, run in groupby(zip(symbols, shades, strict=True), key=lambda pair: pair[1]):
        parts = [Markup("↵\n") if symbol == "\n" else escaped(symbol) for symbol, _ in run]
        made.append(tag("span", parts, class_=f"k{shade}"))
    return made


def _gates(found: CellsResult) -> Markup:
    figures = []
    for run in found.runs:
        for gate, (low, high) in run.shares().items():
            figures.append(_scatter(f"{run.layer.label}.{gate}", low, high))
    if not figures:
        return tag("section", tag("h2", "Gates"), tag("p", "The layers have no gates."), id="gates")
    text = (
        f"Each dot is a cell: the share of places at which its gate is below {LOW} (left-saturated), and above {HIGH} "
        "(right-saturated). On the diagonal a gate is always one or the other."
    )
    return tag(
        "section", tag("h2", "Saturation of gates"), tag("p", text), tag("div", figures, class_="scatters"), id="gates"
    )


def _scatter(name: str, low: Array, high: Array) -> Markup:
    right, bottom = _EDGE + _SIDE, _SIDE + 8
    parts = [
        tag("line", x1=_EDGE, x2=right, y1=bottom, y2=bottom, class_="axis"),
        tag("line", x1=_EDGE, x2=_EDGE, y1=8, y2=bottom, class_="axis"),
        tag("line", x1=_EDGE, x2=right, y1=8, y2=bottom, class_="grid"),
    ]
    for value in (0.0, 0.5, 1.0):
        x, y = _EDGE + _SIDE * value, bottom - _SIDE * value
        parts.append(tag("text", number(value), x=f"{x:.0f}", y=bottom + 15, text_anchor="middle"))
        parts.append(tag("text", number(value), x=_EDGE - 5, y=f"{y + 4:.0f}", text_anchor="end"))
    for cell, (a, b) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        told = tag("title", f"cell {cell}: left {a:.2f}, right {b:.2f}")
        parts.append(tag("circle", told, cx=f"{_EDGE + _SIDE * a:.1f}", cy=f"{bottom - _SIDE * b:.1f}", r=3.5))
    parts.append(tag("text", "left-saturated", x=_EDGE + _SIDE // 2, y=bottom + 32, text_anchor="middle"))
    words = f"on the mean left {number(float(low.mean()))}, right {number(float(high.mean()))}"
    label = f"{name}: shares of places at which cells are left- and right-saturated, {words}"
    drawn = tag("svg", parts, viewBox=f"0 0 {right + 10} {bottom + 38}", role="img", aria_label=label, class_="scatter")
    return tag("figure", tag("figcaption", tag("strong", name), f" right-saturated; {words}"), drawn)


def _about(found: CellsResult) -> Markup:
    facts = {key: _text(value) for key, value in found.provenance.items()}
    facts |= {f"note {n}" if n > 1 else "note": text for n, (text, _) in enumerate(found.notes, 1)}
    facts["Cells"] = "of an LSTM tanh c, the value behind the output gate; of GRU and RNN the hidden state"
    facts["Source"] = "Karpathy, Johnson, Fei-Fei 2015, Visualizing and understanding recurrent networks"
    rows = [tag("div", tag("dt", key), tag("dd", text)) for key, text in facts.items()]
    return tag("section", tag("h2", "How it was made"), tag("dl", rows), id="about")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
