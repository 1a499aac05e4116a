"""benchmarks/runtimes.py on the runtimes at hand: a record for each cell, and what is not there is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtimes

from support.paths import ROOT


def test_relative_errors() -> None:
    b = np.array([3.0, 4.0])
    assert runtimes.apart(b, b) == 0
    assert runtimes.apart(b + np.array([0, 5.0]), b) == 1
    assert "shape" in str(runtimes.apart(b[:1], b))
    assert "not finite" in str(runtimes.apart(b * np.nan, b))


def test_a_runtime_that_is_not_there_has_no_version(tmp_path: Path) -> None:
    assert runtimes.version("onnxruntime, basic", None)
    assert runtimes.version("onnxruntime-node", None) is None
    assert runtimes.version("onnxruntime-node", tmp_path) is None
    (tmp_path / "onnxruntime-node").mkdir()
    (tmp_path / "onnxruntime-node" / "package.json").write_text('{"version": "1.2"}')
    assert runtimes.version("onnxruntime-node", tmp_path) == "1.2"


@pytest.mark.slow
def test_a_failure_is_an_answer_in_words(tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"no model")
    found = runtimes.run("onnx.reference", path, {"x": np.zeros(1, np.float32)}, ["y"], None)
    assert isinstance(found, str)
    assert "rror" in found


@pytest.mark.slow
def test_every_cell_is_recorded(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    script = str(ROOT / "benchmarks" / "runtimes.py")
    words = [sys.executable, script, "--networks", "digits", "--runtimes", "onnxruntime, a"]
    words += ["--methods", "gradient", "-o", str(out)]
    subprocess.run(words, check=True, capture_output=True)
    found: dict[str, Any] = json.loads(out.read_text())
    cells = {(record["method"], record["form"]) for record in found["records"]}
    assert len(cells) == len(found["records"]) == len(runtimes.FORMS)
    for record in found["records"]:
        assert record["relevance"] < (1e-2 if "fp16" in record["form"] else 1e-5)
