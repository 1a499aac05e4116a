"""Findings as a table for a terminal: a line for each check, and one for each failed subject."""

from __future__ import annotations

from ...errors import printable
from ..finding import Finding, Findings
from .groups import Group, groups, number, status, verdict

_SHOWN = 10  # failed subjects of one check


def text(findings: Findings) -> str:
    """Format the table, the fixes of failed checks, and the verdict."""
    cells = [("status", "check", "subject", "value", "limit", "finding")]
    for group in groups(findings):
        cells += _lines(group)
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    lines = [_line(row, widths) for row in cells]
    fixes: dict[str, None] = {}
    for finding in findings.findings:
        if finding.status == "failed" and finding.fix:
            fixes[f"{finding.check}: {finding.fix}"] = None
    if fixes:
        lines += ["", *(f"fix  {_one_line(fix)}" for fix in fixes)]
    return "\n".join([*lines, "", verdict(findings)]) + "\n"


Cells = tuple[str, str, str, str, str, str]


def _lines(group: Group) -> list[Cells]:
    failed, passed, skipped = (group.with_status(status) for status in ("failed", "passed", "skipped"))
    lines = [_cells(finding) for finding in failed[:_SHOWN]]
    if len(failed) > _SHOWN:
        lines.append((status(failed[0]), group.check, f"{len(failed) - _SHOWN} more", "", "", "as above"))
    if len(passed) == 1:
        lines.append(_cells(passed[0]))
    elif passed:
        worst = Group(group.check, passed).worst
        cells = _cells(worst)
        lines.append((*cells[:2], f"{len(passed)} of {len(group.findings)}", *cells[3:5], _nearest(worst)))
    reasons: dict[str, list[Finding]] = {}
    for finding in skipped:
        reasons.setdefault(finding.message, []).append(finding)
    for reason, found in reasons.items():
        subject = found[0].subject if len(found) == 1 else f"{len(found)} of {len(group.findings)}"
        lines.append(("skipped", group.check, _one_line(subject), "", "", _one_line(reason)))
    return lines


def _nearest(worst: Finding) -> str:
    message = _one_line(worst.message)
    return f"worst ({_one_line(worst.subject)}): {message}" if worst.value != 0 else message


def _cells(finding: Finding) -> Cells:
    words = (status(finding), finding.check, finding.subject, number(finding.value), number(finding.limit))
    return (*(_one_line(word) for word in words), _one_line(finding.message))  # type: ignore[return-value]


def _line(row: Cells, widths: list[int]) -> str:
    left, right = row[:3], row[3:5]
    padded = [word.ljust(width) for word, width in zip(left, widths, strict=False)]
    padded += [word.rjust(width) for word, width in zip(right, widths[3:], strict=True)]
    return "  ".join([*padded, row[5]]).rstrip()


def _one_line(words: str) -> str:
    return printable(" ".join(words.split()))
