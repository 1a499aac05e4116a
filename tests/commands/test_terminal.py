"""Files written whole, pipes, colours, and names with control characters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command_line import DIGITS, SEVEN, folder, spawn


def test_files_are_renamed_into_place(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []
    replace = os.replace

    def watch(source: Any, target: Any) -> None:
        seen.append((Path(target).name, Path(target).exists()))
        assert Path(source).parent.resolve() == Path(target).parent.resolve()
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    run(0, "explain", DIGITS, SEVEN, "--format", "png,npz,json")
    run(0, "export", DIGITS, "-o", "e.onnx")
    assert seen == [(f"digit_7.7.{kind}", False) for kind in ("png", "npz", "json")] + [("e.onnx", False)]


def test_control_characters_of_names_are_escaped(refused: Any, run: Any) -> None:
    what, _ = refused(3, "explain", DIGITS, "evil\x1b[31m\u202e.png")
    assert "\x1b" not in what
    assert "\\x1b[31m\\u202e" in what
    shutil.copy(SEVEN, "a\x1b[31m.png")
    out, _ = run(0, "explain", DIGITS, "a\x1b[31m.png")
    assert "\x1b" not in out


@pytest.mark.slow
def test_a_closed_pipe_is_no_error() -> None:
    folder("in", range(3))
    command = f"{sys.executable} -m onnxlrp explain {DIGITS} in | head -c 0; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["141"]
    assert done.stderr == ""


@pytest.mark.slow
def test_an_ascii_terminal_gets_question_marks() -> None:
    done = spawn("explain", DIGITS, SEVEN, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "?R " in done.stdout


@pytest.mark.few(1)
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")
@pytest.mark.parametrize("no_color", [False, True])
def test_colour_and_progress_on_a_terminal_alone(no_color: bool) -> None:
    import pty

    folder("in", range(3))
    ours, theirs = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "80"}
    env |= {"NO_COLOR": "1"} if no_color else {}
    command = [sys.executable, "-m", "onnxlrp", "explain", DIGITS, "in", "nothing.png", "--on-error", "skip"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    os.close(ours)
    assert process.wait() == 3
    assert b"] 0/4" in said
    assert (b"\x1b[1mprep" in said) is not no_color
    assert (b"\x1b[31merror" in said) is not no_color
    piped = spawn("explain", DIGITS, "in")
    assert "\x1b" not in piped.stdout
    assert piped.stderr == ""
