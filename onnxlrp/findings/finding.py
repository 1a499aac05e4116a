"""What a check finds, and what a run of checks comes to."""

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
    """One check of one subject: the model, a sample or a layer.

    `value` is what was measured and `limit` what the check allows, both None where nothing is a number; `fix` is what
    to type or change where it failed; a `skipped` check says why in `message`.
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
        """Whether it makes the run fail."""
        return self.status == "failed" and self.severity == "error"


def judged(
    holds: bool,
    message: str,
    subject: str = "",
    value: float | None = None,
    limit: float | None = None,
    fix: str = "",
) -> Finding:
    """A finding that passed or failed, with its fix where it failed; who runs the check sets its id and severity."""
    value = None if value is None or not math.isfinite(value) else float(value)
    status = "passed" if holds else "failed"
    return Finding("", status, message, subject=subject, value=value, limit=limit, fix="" if holds else fix)


def skipped(reason: str, subject: str = "", fix: str = "") -> Finding:
    """A finding that could not be made, and why."""
    return Finding("", "skipped", reason, subject=subject, fix=fix)


class MissingData(NothingToDo):
    """What a check needs is not there; the check is skipped with this reason, and the fix says what to give."""


@dataclass(frozen=True)
class Findings:
    """All findings of a run; `about` says of what (model, hashes, versions, settings), `summaries` what each check
    examines, by its id."""

    findings: Sequence[Finding]
    about: Mapping[str, Any] = field(default_factory=dict)
    summaries: Mapping[str, str] = field(default_factory=dict)

    @property
    def fails(self) -> bool:
        """Whether a check of severity error failed."""
        return any(finding.fails for finding in self.findings)

    def count(self, status: str) -> int:
        """How many have a status."""
        return sum(finding.status == status for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The JSON of a run."""
        counts = {status: self.count(status) for status in STATUSES}
        rows = [asdict(finding) for finding in self.findings]
        head = {"schema": SCHEMA, "fails": self.fails, "counts": counts, "about": dict(self.about)}
        summaries = {"summaries": dict(self.summaries)} if self.summaries else {}
        return {**head, **summaries, "findings": rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Findings:
        """What `to_dict` gave."""
        return cls([Finding(**row) for row in data["findings"]], data.get("about", {}), data.get("summaries", {}))
