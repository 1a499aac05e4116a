"""Curves of an evaluation as SVG: a line for each method over the band of its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..evaluation.curves import COLORS, ranges, round_numbers
from ..evaluation.results import Line
from ..pages.markup import Markup, number, tag

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 440, 230, 52, 10, 44, 14


def color(n: int) -> str:
    """Return the colour of the n-th method."""
    return "#" + bytes(COLORS[n % len(COLORS)]).hex()


def dashes(n: int) -> str | None:
    """Return the dash pattern of the n-th method, None for a solid line: where colours repeat, lines are dashed."""
    return "6 4" if n // len(COLORS) % 2 else None


def swatch(n: int) -> Markup:
    """Draw the line of the n-th method, for a legend."""
    line = tag("line", x1=1, x2=27, y1=6, y2=6, stroke=color(n), stroke_dasharray=dashes(n), stroke_width=3)
    return tag("svg", line, width=28, height=12, viewBox="0 0 28 12", aria_hidden="true", class_="swatch")


def plot(title: str, lines: Mapping[str, Line], numbers: Mapping[str, int]) -> Markup:
    """Draw one curve of each method.

    Args:
        title: The title.
        lines: The curve of each method, by its name.
        numbers: The number of each method on the page, which gives its colour.
    """
    first = next(iter(lines.values()))
    spans = ranges(list(lines.values()))
    parts = [*_axes(first, spans)]
    for name, line in lines.items():
        edge = [*zip(line.x, line.high, strict=True), *reversed([*zip(line.x, line.low, strict=True)])]
        parts.append(tag("polygon", points=_points(edge, spans), fill=color(numbers[name]), class_="band"))
    for name, line in lines.items():
        way = _points([*zip(line.x, line.mean, strict=True)], spans)
        stroke = {"stroke": color(numbers[name]), "stroke_dasharray": dashes(numbers[name])}
        parts.append(tag("polyline", tag("title", name), points=way, class_="curve", **stroke))
    label = f"{title}: {first.across} by {first.along}"
    picture = tag("svg", parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label, class_="plot")
    steps = tag("ol", [tag("li", tick) for tick in first.ticks]) if first.ticks else None
    return tag("figure", tag("figcaption", tag("strong", title), f" {first.across}"), picture, steps)


Span = tuple[float, float]


def _axes(line: Line, spans: tuple[Span, Span]) -> list[Markup]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value in round_numbers(*spans[1]):
        y = _at((spans[0][0], value), spans)[1]
        parts += [
            tag("line", x1=_LEFT, x2=right, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"),
            tag("text", number(value), x=_LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end"),
        ]
    for n, value in enumerate(line.x if line.ticks else round_numbers(*spans[0])):
        x = _at((value, spans[1][0]), spans)[0]
        tick = str(n + 1) if line.ticks else number(value)
        parts.append(tag("text", tick, x=f"{x:.1f}", y=bottom + 17, text_anchor="middle"))
    parts.append(tag("line", x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
    parts.append(tag("text", line.along, x=(_LEFT + right) // 2, y=_HEIGHT - 6, text_anchor="middle", class_="along"))
    return parts


def _points(pairs: Sequence[tuple[float, float]], spans: tuple[Span, Span]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in (_at(pair, spans) for pair in pairs))


def _at(pair: tuple[float, float], spans: tuple[Span, Span]) -> tuple[float, float]:
    (x0, x1), (y0, y1) = spans
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    return _LEFT + (pair[0] - x0) / (x1 - x0) * (right - _LEFT), bottom - (pair[1] - y0) / (y1 - y0) * (bottom - _TOP)
