"""Bad files through the real command: the right exit code, two printable lines, little memory, no hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import hostile_corpus, hostile_operators, hostile_pictures

# Each of these adds its files to the corpus when it is imported.
MORE = (hostile_operators, hostile_pictures)
HERE = Path(__file__).parent
DIGITS = HERE.parents[1] / "models" / "digits.onnx"
MOST_MEGABYTES = 1024
# Hangs end here; how much time of the processor a file takes is printed and not asserted.
HANG = 900
EVIL = "evil names that are sound"

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and links of POSIX are among the files")


def words(case: Any, out: Any) -> list[Any]:
    if case.picture:
        return ["explain", str(DIGITS), str(case.path), "-o", str(out / "map.npz"), *case.flags]
    return ["inspect", str(case.path), *case.flags]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """The files that the tests of this run ask for, by name."""
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")
             and item.path == request.path}  # fmt: skip
    return hostile_corpus.build(tmp_path_factory.mktemp("hostile"), {*asked, EVIL})


@pytest.fixture(scope="module")
def results(cases: Any, tmp_path_factory: pytest.TempPathFactory, notes: list[str]) -> Any:
    """What the child says of each case that is tested; where it died, the case it died of has no exit code."""
    out = tmp_path_factory.mktemp("maps")
    asked = json.dumps([(name, words(case, out)) for name, case in cases.items()])
    child = subprocess.run(
        [sys.executable, HERE / "child.py"], input=asked, capture_output=True, text=True, timeout=HANG, check=False
    )
    found = {}
    for line in child.stdout.splitlines():
        row = json.loads(line)
        found.setdefault(row["name"], {}).update(row)
    done = [row for row in found.values() if "code" in row]
    for what in ("seconds", "megabytes"):
        worst = max(done, key=lambda row: row[what])
        notes.append(f"hostile files: {len(done)} read; most {what}: {worst[what]} ({worst['name']})")
    return found


# In the quick set: of the files of hostile_corpus every fourth, of what the later modules add a few.
FIRST = 244


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name, marks=() if n % (4 if n < FIRST else 24) == 0 else pytest.mark.slow)
        for n, name in enumerate(hostile_corpus.names())
    ],
)
def test_a_bad_file_is_refused(name: Any, cases: Any, results: Any) -> None:
    row = results.get(name, {})
    assert "code" in row, "the process ended here" if row else "the process ended before"
    assert row["code"] in cases[name].codes, row["err"]
    assert row["megabytes"] < MOST_MEGABYTES
    said = row["out"] + row["err"]
    assert all(c.isprintable() or c == "\n" for c in said)
    assert "Traceback" not in said
    if row["code"]:
        error, fix = row["err"].splitlines()[-2:]
        assert error.startswith("error ")
        assert fix.startswith("fix ")


def test_the_corpus_is_large() -> None:
    codes = hostile_corpus.codes()
    assert len(codes) >= 500
    assert sum(right == (hostile_corpus.REJECTED,) for right in codes.values()) >= 100


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["constant of shape bomb", "data in a pipe", "if in if 1000 deep", "bomb.png"])
def test_a_process_of_its_own(name: str, cases: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onnxlrp", *words(cases[name], tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == ""
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["error", "fix"]
    assert list(tmp_path.iterdir()) == []


def test_sound_files_with_evil_names_are_shown_escaped(cases: Any, results: Any) -> None:
    row = results[EVIL]
    assert row["code"] == 0
    assert "\\x1b[31m" in row["out"]
    assert "\\u202e" in row["out"]
