"""Commands are run in an empty folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnxlrp.cli import main
from support import advice, small_nets


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """`run(code, *words)` runs a command, wants that exit code, and gives what it said on stdout and stderr."""

    def call(code: int, *words: object) -> tuple[str, str]:
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err or "-vv" in words
        for fix in (line[8:] for line in said.err.splitlines() if line.startswith("fix ")):
            assert not advice.wrong(fix), fix
        return said.out, said.err

    return call


@pytest.fixture
def execute(capsys: pytest.CaptureFixture[str]) -> Any:
    """`execute(*words)` runs a command, and gives its exit code and what it said."""

    def call(*words: object) -> tuple[int, Any]:
        code = main([str(word) for word in words])
        return code, capsys.readouterr()

    return call


@pytest.fixture
def refused(run: Any) -> Any:
    """`refused(code, words...)` wants that code, nothing on stdout, and the two lines of an error."""

    def call(code: int, *words: object, quiet: bool = True) -> tuple[str, str]:
        out, err = run(code, *words)
        assert not (quiet and out)
        lines = err.strip().splitlines()
        assert len(lines) == 2, err
        assert lines[0].startswith("error ")
        assert lines[1].startswith("fix ")
        return lines[0][8:], lines[1][8:]

    return call


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> str:
    """An operator of which the table of operators knows nothing."""
    from onnxlrp.layers import LAYERS

    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    return "Tanh"
