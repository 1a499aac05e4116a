"""Findings as Markdown for a job summary, at most 900 KiB of the 1 MiB that it holds."""

from __future__ import annotations

import re

from ...errors import printable
from ..finding import Finding, Findings
from .groups import Group, groups, number, status, verdict

LIMIT = 900 * 1024  # bytes
_ROW = 1_000  # characters of a cell
_MARKS = {"ok": "✅", "FAILED": "❌", "WARNING": "⚠️", "NOTE": "ℹ️", "skipped": "⏭️"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&])")


def text(findings: Findings) -> str:
    """Format the verdict, a table of checks, and a table of failed subjects in as many rows as fit."""
    about = findings.about
    facts = [f"{name} {_cell(str(about[name])[:200])}" for name in ("model", "method", "engine") if about.get(name)]
    head = [f"## onnxlrp check: {_cell(verdict(findings))}", "", " · ".join(facts), ""]
    head += ["| | check | passed | failed | skipped | worst |", "| --- | --- | --- | --- | --- | --- |"]
    head += [_summary(group) for group in groups(findings)]
    failed = [finding for finding in findings.findings if finding.status == "failed"]
    if failed:
        head += ["", "### Failed", "", "| | check | subject | value | limit | finding | fix |"]
        head += ["| --- | --- | --- | --- | --- | --- | --- |"]
    rows = [_row(finding) for finding in sorted(failed, key=lambda f: not f.fails)]
    return _fitting("\n".join(head) + "\n", rows)


def _fitting(head: str, rows: list[str]) -> str:
    room, kept = LIMIT - len(head.encode()) - 200, []
    for row in rows:
        room -= len(row.encode()) + 1
        if room < 0:
            break
        kept.append(row)
    left = len(rows) - len(kept)
    more = [f"\n{left} more failed subjects are left out; the JSON has all."] if left else []
    return head + "\n".join([*kept, *more]) + ("\n" if kept or more else "")


def _summary(group: Group) -> str:
    counts = [len(group.with_status(name)) for name in ("passed", "failed", "skipped")]
    worst = group.worst
    message = worst.message if worst.status != "passed" or worst.value is not None else ""
    return _line(_MARKS[status(worst)], group.check, *map(str, counts), message)


def _row(finding: Finding) -> str:
    limits = number(finding.value), number(finding.limit)
    mark = _MARKS[status(finding)]
    return _line(mark, finding.check, finding.subject, *limits, finding.message, finding.fix)


def _line(mark: str, *cells: str) -> str:
    return f"| {mark} | " + " | ".join(map(_cell, cells)) + " |"


def _cell(words: str) -> str:
    """Escape markup, join lines, and cut to a bounded length."""
    plain = printable(" ".join(words.split()))
    plain = plain if len(plain) <= _ROW else plain[: _ROW - 1] + "…"
    return _SPECIAL.sub(r"\\\1", plain)
