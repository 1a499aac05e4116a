"""What several formats share: findings in groups, and numbers and verdicts in words."""

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

    def of(self, status: str) -> list[Finding]:
        """Those with a status."""
        return [finding for finding in self.findings if finding.status == status]

    @property
    def worst(self) -> Finding:
        """The finding nearest to its limit, or furthest beyond it: of those that failed if any did."""
        return max(self.of("failed") or self.of("passed") or list(self.findings), key=_excess)


def groups(findings: Findings) -> list[Group]:
    """The findings by check, in the order in which checks first occur."""
    found: dict[str, list[Finding]] = {}
    for finding in findings.findings:
        found.setdefault(finding.check, []).append(finding)
    return [Group(check, rows) for check, rows in found.items()]


def status(finding: Finding) -> str:
    """A verdict in a word: ok, FAILED, WARNING, NOTE or skipped."""
    if finding.status == "failed":
        return WORDS[finding.severity]
    return "ok" if finding.status == "passed" else "skipped"


def number(value: float | None) -> str:
    """A number as a person reads it, "" for none."""
    return "" if value is None else f"{value:.4g}"


def verdict(findings: Findings) -> str:
    """`FAILED: 2 failed, 1 warning, 40 passed, 6 skipped`."""
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


def _excess(finding: Finding) -> float:
    """How far a value is from its limit, whichever side is the good one."""
    if finding.value is None or finding.limit is None:
        return float("inf") if finding.status == "failed" and finding.value is None else -float("inf")
    apart = abs(finding.value - finding.limit) / (abs(finding.limit) or 1)
    return apart if finding.status == "failed" else -apart
