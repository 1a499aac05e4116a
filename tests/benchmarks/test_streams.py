"""benchmarks/streams.py on few pictures: every contender runs, and the numbers are of what they are said to be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import streams
from PIL import Image

from support.paths import MODELS, ROOT


def test_pictures_and_what_is_compared(tmp_path: Path) -> None:
    streams.make(tmp_path / "pictures", 3, (40, 32))
    sizes = [Image.open(path).size for path in sorted((tmp_path / "pictures").iterdir())]
    assert len(sizes) == 3
    assert all(24 <= width <= 32 and 30 <= height <= 40 for width, height in sizes)
    for name, scale in (("a", 1.0), ("b", 1.5)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "0.3.npz", relevance=scale * np.ones((1, 3, 2, 2)))
    assert streams.apart(tmp_path / "b", tmp_path / "a") == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_run_of_few_pictures(tmp_path: Path) -> None:
    out = tmp_path / "streams.json"
    words = ["--pictures", "5", "--rounds", "1", "--memory", "4,8", "--no-zennit", "-o", str(out)]
    command = [sys.executable, str(ROOT / "benchmarks" / "streams.py"), str(MODELS / "shapes.onnx"), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    found = json.loads(out.read_text())
    assert {*found["seconds"]} == {"onnxlrp", "decoding", "computing"}
    assert {*found["memory"]["peak bytes"]} == {"4", "8"}
    assert min(found["memory"]["peak bytes"].values()) > 20e6
