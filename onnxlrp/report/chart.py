"""Bar charts of a number by layer, and the ledger as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..pages.markup import Markup, number, tag
from .read import COLUMNS, HeatmapLedgerRow

_ROW, _LABEL, _BARS, _VALUE = 18, 250, 620, 90
_LETTERS = 34  # shown of a layer's name: its end, which tells more


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    Attributes:
        layer: The layer.
        value: Its number.
        tooltip: Text shown under the pointer.
        look: The class of the bar in the style sheet.
    """

    layer: str
    value: float | None
    tooltip: str
    look: str


def sums(rows: Sequence[HeatmapLedgerRow], name: str) -> Markup:
    """Chart the relevance that arrived at the result of each layer, from the output down."""
    arrived = [(row, row.numbers.get("arrived")) for row in rows]
    made = [
        Bar(
            row.layer,
            total,
            f"{row.layer} ({row.op}, {row.rule}): {number(total)}",
            "minus" if (total or 0) < 0 else "plus",
        )
        for row, total in arrived
    ]
    return bars(made, f"ΣR by layer, {name}; the table below has the numbers")


def bars(rows: Sequence[Bar], name: str) -> Markup:
    """Draw a bar for each layer: to the right of the line for positive numbers, to the left for negative ones."""
    values = [_finite(bar.value) for bar in rows]
    most, least = max([*values, 0.0]), min([*values, 0.0])
    span = (most - least) or 1.0
    zero = _LABEL + _BARS * -least / span
    height = _ROW * len(rows) + 6
    parts: list[Markup] = []
    for n, (bar, value) in enumerate(zip(rows, values, strict=True)):
        y = 3 + n * _ROW
        width = _BARS * abs(value) / span
        x = zero - width if value < 0 else zero
        text = bar.layer if len(bar.layer) <= _LETTERS else "…" + bar.layer[1 - _LETTERS :]
        parts.append(
            tag(
                "g",
                tag("title", bar.tooltip),
                tag("text", text, x=_LABEL - 8, y=y + 13, text_anchor="end"),
                tag("rect", x=_at(x), y=y + 2, width=_at(max(width, 0.5)), height=_ROW - 5, class_=bar.look),
                tag("text", number(bar.value), x=_LABEL + _BARS + 8, y=y + 13),
            )
        )
    line = tag("line", x1=_at(zero), x2=_at(zero), y1=0, y2=height, class_="zero")
    width = _LABEL + _BARS + _VALUE
    return tag("svg", parts, line, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img",
               aria_label=name, class_="bars")  # fmt: skip


def table(rows: Sequence[HeatmapLedgerRow], name: str) -> Markup:
    """Tabulate the ledger: for every layer the relevance that arrived, was passed on, and was absorbed."""
    columns = [c for c in COLUMNS if any(c in row.numbers for row in rows)]
    head = tag(
        "tr",
        [tag("th", c, scope="col", class_="n" if c in columns else None) for c in ("layer", "op", "rule", *columns)],
    )
    lines = []
    for row in rows:
        # A rule that does not conserve has sums but no balance.
        kept = columns if row.conserves else columns[:2]
        cells = [tag("td", number(row.numbers.get(c)) if c in kept else "–", class_="n") for c in columns]
        lines.append(tag("tr", tag("th", row.layer, scope="row"), tag("td", row.op), tag("td", row.rule), cells))
    sinks = [c for c in columns if c not in ("arrived", "passed", "others", "residual")]
    caption = tag("caption", f"Ledger of {name}: arrived = passed + {' + '.join(sinks)} + residual")
    return scrolled(tag("table", caption, tag("thead", head), tag("tbody", lines)), f"Ledger of {name}")


def scrolled(content: Markup, name: str) -> Markup:
    """Wrap content so that it scrolls, by keyboard too."""
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=name)


def _at(place: float) -> str:
    return f"{place:.1f}"


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
