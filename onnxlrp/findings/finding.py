"""Findings: the results of checks, and of a run of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import NothingToDo

SEVERITIES = ("error", "warning", "note")
STATUSES = ("passed", "failed", "skipped")
SCHEMA = 1  # version of the JSON that `to_dict` gives


@dataclass(frozen=True)
class Finding:
    """The result of one check for one subject: the model, a sample or a layer.

    Attributes:
        check: The id of the check.
        status: "passed", "failed" or "skipped".
        message: The result in words; of a skipped check, the reason.
        severity: "error", "warning" or "note".
        subject: The model, sample or layer.
        value: The measured value, None where nothing is a number.
        limit: The limit of the check, None where it has none.
        fix: What to type or change, where the check failed.
    """

    check: str
    status: str
    message: str
    severity: str = "error"
    subject: str = ""
    value: float | None = None
    limit: float | None = None
    fix: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES or self.severity not in SEVERITIES:
            raise ValueError(f"{self.status!r} or {self.severity!r} is no status or severity")

    @property
    def fails(self) -> bool:
        """Whether the finding makes the run fail."""
        return self.status == "failed" and self.severity == "error"


def judged(
    holds: bool,
    message: str,
    subject: str = "",
    value: float | None = None,
    limit: float | None = None,
    fix: str = "",
) -> Finding:
    """Make a finding that passed or failed.

    The run sets the id and the severity of its check.

    Args:
        holds: Whether the check passed.
        message: The result in words.
        subject: The model, sample or layer.
        value: The measured value.
        limit: The limit of the check.
        fix: What to type or change; dropped where the check passed.
    """
    value = None if value is None or not math.isfinite(value) else float(value)
    status = "passed" if holds else "failed"
    return Finding("", status, message, subject=subject, value=value, limit=limit, fix="" if holds else fix)


def skipped(reason: str, subject: str = "", fix: str = "") -> Finding:
    """Make a finding for a check that could not run, with the reason."""
    return Finding("", "skipped", reason, subject=subject, fix=fix)


class MissingData(NothingToDo):
    """Data that a check needs is missing: the check is skipped, with this message and fix."""


@dataclass(frozen=True)
class Findings:
    """All findings of a run.

    Attributes:
        findings: The findings, in the order of the checks.
        about: Model, hashes, versions and settings of the run.
        summaries: One sentence about each check, by its id.
        seconds: The time that each check took, by its id.
    """

    findings: Sequence[Finding]
    about: Mapping[str, Any] = field(default_factory=dict)
    summaries: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def fails(self) -> bool:
        """Whether a check of severity error failed."""
        return any(finding.fails for finding in self.findings)

    def count(self, status: str) -> int:
        """Count the findings of a status."""
        return sum(finding.status == status for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the run in JSON's types."""
        counts = {status: self.count(status) for status in STATUSES}
        rows = [asdict(finding) for finding in self.findings]
        head = {"schema": SCHEMA, "fails": self.fails, "counts": counts, "about": dict(self.about)}
        summaries = {"summaries": dict(self.summaries)} if self.summaries else {}
        return {**head, **summaries, "findings": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Findings:
        """Rebuild findings from what `to_dict` returned."""
        return cls([Finding(**row) for row in data["findings"]], data.get("about", {}), data.get("summaries", {}))
