"""Findings as SARIF 2.1.0: a rule for each check, a result for each subject that failed."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from ...version import __version__
from ..finding import Finding, Findings
from .groups import groups, number

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def text(findings: Findings) -> str:
    """Format a run as a SARIF log; skipped checks are notifications, passed ones rules without results."""
    checks = [group.check for group in groups(findings)]
    failed = [finding for finding in findings.findings if finding.status == "failed"]
    uri = _uri(str(findings.about.get("model") or "model.onnx"))
    severities = {finding.check: finding.severity for finding in findings.findings}
    skipped = [_notification(finding) for finding in findings.findings if finding.status == "skipped"]
    rules = [_rule(id, findings.summaries.get(id, id), severities[id]) for id in checks]
    driver = {"name": "onnxlrp", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": True, "toolConfigurationNotifications": skipped}],
        "artifacts": [{"location": {"uri": uri}, "roles": ["analysisTarget"], **_hashes(findings)}],
        "results": [_result(finding, checks.index(finding.check), uri) for finding in failed],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=True) + "\n"


def _rule(id: str, summary: str, severity: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": id, "name": "".join(word.capitalize() for word in id.split("_"))}
    rule |= {"shortDescription": {"text": summary}, "defaultConfiguration": {"level": severity}}
    return rule


def _result(finding: Finding, index: int, uri: str) -> dict[str, Any]:
    parts = [f"{finding.subject}: {finding.message}" if finding.subject else finding.message]
    if finding.value is not None and finding.limit is not None:
        parts.append(f"(value {number(finding.value)}, limit {number(finding.limit)})")
    message = " ".join(parts) + (f". Fix: {finding.fix}" if finding.fix else "")
    # Equal from run to run, so that one alert is kept for each subject.
    fingerprint = hashlib.sha256(f"{finding.check}\0{finding.subject}".encode("utf-8", "replace")).hexdigest()
    return {
        "ruleId": finding.check,
        "ruleIndex": index,
        "kind": "fail",
        "level": finding.severity,
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}],
        "partialFingerprints": {"subject/v1": fingerprint},
    }


def _notification(finding: Finding) -> dict[str, Any]:
    words = ": ".join(filter(None, (finding.check, finding.subject, f"skipped, {finding.message}")))
    return {"level": "note", "message": {"text": words}, "associatedRule": {"id": finding.check}}


def _hashes(findings: Findings) -> dict[str, Any]:
    sha256 = findings.about.get("sha256")
    return {"hashes": {"sha-256": str(sha256)}} if sha256 else {}


def _uri(path: str) -> str:
    """Turn a path into a URI: a relative path stays relative to the repository."""
    pure = PurePath(path)
    words = quote(pure.as_posix(), errors="replace")
    return f"file://{words}" if pure.is_absolute() else words
