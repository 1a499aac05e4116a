"""benchmarks/gpu.py from end to end on the emulator, and what it does when something fails or time is up."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.engines.cuda.runtime import loaders
from onnxlrp.errors import UsageError
from support.paths import ROOT

TINY = ["--tiny", "--engine", "emulator"]


@pytest.fixture
def gpu(tmp_path: Path) -> Any:
    """The script as a module, run on the emulator: `gpu.run(words...)` gives its exit code and its JSON."""
    try:
        loaders.load("emulator")
    except UsageError as error:
        pytest.skip(error.message)
    import gpu as script

    def run(*words: Any) -> tuple[Any, Any]:
        path = tmp_path / "out.json"
        code = script.main([*TINY, "--json", str(path), *words])
        return code, json.loads(path.read_text())

    return types.SimpleNamespace(run=run, script=script)


@pytest.mark.slow
def test_from_end_to_end(gpu: Any, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *TINY, "--json", str(tmp_path / "out.json")]
    done = subprocess.run([*command, "--precisions", "plain,exact"], capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "out.json").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["failed"] == found["left out"] == []
    assert [r["ok"] for r in found["valid"]] == [True] * 4
    assert [r["batch"] for r in found["whole"]] == [1, 2]
    for record in found["whole"]:
        for precision in ("plain", "exact"):
            assert all(value > 0 for value in record[f"ours {precision}"].values())
        assert record["floor"]["ms"]["memory"] <= record["floor"]["ms"]["FP32"]
    assert len(found["layers"]) == 5
    assert all(record["ms plain"] > 0 for record in found["layers"])
    assert found["overhead"]["node µs"] > 0
    assert found["meta"]["device"] == "emulator"
    for word in ("valid: digits", "zennit/ours", "3x3 s1 g1", "0 failed"):
        assert word in done.stdout


@pytest.mark.slow
def test_a_contender_that_fails_is_reported_and_the_rest_goes_on(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gpu_findings import Unavailable

    def broken(*_: Any) -> Any:
        raise ValueError("a broken\ncontender")

    def missing(*_: Any) -> Any:
        raise Unavailable("nobody has this")

    monkeypatch.setattr(gpu.script, "zennit", broken)
    monkeypatch.setattr(gpu.script, "torch_forward", missing)
    code, found = gpu.run("--precisions", "plain", "--no-layers", "--batches", "1")
    assert code == 1
    assert found["failed"] == [{"what": "digits b1: zennit", "error": "ValueError: a broken contender"}]
    assert found["unavailable"]["nobody has this"] == "digits b1: torch"
    assert found["whole"][0]["ours plain"]
    assert "FAILED digits b1: zennit" in capsys.readouterr().out


@pytest.mark.slow
def test_wrong_numbers_are_not_valid(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpu_validation import BOUNDS

    monkeypatch.setitem(BOUNDS, "plain", 1e-12)
    code, found = gpu.run("--precisions", "plain", "--no-layers", "--batches", "1")
    assert code == 1
    assert not any(record["ok"] for record in found["valid"])


def test_it_stops_when_time_is_up(gpu: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = gpu.run("--minutes", "0")
    assert code == 1
    assert found["valid"] == found["layers"] == []
    assert "digits b1: floor" in found["left out"]
    assert "left out, for time" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    import gpu as script

    assert script.main([]) == 2
    assert "CuPy" in capsys.readouterr().err


def test_the_floor_of_one_convolution() -> None:
    import floors

    work = floors.Work(flop=67e12, bytes=4.3e12)
    assert floors.floor([work, work], floors.RATES["FP32"]) == pytest.approx(2)
    assert floors.floor([work], math.inf, bandwidth=4.3e12 / 3) == pytest.approx(3)


def test_the_script_for_a_session_on_a_gpu(tmp_path: Path) -> None:
    """It knows its steps, goes on after one that fails, and says so."""
    script = str(ROOT / "benchmarks" / "gpu_session.sh")
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": "false", "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", script, str(tmp_path / "logs"), "about", "nothing", "bench"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    assert 'no step "nothing"' in done.stderr
    summary = (tmp_path / "logs" / "summary.txt").read_text().splitlines()
    assert [line.split()[:2] for line in summary] == [["about", "FAILED"], ["bench", "FAILED"]]
