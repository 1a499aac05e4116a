"""Section of `evaluate`: a table of methods and metrics with intervals, and curves."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.curves import curves
from ..evaluation.results import ARROWS, Cell, Evaluation
from ..pages.markup import Markup, number, tag
from . import chart, plot
from .read import ReportData, model_of

_WIDTH, _HEIGHT = 96, 14  # of a cell's interval


def methods(report: ReportData) -> Markup | None:
    """Return the table and the curves of each evaluation."""
    if not report.evaluations:
        return None
    parts: list[Markup | None] = [tag("h2", "Evaluation of methods", id="methods")]
    for found in report.evaluations:
        parts += _evaluation(found)
    return tag("section", parts, aria_labelledby="methods")


def _evaluation(found: Evaluation) -> list[Markup | None]:
    names = list(dict.fromkeys(cell.method for cell in found.cells))
    numbers = {name: n for n, name in enumerate(names)}
    words = (
        "Mean over the samples with its 95 % interval, on one scale for each column. Arrows point to the better side; "
        "the best mean is bold, and may be chance where intervals overlap."
    )
    figures = [plot.plot(title, lines, numbers) for title, lines in curves(found).items()]
    legend = [tag("li", plot.swatch(n), name) for name, n in numbers.items()]
    return [
        _table(found, names),
        tag("p", words, class_="quiet"),
        _notes(found),
        tag("ul", legend, class_="key") if figures else None,
        tag("div", figures, class_="plots") if figures else None,
    ]


def _table(found: Evaluation, names: Sequence[str]) -> Markup:
    metrics = list(dict.fromkeys((cell.metric, cell.better) for cell in found.cells))
    head = [tag("th", "method", scope="col")]
    head += [tag("th", f"{name} ", tag("span", ARROWS[better], title=f"{better} is better"), scope="col", class_="n")
             for name, better in metrics]  # fmt: skip
    columns = {name: [c for c in found.cells if c.metric == name] for name, _ in metrics}
    rows = []
    for n, method in enumerate(names):
        cells = []
        for metric, _ in metrics:
            cell = next((c for c in columns[metric] if c.method == method), None)
            cells.append(_cell(cell, columns[metric], n))
        rows.append(tag("tr", tag("th", plot.swatch(n), method, scope="row"), cells))
    model, samples = model_of(found.about)[0], len(found.about["samples"]["names"])
    caption = f"{model}, {samples} sample{'s' * (samples != 1)}"
    table = tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", rows), class_="judged")
    return chart.scrolled(table, f"Evaluation of methods on {caption}")


def _cell(cell: Cell | None, column: Sequence[Cell], n: int) -> Markup:
    if cell is None or cell.mean is None:
        return tag("td", "refused" if cell is not None and cell.refused else "–", class_="n quiet")
    means = [c.mean for c in column if c.mean is not None]
    best = cell.mean == (max(means) if cell.better == "higher" else min(means))
    mean = tag("strong", number(cell.mean)) if best and len(means) > 1 else number(cell.mean)
    interval = f"{number(cell.low)} to {number(cell.high)}"
    return tag("td", tag("div", mean), _bar(cell, column, n), tag("div", interval, class_="interval"), class_="n")


def _bar(cell: Cell, column: Sequence[Cell], n: int) -> Markup:
    """Draw the interval on the scale of the column."""
    bounds = [bound for c in column for bound in (c.low, c.high) if bound is not None]
    low, high = min(bounds), max(bounds)

    def at(value: float | None) -> str:
        share = 0.5 if high == low or value is None else (value - low) / (high - low)
        return f"{4 + share * (_WIDTH - 8):.1f}"

    middle = _HEIGHT / 2
    parts = [
        tag("line", x1=4, x2=_WIDTH - 4, y1=middle, y2=middle, class_="grid"),
        tag("line", x1=at(cell.low), x2=at(cell.high), y1=middle, y2=middle, stroke=plot.color(n), stroke_width=3),
        tag("circle", cx=at(cell.mean), cy=middle, r=4, fill=plot.color(n)),
    ]
    return tag("svg", parts, width=_WIDTH, height=_HEIGHT, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", aria_hidden="true")


def _notes(found: Evaluation) -> Markup | None:
    """List why cells have no number, each reason once."""
    notes = [tag("li", f"{note.replace(chr(10), ': ')} ({where})") for note, where in found.notes().items()]
    return tag("ul", notes, class_="quiet") if notes else None
