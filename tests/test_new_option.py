"""The recipe of an option in CONTRIBUTING.md, applied to a copy of the package: two files, and it is everywhere."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.paths import ROOT

HUNKS = re.findall(r"```diff\n--- (\S+)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL)
DIGITS, SEVEN = ROOT / "models" / "digits.onnx", ROOT / "models" / "samples" / "digit_7.png"
MOST_FILES = 3

Run = Callable[..., str]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the option in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "onnxlrp", folder / "onnxlrp", ignore=shutil.ignore_patterns("__pycache__"))
    for name, hunk in HUNKS:
        lines = hunk.splitlines(keepends=True)
        assert {line[0] for line in lines} == {" ", "+"}
        before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" ", " +"))
        text = (folder / name).read_text("utf-8")
        assert text.count(before) == 1, f"{name}: the context of the hunk is there {text.count(before)} times"
        (folder / name).write_text(text.replace(before, after), "utf-8")
    return folder


@pytest.fixture
def run(copy: Path, tmp_path: Path) -> Run:
    """Run Python with the copy; what it prints."""

    def call(*words: object) -> str:
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_few_files_are_touched(copy: Path) -> None:
    files = [path.relative_to(copy) for path in (copy / "onnxlrp").rglob("*") if path.is_file()]
    same, touched, missing = filecmp.cmpfiles(copy, ROOT, map(str, files), shallow=False)
    assert len(same) > MOST_FILES
    assert missing == []
    assert set(touched) == {name for name, _ in HUNKS}
    assert 0 < len(touched) <= MOST_FILES


@pytest.mark.parametrize(("command", "takes"), [("explain", True), ("check", True), ("export", False)])
def test_the_commands_that_it_names_take_it(run: Run, command: str, takes: bool) -> None:
    assert ("--absolute" in run("-m", "onnxlrp", command, "--help")) is takes


@pytest.mark.slow
def test_the_command_records_it(run: Run, tmp_path: Path) -> None:
    explain = ("-m", "onnxlrp", "explain", DIGITS, SEVEN, "--json", "--format", "npz")
    plain = json.loads(run(*explain, "-o", "plain.npz"))
    found = json.loads(run(*explain, "-o", "absolute.npz", "--absolute"))
    assert "absolute" not in plain["provenance"]
    assert found["provenance"]["absolute"] is True
    before, after = (np.load(tmp_path / name)["relevance"] for name in ("plain.npz", "absolute.npz"))
    assert before.min() < 0
    np.testing.assert_array_equal(after, np.abs(before))


@pytest.mark.slow
def test_python_takes_it_by_keyword_and_as_an_object(run: Run) -> None:
    said = run(
        "-c",
        f"import onnxlrp; model = onnxlrp.load({str(DIGITS)!r})\n"
        f"one = model.explain({str(SEVEN)!r}, absolute=True, method='gradient')\n"
        "options = onnxlrp.ExplainOptions(absolute=True, method='gradient')\n"
        f"other = model.explain({str(SEVEN)!r}, options)\n"
        "print(one.relevance.min() >= 0, (one.relevance == other.relevance).all(), other.provenance['absolute'])",
    )
    assert said.split() == ["True", "True", "True"]


@pytest.mark.slow
def test_a_settings_file_takes_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "onnxlrp.toml").write_text(f"model = {json.dumps(str(DIGITS))}\nabsolute = true\n")
    words = ("-m", "onnxlrp", "check", "-c", "onnxlrp.toml", DIGITS, SEVEN, "--json")
    assert json.loads(run(*words))["about"]["absolute"] is True
    said = run("-c", "from onnxlrp.checks.toml import read; print(read('onnxlrp.toml').keywords())")
    assert said.strip() == "{'absolute': True}"
