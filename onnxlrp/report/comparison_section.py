"""Section of `compare`: the agreement of two models, the first layer that diverges, and the worst pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..comparison import side_by_side, verdict
from ..comparison.divergence import Divergence
from ..comparison.worst_samples import WorstSample
from ..errors import CheckFailed
from ..pages import pictures as drawn
from ..pages.markup import Markup, number, tag
from ..pictures.colors import limit
from ..pictures.style import Style
from . import chart
from .read import ReportData, SavedComparison, model_of

_ROWS = 100  # samples in the table, the worst first


def comparisons(report: ReportData, side: int) -> Markup | None:
    """Return the numbers, the layers and the pictures of each comparison."""
    if not report.comparisons:
        return None
    parts: list[Markup | None] = [tag("h2", "Comparison of two models", id="compared")]
    for n, one in enumerate(report.comparisons):
        parts += _comparison(one, side, n)
    return tag("section", parts, aria_labelledby="compared")


def _comparison(one: SavedComparison, side: int, n: int) -> list[Markup | None]:
    result = one.result
    a, b = (model_of(result[side])[0] for side in "ab")
    target = f"Both explain the class that is explained of A, by {result.get('method', 'relevance')}."
    return [
        tag("p", tag("strong", "A"), f" {a}, ", tag("strong", "B"), f" {b}. {target}"),
        tag("dl", _agreement(result), class_="facts"),
        _layers(verdict.divergence(result), f"{a} and {b}"),
        _worst(one.worst, (a, b), side, n),
        _samples(result, f"{a} and {b}"),
    ]


def _agreement(result: Mapping[str, Any]) -> list[Markup]:
    """List each measure with its mean and its worst sample."""
    rows = result["samples"]
    same = sum(row["top1"][0] == row["top1"][1] for row in rows)
    made = [_fact("same best class", f"{same} of {len(rows)}", "")]
    for name in (*result["metrics"], "logits"):
        found = [(row[name], row["name"]) for row in rows if row[name] is not None]
        if not found:
            made.append(_fact(name, "–", "no sample has a value"))
            continue
        worst = (min if name in verdict.HIGHER else max)(found, key=lambda pair: pair[0])
        mean = float(np.mean([value for value, _ in found]))
        made.append(_fact(name, number(mean), f"worst {number(worst[0])}: {worst[1]}"))
    return made


def _fact(name: str, value: str, more: str) -> Markup:
    meaning = verdict.WORDS.get(name)
    return tag("div", tag("dt", name), tag("dd", tag("strong", value), tag("div", more)), title=meaning)


def _layers(found: Divergence, name: str) -> Markup | None:
    """Chart the drift of every layer, the first that diverges marked."""
    if not found.rows:
        return tag("p", "The models have no layer in common that can be read.", class_="quiet")
    first, before = found.first, found.before
    if first is None:
        words: list[object] = [
            f"None of {len(found.rows)} layers diverges by more than {number(found.floor)} (relative L2)."
        ]
    else:
        words = [
            "The first layer that diverges is ",
            tag("strong", first.layer),
            f": relative L2 {number(first.drift)}",
        ]
        words.append(
            f", {number(before.drift)} in the layer before ({before.layer})." if before else ", already at the input."
        )
        if found.steepest is not None and found.steepest[0] != first:
            words.append(f" The largest rise is at {found.steepest[0].layer}, to {number(found.steepest[0].drift)}.")
    bars = [
        chart.Bar(row.layer, row.drift, f"{row.layer}: {number(row.drift)}", "first" if row is first else "drift")
        for row in found.rows
    ]
    picture = chart.scrolled(chart.bars(bars, f"Drift by layer, {name}"), f"Drift by layer of {name}")
    return tag("div", tag("h3", "Divergence by layer"), tag("p", words), picture)


def _worst(kept: Sequence[WorstSample], names: tuple[str, str], side: int, n: int) -> Markup | None:
    if not kept:
        return None
    parts: list[Markup | None] = [tag("h3", "The worst pictures")]
    if any(one.views[0] is not None for one in kept):
        parts.append(drawn.slider(f"worst-{n}"))
    for one in kept:
        row = one.row
        best = " · ".join(f"{which}: {label}" for which, label in zip("AB", row["top1_labels"], strict=True))
        parts.append(tag("h4", tag("strong", row["name"]), f" {best} · explained: {row['label']}"))
        figures = [_figure(one, i, names[i], side) for i in range(2)]
        view = one.views[0]
        if view is not None:
            photo = drawn.photo(np.asarray(view.convert("RGB")), side)
            alt = f"{row['name']} as A sees it"
            seen = tag("img", src=photo, alt=alt, class_=drawn.grain(one.maps[0].shape))
            figures.insert(0, tag("figure", tag("div", seen, class_="stack"), tag("figcaption", "as A sees it")))
        parts.append(tag("div", figures, class_="row"))
    return tag("div", parts, class_="picture")


def _figure(one: WorstSample, i: int, name: str, side: int) -> Markup:
    which, values, view = "AB"[i], one.maps[i], one.views[i]
    alt = f"Heatmap of {one.row['name']} for {one.row['label']} by {which}"
    caption = tag("figcaption", tag("div", tag("strong", which), f" {name}"))
    try:
        v = limit(values)
    except CheckFailed as error:
        return tag("figure", tag("div", error.message, class_="none"), caption)
    whole = side_by_side.figure_of_kind(one, i, Style(drawn.CMAP))
    if whole is not None:
        return tag("figure", tag("img", src=drawn.drawing(whole, side), alt=alt), caption, class_="wide")
    if 1 in values.shape:
        return tag("figure", tag("img", src=drawn.signal(values.reshape(-1)), alt=alt), caption, class_="wide")
    below = None if view is None else drawn.photo(np.asarray(view.convert("RGB")), side)
    caption = tag("figcaption", tag("div", tag("strong", which), f" {name}"), tag("div", f"v = {number(v)}"))
    return tag("figure", drawn.stack(values, v, below, side, alt), caption)


def _samples(result: Mapping[str, Any], name: str) -> Markup:
    """Tabulate the samples, those first whose classes or heatmaps differ most."""
    measures = [*result["metrics"], "logits"]
    first = measures[0]

    def order(row: Mapping[str, Any]) -> tuple[bool, float]:
        value = row[first]
        if value is None:
            return row["top1"][0] == row["top1"][1], -np.inf
        return row["top1"][0] == row["top1"][1], value if first in verdict.HIGHER else -value

    rows = sorted(result["samples"], key=order)
    head = [tag("th", word, scope="col") for word in ("sample", "A's best", "B's best")]
    head += [tag("th", word, scope="col", class_="n") for word in measures]
    body = [
        tag(
            "tr",
            tag("th", row["name"], scope="row"),
            [tag("td", label, class_="other" if row["top1"][0] != row["top1"][1] else None)
             for label in row["top1_labels"]],
            [tag("td", number(row[measure]), class_="n") for measure in measures],
        )
        for row in rows[:_ROWS]
    ]  # fmt: skip
    caption = f"{len(rows)} samples, different classes first, then by {first}" + (
        f"; the first {_ROWS}, the JSON file has the rest" if len(rows) > _ROWS else ""
    )
    table = tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body))
    summary = tag("summary", f"All samples ({len(rows)})")
    return tag("details", summary, chart.scrolled(table, f"Samples of {name}"), open=len(rows) <= 12)
