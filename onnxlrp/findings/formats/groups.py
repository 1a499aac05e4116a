"""Groups of findings by check, and the words for numbers and verdicts that formats share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..finding import Finding, Findings

WORDS = {"error": "FAILED", "warning": "WARNING", "note": "NOTE"}


@dataclass(frozen=True)
class Group:
    """All findings of one check, in order."""

    check: str
    findings: Sequence[Finding]

    def with_status(self, status: str) -> list[Finding]:
        """Return the findings of a status."""
        return [finding for finding in self.findings if finding.status == status]

    @property
    def worst(self) -> Finding:
        """The finding furthest beyond its limit, or nearest to it where none failed."""
        return max(self.with_status("failed") or self.with_status("passed") or list(self.findings), key=_distance)


def groups(findings: Findings) -> list[Group]:
    """Group findings by check, in the order in which checks first occur."""
    found: dict[str, list[Finding]] = {}
    for finding in findings.findings:
        found.setdefault(finding.check, []).append(finding)
    return [Group(check, rows) for check, rows in found.items()]


def status(finding: Finding) -> str:
    """Return the status in a word: ok, FAILED, WARNING, NOTE or skipped."""
    if finding.status == "failed":
        return WORDS[finding.severity]
    return "ok" if finding.status == "passed" else "skipped"


def number(value: float | None) -> str:
    """Format a number in four digits, None as ""."""
    return "" if value is None else f"{value:.4g}"


def verdict(findings: Findings) -> str:
    """Summarize a run: `FAILED: 2 failed, 1 warning, 40 passed, 6 skipped`."""
    failed = [f for f in findings.findings if f.status == "failed"]
    errors = sum(f.fails for f in failed)
    others = len(failed) - errors
    words = [
        f"{errors} failed" if errors else "",
        f"{others} warning{'s' * (others > 1)}" if others else "",
        f"{findings.count('passed')} passed",
        f"{findings.count('skipped')} skipped" if findings.count("skipped") else "",
    ]
    return f"{'FAILED' if findings.fails else 'ok'}: {', '.join(filter(None, words))}"


def _distance(finding: Finding) -> float:
    """Return the relative distance of a value from its limit, negative where the check passed."""
    if finding.value is None or finding.limit is None:
        return float("inf") if finding.status == "failed" and finding.value is None else -float("inf")
    apart = abs(finding.value - finding.limit) / (abs(finding.limit) or 1)
    return apart if finding.status == "failed" else -apart
