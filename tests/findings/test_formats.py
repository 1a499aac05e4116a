"""Every format of the findings: valid by its own standard, whatever the names hold, and saying the same."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from onnxlrp.checks import Finding, Findings
from onnxlrp.errors import UsageError
from onnxlrp.findings.finding import SEVERITIES, STATUSES
from onnxlrp.findings.formats import FORMATS, markdown, named, of_file
from support.sarif_subset import SCHEMA as SARIF

HOSTILE = "a|b<script>&]]>\"'%0A\x1b[31m\x00\ud800\n::error::x\u202e `*_[l](u)"

FINDINGS = Findings(
    [
        Finding("drift", "failed", "cosine 0.5", subject="cat", value=0.5, limit=0.95, fix="re-baseline"),
        Finding("drift", "passed", "cosine 1", subject="dog", value=1.0, limit=0.95),
        Finding("drift", "failed", "cosine 0.1", subject="owl", value=0.1, limit=0.95, fix="re-baseline"),
        Finding("logits", "failed", "moved", "warning", subject="cat", value=0.2, limit=0.05),
        Finding("memory", "skipped", "no budget is set", fix="set one"),
        Finding("load", "passed", "33 layers", subject="m.onnx"),
    ],
    {"model": "models/m.onnx", "sha256": "ab" * 32, "method": "epsilon", "engine": "ort"},
)
HOSTILES = Findings(
    [Finding("drift", s, HOSTILE, v, HOSTILE, fix=HOSTILE) for s in STATUSES for v in SEVERITIES], {"model": HOSTILE}
)

TEXT = st.text(max_size=30)
MANY = st.builds(
    Findings,
    st.lists(
        st.builds(
            Finding,
            st.sampled_from(["load", "drift", "odd check"]),
            st.sampled_from(STATUSES),
            TEXT.filter(str.strip),
            st.sampled_from(SEVERITIES),
            TEXT,
            st.none() | st.floats(-1e9, 1e9),
            st.none() | st.floats(-1e9, 1e9),
            TEXT,
        ),
        max_size=8,
    ),
    st.fixed_dictionaries({}, optional={"model": TEXT.filter(str.strip)}),
)


# -- JUnit


def junit(findings: Any) -> Any:
    """The XML by the rules that Jenkins, GitLab and GitHub's readers share; counts are those of the elements."""
    root = ElementTree.fromstring(FORMATS["junit"](findings))
    assert root.tag == "testsuites"
    for level in (root, *root):
        cases = list(level.iter("testcase"))
        for name, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            assert int(level.get(name)) == sum(case.find(tag) is not None for case in cases)
        assert int(level.get("tests")) == len(cases)
    for suite in root:
        assert suite.tag == "testsuite"
        assert suite.get("name")
        assert [child.tag for child in suite] == sorted((child.tag for child in suite), key="properties".__ne__)
        for case in suite.iter("testcase"):
            assert case.get("name")
            assert case.get("classname")
            assert float(case.get("time")) >= 0
            assert {child.tag for child in case} <= {"failure", "skipped", "system-out"}
            assert len(case) <= 1
    return root


def test_junit_has_a_failure_for_each_error_and_a_skip_for_each_skipped() -> None:
    root = junit(FINDINGS)
    assert {(c.get("classname"), c.get("name")) for c in root.iter("testcase") if c.find("failure") is not None} == {
        ("onnxlrp.drift", "cat"),
        ("onnxlrp.drift", "owl"),
    }
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "no budget is set"
    (warning,) = root.iter("system-out")
    assert warning.text.startswith("warning: moved")
    assert "limit 0.95" in next(root.iter("failure")).text


def test_junit_shares_the_time_of_a_check_among_its_cases() -> None:
    seconds = {finding.check: 0.5 for finding in FINDINGS.findings}
    root = junit(dataclasses.replace(FINDINGS, seconds=seconds))
    assert float(root.get("time")) == 0.5 * len(root)
    for suite in root:
        cases = [float(case.get("time")) for case in suite.iter("testcase")]
        assert float(suite.get("time")) == 0.5
        assert sum(cases) == pytest.approx(0.5, abs=0.002)


@given(MANY)
def test_junit_is_valid_whatever_the_names_hold(findings: Any) -> None:
    junit(findings)


def test_junit_escapes_what_xml_cannot_hold() -> None:
    junit(HOSTILES)
    assert "\x00" not in FORMATS["junit"](HOSTILES)


# -- SARIF


def sarif(findings: Any) -> Any:
    log = json.loads(FORMATS["sarif"](findings))
    Draft202012Validator(SARIF).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    return run


def test_sarif_has_a_result_for_each_failure() -> None:
    run = sarif(FINDINGS)
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [
        ("drift", "error"),
        ("drift", "error"),
        ("logits", "warning"),
    ]
    assert len({r["partialFingerprints"]["subject/v1"] for r in run["results"]}) == 3
    location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == "models/m.onnx"
    (note,) = run["invocations"][0]["toolConfigurationNotifications"]
    assert "no budget" in note["message"]["text"]


