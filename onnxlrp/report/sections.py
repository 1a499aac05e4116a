"""Sections of the page: header, checks, heatmaps, provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import CheckFailed
from ..findings.finding import Finding, Findings
from ..pages import pictures as drawn
from ..pages.markup import Markup, escaped, number, tag
from ..pictures.colors import colormap, limit
from . import chart
from .read import Heatmap, ReportData, model_of

_TITLES = {"checks": "Checks", "compared": "Comparison", "methods": "Evaluation", "pictures": "Heatmaps"}
_MARKS = {"passed": "✓", "failed": "✕", "skipped": "–"}


def models(report: ReportData) -> list[tuple[str, str]]:
    """List names and hashes of the models, each once."""
    origins = [*(one.provenance for one in report.maps), *(found.about for found in report.evaluations)]
    origins += [one.result[side] for one in report.comparisons for side in "ab"]
    # Of a comparison's findings too: its two models have hashes of their own.
    origins += [side for found in report.findings for side in _sides(found.about)]
    return list(dict.fromkeys(map(model_of, origins)))


def _sides(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    two = [about.get(side) for side in "ab"]
    return [side for side in two if isinstance(side, Mapping)] if all(isinstance(s, Mapping) for s in two) else [about]


def header(report: ReportData) -> Markup:
    """Show the models, their hashes, and the verdict of the checks."""
    shown = [tag("p", tag("strong", name), " sha256 ", tag("code", sha or "unknown")) for name, sha in models(report)]
    there = {
        "checks": report.findings,
        "compared": report.comparisons,
        "methods": report.evaluations,
        "pictures": report.maps,
    }
    links = [(f"#{name}", _TITLES[name]) for name, found in there.items() if found]
    nav = tag("nav", [tag("a", text, href=href) for href, text in [*links, ("#provenance", "Provenance")]],
              aria_label="Sections")  # fmt: skip
    checked = _verdict(report.findings) if report.findings or report.maps else None
    return tag("header", tag("h1", "Explanation report"), shown, checked, nav)


def _verdict(runs: Sequence[Findings]) -> Markup:
    if not runs:
        return tag("p", tag("strong", "No checks were run."), " To run them: onnxlrp check.", class_="verdict skipped")
    failed = sum(finding.fails for found in runs for finding in found.findings)
    counts = ", ".join(f"{sum(found.count(s) for found in runs)} {s}" for s in _MARKS)
    status = "failed" if failed else "passed"
    words = f"{failed} check{'s' * (failed > 1)} failed" if failed else "No check of severity error failed"
    return tag("p", _mark(status), tag("strong", f"{words}."), f" In total: {counts}.", class_=f"verdict {status}")


def checks(report: ReportData) -> Markup | None:
    """Tabulate the findings of each run, failed ones first."""
    if not report.findings:
        return None
    order = ("failed", "passed", "skipped")
    parts = [tag("h2", "Checks", id="checks")]
    for n, found in enumerate(report.findings):
        rows = sorted(found.findings, key=lambda finding: order.index(finding.status))
        name = f"Checks of {found.about.get('model', 'the model')}" + (
            f" ({n + 1})" if len(report.findings) > 1 else ""
        )
        words = ("status", "check", "subject", "finding", "value", "limit")
        head = tag(
            "thead",
            tag("tr", [tag("th", word, scope="col", class_="n" if word in words[4:] else None) for word in words]),
        )
        body = tag("tbody", [_finding(finding) for finding in rows])
        parts.append(chart.scrolled(tag("table", tag("caption", name), head, body), name))
    return tag("section", parts, aria_labelledby="checks")


def _finding(finding: Finding) -> Markup:
    weight = "" if finding.status != "failed" or finding.severity == "error" else f" ({finding.severity})"
    fix = [tag("div", tag("strong", "Fix: "), finding.fix, class_="fix")] if finding.fix else []
    return tag(
        "tr",
        tag("td", _mark(finding.status), finding.status + weight, class_=f"status {finding.status}"),
        tag("th", finding.check, scope="row"),
        tag("td", finding.subject),
        tag("td", finding.message, fix),
        tag("td", "" if finding.value is None else number(finding.value), class_="n"),
        tag("td", "" if finding.limit is None else number(finding.limit), class_="n"),
    )


def _mark(status: str) -> Markup:
    return tag("span", _MARKS[status], class_=f"mark {status}", aria_hidden="true")


def pictures(report: ReportData, side: int, ledgers: int | None) -> Markup | None:
    """Show each picture with its heatmaps: a row for each class explained, the methods side by side."""
    if not report.maps:
        return None
    groups: dict[tuple[str, bytes], list[Heatmap]] = {}
    for one in report.maps:
        seen = b"" if one.image is None else one.image.tobytes()
        groups.setdefault((one.sample, seen), []).append(one)
    several = len({one.model for one in report.maps}) > 1
    kept = {id(one) for one in [one for one in report.maps if one.rows][:ledgers]}
    parts: list[Markup | None] = [tag("h2", "Heatmaps", id="pictures"), _legend()]
    if len(groups) > 1:
        links = [tag("li", tag("a", name, href=f"#picture-{n}")) for n, (name, _) in enumerate(groups)]
        parts.append(tag("nav", tag("ul", links), aria_label="Pictures", class_="list"))
    if ledgers is not None and len(kept) < sum(bool(one.rows) for one in report.maps):
        parts.append(tag("p", f"The ledgers of the first {ledgers} heatmaps are shown; the JSON files have the rest."))
    for n, ((name, _), maps) in enumerate(groups.items()):
        parts.append(_picture(n, name, maps, side, several, kept))
    return tag("section", parts, aria_labelledby="pictures")


def _legend() -> Markup:
    words = (
        "Red is evidence for the class, blue against it. Methods have different units: v is given below each heatmap."
    )
    table = colormap(drawn.CMAP)
    colors = [(i / 256, "#" + bytes(table[i]).hex()) for i in range(0, 257, 32)]
    stops = [tag("stop", offset=f"{at:.4f}", stop_color=color) for at, color in colors]
    bar = [
        tag("defs", tag("linearGradient", stops, id="colours")),
        tag("rect", width=160, height=12, fill="url(#colours)"),
    ]
    scale = tag("svg", bar, width=160, height=12, viewBox="0 0 160 12", aria_hidden="true")
    return tag("p", "−v ", scale, " +v. ", words, class_="legend")


def _picture(n: int, name: str, maps: Sequence[Heatmap], side: int, several: bool, kept: set[int]) -> Markup:
    fades = any(one.values is not None and one.values.ndim == 2 and one.image is not None for one in maps)
    parts = [tag("h3", name, id=f"picture-{n}")]
    parts += [tag("p", f"Best classes: {best}") for best in dict.fromkeys(one.top for one in maps) if best]
    photo = None if maps[0].image is None else drawn.photo(maps[0].image, side)  # all have the same
    if fades:
        parts.append(drawn.slider(str(n)))
    for target in dict.fromkeys((one.target, one.label) for one in maps):
        ones = [one for one in maps if (one.target, one.label) == target]
        first = ones[0]
        heading = [tag("strong", first.label), f" (class {first.target}), score {number(first.logit)}"]
        parts.append(tag("h4", heading))
        figures = [] if photo is None else [_original(first, photo)]
        figures += [_figure(one, photo, side, several) for one in ones]
        parts.append(tag("div", figures, class_="row"))
        opened = n == 0 and target == (maps[0].target, maps[0].label)
        parts += [_ledger(one, several, opened and one is first) for one in ones if id(one) in kept]
    if not any(one.rows for one in maps):
        parts.append(tag("p", "No ledger was kept; onnxlrp explain --ledger keeps one.", class_="quiet"))
    return tag("section", parts, class_="picture", aria_labelledby=f"picture-{n}")


def _name(one: Heatmap, several: bool) -> str:
    name, sha = one.model
    return f"{one.method} · {name} {sha[:8]}" if several else one.method


def _original(one: Heatmap, photo: Markup) -> Markup:
    picture = tag("img", src=photo, alt=f"{one.sample} as the model sees it", class_=_grain(one))
    return tag("figure", tag("div", picture, class_="stack"), tag("figcaption", "as the model sees it"))


def _figure(one: Heatmap, photo: Markup | None, side: int, several: bool) -> Markup:
    name = _name(one, several)
    alt = f"Heatmap of {one.sample} for {one.label} by {name}"
    stack, span = _stack(one, photo, side, alt)
    notes = ", ".join(
        f"{key} {number(v) if isinstance(v, float) else v}" for key, v in one.notes.items() if key != "interactions"
    )
    lines = [tag("strong", name), f"ΣR {number(one.total)} of score {number(one.logit)}", span, notes]
    return tag("figure", stack, tag("figcaption", [tag("div", line) for line in lines if line]),
               class_=None if one.values is not None and one.values.ndim == 2 else "wide")  # fmt: skip


def _stack(one: Heatmap, photo: Markup | None, side: int, alt: str) -> tuple[Markup, str]:
    """Return the heatmap over its picture, and the limit of its colours in words."""
    if one.values is None:
        if one.figure is None:
            words = "No picture: save the relevance too, by onnxlrp explain --format json,npz"
            return tag("div", words, class_="none"), ""
        return tag("img", src=drawn.figure(one.figure, side), alt=alt), ""
    try:
        v = limit(one.values)
    except CheckFailed as error:
        return tag("div", error.message, class_="none"), ""
    if one.values.ndim == 1:
        return tag("img", src=drawn.signal(one.values), alt=alt), ""
    return drawn.stack(one.values, v, photo, side, alt), f"v = {number(v)}"


def _grain(one: Heatmap) -> str:
    return drawn.grain(one.values.shape if one.values is not None and one.values.ndim == 2 else (512,))


def _ledger(one: Heatmap, several: bool, opened: bool) -> Markup:
    name = f"{one.sample}, {one.label}, {_name(one, several)}"
    summary = tag("summary", f"{_name(one, several)}: ΣR by layer and the ledger ({len(one.rows)} rows)")
    plot = chart.scrolled(chart.sums(one.rows, name), f"ΣR by layer of {name}")
    return tag("details", summary, plot, chart.table(one.rows, name), open=opened)


def provenance(report: ReportData) -> Markup:
    """List model, versions and options of heatmaps and findings, equal ones once."""
    blocks: dict[str, Markup] = {}
    for one in report.maps:
        blocks.setdefault(json.dumps(one.provenance, sort_keys=True, default=str), _origin(one.method, one.provenance))
    others = [("checks", found.about) for found in report.findings]
    others += [("evaluation", found.about) for found in report.evaluations]
    for two in report.comparisons:
        others.append(("comparison", {k: v for k, v in two.result.items() if k not in ("samples", "layers")}))
    for title, about in others:
        blocks.setdefault(json.dumps(about, sort_keys=True, default=str), _origin(title, about))
    return tag("section", tag("h2", "Provenance", id="provenance"), list(blocks.values()), aria_labelledby="provenance")


def _origin(title: str, about: object) -> Markup:
    items = about.items() if hasattr(about, "items") else ()
    rows = [tag("div", tag("dt", key), tag("dd", _text(value))) for key, value in items]
    return tag("details", tag("summary", f"Provenance: {title}"), tag("dl", rows))


def _text(value: object) -> Markup:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return escaped(text)
