"""A number by layer as a picture, and the ledger as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Markup, number, tag
from .read import COLUMNS, LedgerRow

_ROW, _LABEL, _BARS, _VALUE = 18, 250, 620, 90
_LETTERS = 34  # of a layer's name, its end, which tells more


@dataclass(frozen=True)
class Bar:
    """A layer with its number; `said` is shown where the pointer rests, `look` is its class in the style sheet."""

    layer: str
    value: float | None
    said: str
    look: str


def sums(rows: Sequence[LedgerRow], name: str) -> Markup:
    """What relevance arrived at the result of each layer, from the output down."""
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


def bars(of: Sequence[Bar], name: str) -> Markup:
    """A bar for each layer: to the right of the line its number is positive, to the left negative."""
    values = [_finite(bar.value) for bar in of]
    most, least = max([*values, 0.0]), min([*values, 0.0])
    span = (most - least) or 1.0
    zero = _LABEL + _BARS * -least / span
    height = _ROW * len(of) + 6
    parts: list[Markup] = []
    for n, (bar, value) in enumerate(zip(of, values, strict=True)):
        y = 3 + n * _ROW
        width = _BARS * abs(value) / span
        x = zero - width if value < 0 else zero
        text = bar.layer if len(bar.layer) <= _LETTERS else "…" + bar.layer[1 - _LETTERS :]
        parts.append(
            tag(
                "g",
                tag("title", bar.said),
                tag("text", text, x=_LABEL - 8, y=y + 13, text_anchor="end"),
                tag("rect", x=_at(x), y=y + 2, width=_at(max(width, 0.5)), height=_ROW - 5, class_=bar.look),
                tag("text", number(bar.value), x=_LABEL + _BARS + 8, y=y + 13),
            )
        )
    line = tag("line", x1=_at(zero), x2=_at(zero), y1=0, y2=height, class_="zero")
    width = _LABEL + _BARS + _VALUE
    return tag("svg", parts, line, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img",
               aria_label=name, class_="bars")  # fmt: skip


def table(rows: Sequence[LedgerRow], name: str) -> Markup:
    """The ledger: of every layer what arrived, what was passed on, and where the rest stayed."""
    columns = [c for c in COLUMNS if any(c in row.numbers for row in rows)]
    head = tag(
        "tr",
        [tag("th", c, scope="col", class_="n" if c in columns else None) for c in ("layer", "op", "rule", *columns)],
    )
    lines = []
    for row in rows:
        # A rule that does not conserve has no balance, only sums.
        kept = columns if row.conserves else columns[:2]
        cells = [tag("td", number(row.numbers.get(c)) if c in kept else "–", class_="n") for c in columns]
        lines.append(tag("tr", tag("th", row.layer, scope="row"), tag("td", row.op), tag("td", row.rule), cells))
    caption = tag("caption", f"Ledger of {name}: arrived = passed + bias + epsilon + gate + residual")
    return scrolled(tag("table", caption, tag("thead", head), tag("tbody", lines)), f"Ledger of {name}")


def scrolled(content: Markup, name: str) -> Markup:
    """Content that scrolls by keyboard too."""
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=name)


def _at(place: float) -> str:
    return f"{place:.1f}"


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
