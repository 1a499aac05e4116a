"""`onnxlrp cache`, --no-cache, and what doctor says of the cache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command_line import DIGITS, SEVEN


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kept"
    monkeypatch.setenv("ONNXLRP_CACHE", str(folder))
    monkeypatch.setattr("onnxlrp.cache.store.has_foreign", lambda: False)  # other tests register some
    return folder


def without_seconds(out: str) -> list[str]:
    return [line.rpartition("  ")[0] if line.startswith("wrote") else line for line in out.splitlines()]


def test_a_second_run_says_and_writes_the_same(run: Any, cache: Path) -> None:
    plain, _ = run(0, "explain", DIGITS, SEVEN, "--no-cache", "-o", "a.npz", "--ledger")
    assert not cache.exists()
    first, _ = run(0, "explain", DIGITS, SEVEN, "-o", "a.npz", "--ledger")
    kept = Path("a.npz").read_bytes()
    assert cache.exists()
    second, err = run(0, "explain", DIGITS, SEVEN, "-o", "a.npz", "--ledger", "-v")
    assert "cache: the graph is that of an earlier run" in err
    assert "cache: the program is that of an earlier run" in err
    assert without_seconds(plain) == without_seconds(first) == without_seconds(second)
    assert Path("a.npz").read_bytes() == kept


def test_a_second_run_reads_and_compiles_nothing(run: Any, cache: Path) -> None:
    """What it would import for that is most of the time of a small model."""
    run(0, "explain", DIGITS, SEVEN, "-q")
    lines = (
        "import sys",
        "from onnxlrp.cli import main",
        f"assert main(['explain', {DIGITS!r}, {SEVEN!r}, '-q']) == 0",
        "there = ('onnx', 'onnxlrp.graph.load', 'onnxlrp.graph.loading.passes', 'onnxlrp.compile.compiler')",
        "print([name for name in there if name in sys.modules])",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stdout


def test_show_and_clear(run: Any, cache: Path) -> None:
    out, _ = run(0, "cache")
    assert out.startswith(f"cache   {cache}  empty")
    run(0, "explain", DIGITS, SEVEN, "-q")
    shown = json.loads(run(0, "cache", "--json")[0])
    assert shown["folder"] == str(cache)
    assert shown["entries"] == 2
    assert shown["bytes"] == sum(file.stat().st_size for file in cache.glob("*/*"))
    assert not shown["removed"]
    assert f"{cache}  2 entries" in run(0, "doctor")[0]
    out, _ = run(0, "cache", "--clear")
    assert "removed 2 entries" in out
    assert not list(cache.iterdir())


def test_off(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXLRP_CACHE", "off")
    assert "ONNXLRP_CACHE=off" in run(0, "cache", "--clear")[0]
    assert json.loads(run(0, "doctor", "--json")[0])["cache"]["folder"] is None


def test_a_limit_that_is_no_size_is_refused(refused: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXLRP_CACHE_SIZE", "lots")
    error, fix = refused(2, "explain", DIGITS, SEVEN)
    assert "ONNXLRP_CACHE_SIZE" in error
    assert "8G" in fix


def test_the_answer_is_given_before_the_cache_is_written(
    run: Any, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And an interrupt while it is written leaves the answer as it is, and no part of an entry."""
    seen: list[tuple[bool, bool]] = []

    def interrupted(*words: Any) -> Any:
        seen.append((Path("a.png").exists(), "wrote" in capsys.readouterr().out))
        raise KeyboardInterrupt

    monkeypatch.setattr("onnxlrp.cache.store.Store.complete", interrupted)
    _, err = run(0, "explain", DIGITS, SEVEN, "-o", "a.png")
    assert seen == [(True, True)]
    assert "interrupted" not in err
    assert Path("a.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    assert not [path for path in cache.iterdir() if "graph.onnx" in {file.name for file in path.iterdir()}]


def test_a_command_that_fails_keeps_nothing(refused: Any, cache: Path) -> None:
    refused(2, "explain", DIGITS, SEVEN, "-t", "no such class")
    assert not cache.exists() or not list(cache.iterdir())
