"""The GitHub Action: its steps, run as a runner would run them, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

ACTION = (ROOT / "action.yml").read_text(encoding="utf-8")
BASH = shutil.which("bash")

pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


def block(name: Any) -> Any:
    """The lines of the step with an id."""
    return re.search(rf"    - id: {name}\n(.*?)(?=\n    - |\Z)", ACTION, re.S)[1]


def script(name: Any) -> str:
    body = block(name).partition("run: |\n")[2]
    return "\n".join(line[8:] for line in body.splitlines())


def check(folder: Any, **inputs: Any) -> tuple[Any, Any]:
    """The exit code, and the outputs, of the step that checks."""
    wanted = re.findall(r"^        (\w+): \$\{\{ inputs\.(\w+) \}\}$", block("check"), re.M)
    given = {variable: inputs.get(name, "found" if name == "output" else "") for variable, name in wanted}
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        given[name] = str(folder / name)
        (folder / name).touch()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = [BASH, "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script("check")]
    run = subprocess.run(words, cwd=folder, env={**os.environ, **given, "PATH": path}, capture_output=True, text=True)
    outputs = dict(line.split("=", 1) for line in (folder / "GITHUB_OUTPUT").read_text().splitlines())
    return run, outputs


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    shutil.copy(ROOT / "models" / "digits.onnx", tmp_path / "my model.onnx")
    shutil.copy(ROOT / "models" / "samples" / "digit_7.png", tmp_path / "seven.png")
    return tmp_path


@pytest.mark.slow
def test_findings_become_outputs_and_the_summary(folder: Any) -> None:
    run, outputs = check(folder, model="my model.onnx", samples="seven.png\n", args="--set\nlatency.severity=off")
    assert run.returncode == 0, run.stderr
    assert outputs["fails"] == "false"
    found = json.loads((folder / outputs["json"]).read_text())
    assert found["fails"] is False
    assert found["about"]["severities"]["latency"] == "off"
    assert (folder / outputs["junit"]).read_text().startswith("<?xml")
    assert json.loads((folder / outputs["sarif"]).read_text())["version"] == "2.1.0"
    assert "my model.onnx" in (folder / "GITHUB_STEP_SUMMARY").read_text()


@pytest.mark.slow
def test_a_failed_check_fails_the_step_after_its_files_are_there(folder: Any) -> None:
    run, outputs = check(folder, model="my model.onnx", samples="seven.png", baseline="none")
    assert run.returncode == 1
    assert "::error" in run.stdout
    assert outputs["fails"] == "true"
    assert json.loads((folder / outputs["json"]).read_text())["fails"] is True


@pytest.mark.slow
def test_settings_beside_the_workflow_are_taken(folder: Any) -> None:
    (folder / "onnxlrp.toml").write_text('model = "my model.onnx"\nsamples = ["seven.png"]\n')
    run, outputs = check(folder)
    assert run.returncode == 0, run.stderr
    assert json.loads((folder / outputs["json"]).read_text())["about"]["samples"] == 1


@pytest.mark.few(1)
@pytest.mark.parametrize("word", ["$(touch owned)", "`touch owned`", '"; touch owned; "', "'; touch owned; '"])
def test_inputs_are_no_commands(folder: Any, word: str) -> None:
    run, outputs = check(folder, model="my model.onnx", samples=word)
    assert run.returncode not in (0, 127)
    assert outputs["fails"] == "true"
    assert not (folder / "owned").exists()


def test_no_expression_stands_in_a_script() -> None:
    """`${{ }}` in a script is text that the shell reads as its own."""
    for name in ("install", "check"):
        assert script(name)
        assert "${{" not in script(name)


def test_every_input_is_used_and_documented() -> None:
    inputs = ACTION.partition("inputs:")[2].partition("outputs:")[0]
    names = re.findall(r"^  (\w+):$", inputs, re.M)
    assert len(names) == len(re.findall(r"^    description: ", inputs, re.M))
    assert {name for name in names if f"inputs.{name} " in ACTION} == set(names)
    page = (ROOT / "docs" / "howto" / "ci.md").read_text(encoding="utf-8")
    used = re.search(r"uses: OWNER/onnxlrp@v1\n        with:\n(.*?)\n      - ", page, re.S)[1]
    assert set(re.findall(r"^          (\w+):", used, re.M)) <= set(names)
