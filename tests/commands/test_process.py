"""The console script: what remains when the process ends without taking the interpreter down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.command_line import DIGITS, SEVEN

_BEFORE = """
import atexit, sys, threading, time
from pathlib import Path
atexit.register(Path('exit').write_text, 'called')
threading.Thread(target=lambda: (time.sleep(0.3), Path('thread').write_text('ended'))).start()
from onnxlrp.cli import process
sys.argv[0] = 'onnxlrp'
process()
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [(["explain", str(DIGITS), str(SEVEN)], 0), (["explain", str(DIGITS), "nowhere.png"], 3), ([], 2)],
)
def test_threads_and_exit_functions_end_and_the_code_is_that_of_the_command(
    tmp_path: Path, words: list[str], code: int
) -> None:
    done = subprocess.run([sys.executable, "-c", _BEFORE, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "exit").read_text() == "called"
    assert (tmp_path / "thread").read_text() == "ended"
    assert ("top-3" in done.stdout) == (code == 0)
    assert bool(done.stderr) == (code != 0)


def test_a_pool_of_threads_that_nobody_shut_down_does_not_hold_the_process(tmp_path: Path) -> None:
    script = (
        "from concurrent.futures import ThreadPoolExecutor; from onnxlrp import cli\n"
        "pool = ThreadPoolExecutor(1); pool.submit(print, 'worked'); cli.main = lambda: 7; cli.process()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (7, "worked\n")


def test_what_is_written_last_reaches_a_pipe(tmp_path: Path) -> None:
    script = "import sys; from onnxlrp import cli; cli.main = lambda: print('x' * 100_000, end='') or 0; cli.process()"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(done.stdout) == 100_000
