"""Findings as workflow commands of GitHub Actions: an annotation for each check that failed."""

from __future__ import annotations

from ...errors import printable
from ..finding import Finding, Findings
from .groups import Group, groups, number, verdict

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def text(findings: Findings) -> str:
    """Format an annotation for each check that failed, with its worst subject, and the verdict in plain text."""
    file = str(findings.about.get("model") or "")
    lines = [_line(group, file) for group in groups(findings) if group.with_status("failed")]
    return "\n".join([*lines, verdict(findings)]) + "\n"


def _line(group: Group, file: str) -> str:
    failed, worst = group.with_status("failed"), group.worst
    command = _COMMANDS[worst.severity]
    where = f"file={_property(file)}," if file else ""
    several = f"{len(failed)} of {len(group.findings)} fail; worst: " if len(failed) > 1 else ""
    message = several + _summary(worst) + (f"\nfix: {worst.fix}" if worst.fix else "")
    return f"::{command} {where}title={_property(f'onnxlrp {group.check}')}::{_data(message)}"


def _summary(finding: Finding) -> str:
    subject = f"{finding.subject}: " if finding.subject else ""
    limits = ""
    if finding.value is not None and finding.limit is not None:
        limits = f" (value {number(finding.value)}, limit {number(finding.limit)})"
    return f"{subject}{finding.message}{limits}"


def _data(words: str) -> str:
    """Escape text so that it can neither end the command nor begin another."""
    return printable(words).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")
