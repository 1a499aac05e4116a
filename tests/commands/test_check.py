"""`onnxlrp check`: exit codes, reports, the baseline, calibration, and flags beside settings."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from onnxlrp.checks import toml
from onnxlrp.checks.registry import CHECKS
from onnxlrp.cli import main
from support.check_cases import HANS, SHAPES, with_random_head, write_scenes


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_scenes(tmp_path_factory.mktemp("marked"), stars=4, others=4, marked=True)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)

    def call(code: Any, *words: Any) -> Any:
        capsys.readouterr()
        assert main(["check", *map(str, words)]) == code
        return capsys.readouterr()

    return call


def test_a_sound_model_exits_with_0_and_a_watermark_with_1(run: Callable[..., Any], marked: Any) -> None:
    assert run(0, SHAPES, marked, "--masks", marked / "masks").out.splitlines()[-1].startswith("ok: ")
    out = run(1, HANS, marked, "--set", "inside.severity=off").out
    assert out.splitlines()[-1].startswith("FAILED: ")
    assert "class star" in out


@pytest.mark.slow
def test_reports_are_written_by_their_suffix(run: Callable[..., Any], marked: Any, tmp_path: Path) -> None:
    reports = [word for name in ("r.json", "r.xml", "r.sarif", "r.md", "github=notes") for word in ("-o", name)]
    shown = json.loads(run(1, HANS, marked, *reports, "--json").out)
    assert json.loads((tmp_path / "r.json").read_text()) == shown
    root = ElementTree.parse(tmp_path / "r.xml").getroot()
    failed = [f for f in shown["findings"] if f["status"] == "failed" and f["severity"] == "error"]
    assert int(root.get("failures")) == len(failed) > 0
    results = json.loads((tmp_path / "r.sarif").read_text())["runs"][0]["results"]
    assert {r["ruleId"] for r in results} >= {"border", "corners"}
    assert (tmp_path / "r.md").read_text().startswith("## onnxlrp check: FAILED")
    assert (tmp_path / "notes").read_text().startswith("::error ")


@pytest.mark.slow
def test_the_settings_file_alone_is_enough(run: Callable[..., Any], marked: Any, tmp_path: Path) -> None:
    (marked / "onnxlrp.toml").write_text(
        f'model = "{HANS}"\nsamples = ["*.png"]\nmasks = "masks"\n[checks]\nborder = "warning"\ncorners = "note"\n'
        'inside = "warning"\n'
    )
    findings = json.loads(run(0, "-c", marked / "onnxlrp.toml", "--json").out)["findings"]
    assert {f["severity"] for f in findings if f["check"] == "border"} == {"warning"}
    assert [f for f in findings if f["check"] == "border" and f["status"] == "failed"]
    assert run(1, "-c", marked / "onnxlrp.toml", "--set", "border.severity=error")
    other = json.loads(run(0, SHAPES, "-c", marked / "onnxlrp.toml", "--json").out)
    assert other["about"]["model"] == str(SHAPES)


def test_flags_go_before_the_settings(run: Callable[..., Any], marked: Any, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[checks.drift]\ncosine = 0.5\n[checks.border]\nleast = 7\n")
    shown = json.loads(run(0, SHAPES, "-c", "c.toml", "--set", "border.lift=3", "-m", "epsilon", "--json").out)["about"]
    assert shown["thresholds"]["drift"] == {"cosine": 0.5}
    assert shown["thresholds"]["border"] == {"width": 0.125, "lift": 3, "least": 7}
    assert shown["method"] == "epsilon"


@pytest.mark.slow
def test_a_baseline_is_stored_and_compared_with(run: Callable[..., Any], marked: Any, tmp_path: Path) -> None:
    assert "wrote" in run(0, SHAPES, marked, "--baseline", "base", "--update-baseline").out
    assert [p.name for p in (tmp_path / "base").iterdir()] == ["baseline.npz"]
    run(0, SHAPES, marked, "--baseline", "base")
    out = run(1, with_random_head(tmp_path / "m.onnx"), marked, "--baseline", "base").out
    assert "FAILED   drift" in out
    assert "re-baseline" in out
    run(0, tmp_path / "m.onnx", marked, "--baseline", "base", "--update-baseline")
    run(0, tmp_path / "m.onnx", marked, "--baseline", "base", "--set", "inside.severity=off")


@pytest.mark.slow
def test_calibration_proposes_thresholds_that_pass(run: Callable[..., Any], marked: Any, tmp_path: Path) -> None:
    said = run(0, SHAPES, marked, "--masks", marked / "masks", "--calibrate")
    assert "inspect the heatmaps first" in said.err
    proposed = tomllib.loads(said.out)
    assert set(proposed["checks"]) >= {"deterministic", "ledger", "logits", "drift", "border", "inside", "latency"}
    assert set(proposed["checks"]) <= set(CHECKS)
    # How long a run takes is the machine's own affair here.
    proposed["checks"] = {id: table for id, table in proposed["checks"].items() if id not in ("latency", "memory")}
    toml.parse(proposed)
    lines = [f"{id}.{name}={value}" for id, table in proposed["checks"].items() for name, value in table.items()]
    run(0, SHAPES, marked, "--baseline", "b", "--update-baseline")
    flags = [word for line in lines for word in ("--set", line)]
    run(0, SHAPES, marked, "--masks", marked / "masks", "--baseline", "b", *flags)
    listed = json.loads(run(0, SHAPES, marked, "--calibrate", "--json").out)["proposals"]
    assert {"check", "threshold", "value", "measured", "why"} == set(listed[0])


def test_the_list_has_every_check(run: Callable[..., Any]) -> None:
    rows = json.loads(run(0, "--list", "--json").out)["checks"]
    assert [row["check"] for row in rows] == list(CHECKS)
    assert all(row["summary"] for row in rows)
    assert "cosine=0.95" in run(0, "--list").out


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, [], "no model is given"),
        (3, ["none.onnx"], "no such file"),
        (2, [SHAPES, "--format", "xml"], 'no format "xml"'),
        (2, [SHAPES, "-o", "r.html"], "suffix names no format"),
        (2, [SHAPES, "--set", "drift"], "CHECK.THRESHOLD=VALUE"),
        (2, [SHAPES, "--set", "drfit.cosine=1"], 'no check "drfit"'),
        (2, [SHAPES, "--set", "drift.cosine=high"], "is not a number"),
        (2, [SHAPES, "--update-baseline"], "no folder"),
        (2, [SHAPES, "-m", "none"], "none"),
        (3, [SHAPES, "-c", "none.toml"], "no such file"),
        (3, [SHAPES, "none.png"], "no such file"),
        (5, [SHAPES, "*.nothing"], "matches no picture"),
        (5, [SHAPES, "--baseline", "b", "--update-baseline"], "no samples are given"),
    ],
)
def test_mistakes_are_named_with_the_fix(run: Callable[..., Any], code: int, words: list[Any], said: str) -> None:
    err = run(code, *words).err.strip().splitlines()
    assert len(err) == 2
    assert said in err[0]
    assert err[1].startswith("fix ")


def test_a_cut_model_is_a_failed_check(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(SHAPES.read_bytes()[:5000])
    assert "FAILED   load" in run(1, "cut.onnx").out


def test_names_are_told_apart_by_their_folders(run: Callable[..., Any], marked: Any, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_bytes(sorted(marked.glob("*.png"))[0].read_bytes())
    findings = json.loads(run(0, SHAPES, "a", "b", "--json").out)["findings"]
    assert [f["subject"] for f in findings if f["check"] == "finite"] == ["a/1", "b/1"]


@pytest.mark.slow
def test_the_settings_of_the_folder_are_found(run: Callable[..., Any], tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", stars=2, others=2, marked=False)
    (tmp_path / "onnxlrp.toml").write_text(f'model = "{SHAPES}"\nsamples = ["{scenes}/*.png"]\nmethod = "gradient"\n')
    about = json.loads(run(0, "--json").out)["about"]
    assert (about["model"], about["method"], about["samples"]) == (str(SHAPES), "gradient", 4)
    assert json.loads(run(0, SHAPES, scenes, "--json").out)["about"]["method"] != "gradient"
