"""Findings as JUnit XML: a suite for each check, a case for each subject, of an equal share of its time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..finding import Finding, Findings
from .groups import Group, groups, number

# Characters that XML 1.0 cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(findings: Findings) -> str:
    """Format a run as JUnit XML; warnings and notes, which JUnit does not know, are passed cases with output."""
    root = ElementTree.Element("testsuites", name="onnxlrp check")
    for group in groups(findings):
        root.append(_suite(group, findings))
    for name in ("tests", "failures", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("errors", "0")
    root.set("time", f"{sum(findings.seconds.values()):.3f}")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(group: Group, findings: Findings) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=group.check)
    suite.set("tests", str(len(group.findings)))
    suite.set("failures", str(sum(finding.fails for finding in group.findings)))
    suite.set("errors", "0")
    suite.set("skipped", str(len(group.with_status("skipped"))))
    seconds = findings.seconds.get(group.check, 0.0)
    suite.set("time", f"{seconds:.3f}")
    properties = ElementTree.SubElement(suite, "properties")
    for name in ("model", "sha256", "method", "engine"):
        if findings.about.get(name):
            ElementTree.SubElement(properties, "property", name=name, value=_clean(str(findings.about[name])))
    for finding in group.findings:
        suite.append(_case(finding, seconds / len(group.findings)))
    return suite


def _case(finding: Finding, seconds: float) -> ElementTree.Element:
    name = _clean(finding.subject) or "model"
    case = ElementTree.Element("testcase", classname=f"onnxlrp.{finding.check}", name=name, time=f"{seconds:.3f}")
    message, details = _clean(finding.message), _clean(_details(finding))
    if finding.fails:
        ElementTree.SubElement(case, "failure", message=message, type=finding.check).text = details
    elif finding.status == "skipped":
        ElementTree.SubElement(case, "skipped", message=message)
    elif finding.status == "failed":
        ElementTree.SubElement(case, "system-out").text = f"{finding.severity}: {details}"
    return case


def _details(finding: Finding) -> str:
    lines = [finding.message]
    if finding.value is not None and finding.limit is not None:
        lines.append(f"value {number(finding.value)}, limit {number(finding.limit)}")
    return "\n".join(filter(None, [*lines, finding.fix and f"fix: {finding.fix}"]))


def _clean(words: str) -> str:
    return _FORBIDDEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), words)