@given(MANY)
def test_sarif_is_valid_whatever_the_names_hold(findings: Any) -> None:
    sarif(findings)


def test_sarif_of_hostile_names() -> None:
    sarif(HOSTILES)


def test_the_subset_refuses_what_sarif_refuses() -> None:
    """The schema is no rubber stamp."""
    log = json.loads(FORMATS["sarif"](FINDINGS))
    validator = Draft202012Validator(SARIF)
    for path, wrong in (
        (("version",), "2.0"),
        (("runs", 0, "results", 0, "level"), "fatal"),
        (("runs", 0, "tool"), {}),
    ):
        spoilt = json.loads(json.dumps(log))
        inner = spoilt
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong
        assert not validator.is_valid(spoilt)


# -- GitHub


def test_github_has_one_annotation_for_each_check_that_failed() -> None:
    lines = FORMATS["github"](FINDINGS).splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "::error file=models/m.onnx,title=onnxlrp drift::2 of 3 fail; worst: owl: cosine 0.1 "
        "(value 0.1, limit 0.95)%0Afix: re-baseline"
    )
    assert lines[1].startswith("::warning file=models/m.onnx,title=onnxlrp logits::cat: moved")
    assert not lines[2].startswith("::")


@given(MANY)
def test_no_name_can_forge_an_annotation(findings: Any) -> None:
    lines = FORMATS["github"](findings).split("\n")
    failed = {f.check for f in findings.findings if f.status == "failed"}
    commands = [line for line in lines if line.startswith("::")]
    assert len(commands) == len(failed)
    assert len(lines) == len(failed) + 2
    for line in commands:
        assert re.match(r"::(error|warning|notice) (file=[^:,\r\n]*,)?title=[^:,\r\n]*::[^\r\n]*$", line)


# -- Markdown


def test_markdown_shows_the_verdict_and_what_failed() -> None:
    text = FORMATS["markdown"](FINDINGS)
    assert "FAILED: 2 failed, 1 warning, 2 passed, 1 skipped" in text
    assert "| ❌ | drift | cat | 0.5 | 0.95 | cosine 0.5 | re-baseline |" in text


@given(MANY)
def test_every_row_of_markdown_has_as_many_cells_as_its_head(findings: Any) -> None:
    columns = 0
    for line in FORMATS["markdown"](findings).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        columns = columns or cells
        assert not line.startswith("|") or cells == columns
        columns = columns if line.startswith("|") else 0


def test_markdown_stays_below_900_kib_and_says_what_it_left_out() -> None:
    rows = [Finding("drift", "failed", "m" * 3000, subject=f"s{n}", fix="ü" * 500) for n in range(2000)]
    text = FORMATS["markdown"](Findings(rows))
    assert len(text.encode()) <= 900 * 1024 == markdown.LIMIT
    shown = len(re.findall(r"^\| ❌ \| drift \| s\d", text, re.MULTILINE))
    assert f"{2000 - shown} more failed subjects are left out" in text
    assert shown > 100


def test_markdown_shows_hostile_names_as_text() -> None:
    text = FORMATS["markdown"](HOSTILES)
    assert "<script" not in text.replace("\\<", "")
    assert "\x1b" not in text


# -- table and JSON


def test_the_table_has_a_line_for_each_failure_and_one_for_the_rest() -> None:
    lines = FORMATS["table"](FINDINGS).splitlines()
    assert [line.split()[:2] for line in lines[1:7]] == [
        ["FAILED", "drift"],
        ["FAILED", "drift"],
        ["ok", "drift"],
        ["WARNING", "logits"],
        ["skipped", "memory"],
        ["ok", "load"],
    ]
    assert "fix  drift: re-baseline" in lines
    assert lines[-1] == "FAILED: 2 failed, 1 warning, 2 passed, 1 skipped"


def test_the_table_says_how_many_failures_it_leaves_out() -> None:
    text = FORMATS["table"](Findings([Finding("drift", "failed", "m", subject=f"s{n}") for n in range(25)]))
    assert "15 more" in text


@given(MANY)
def test_json_is_read_again(findings: Any) -> None:
    data = json.loads(FORMATS["json"](findings))
    assert data["schema"] == 1
    assert data["fails"] == findings.fails
    assert data["counts"] == {status: findings.count(status) for status in STATUSES}
    assert list(Findings.from_dict(data).findings) == list(findings.findings)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_takes_hostile_names_and_no_findings(name: Any) -> None:
    for findings in (HOSTILES, Findings([])):
        text = FORMATS[name](findings)
        assert text.endswith("\n")
        assert "\x1b" not in text
        text.encode("utf-8", "strict")


def test_formats_by_name_and_by_suffix() -> None:
    assert [of_file(f"r{s}") for s in (".json", ".xml", ".SARIF", ".md", ".txt")] == [
        "json",
        "junit",
        "sarif",
        "markdown",
        "table",
    ]
    with pytest.raises(UsageError, match="suffix names no format"):
        of_file("r.html")
    with pytest.raises(UsageError) as refused:
        named("jnit")
    assert '"junit"' in refused.value.fix
