"""Help and versions, and what is imported before a command is chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import onnxlrp
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.methods.registry import METHODS
from support.command_line import DIGITS, SEVEN, spawn


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys, onnxlrp\n"
        "from onnxlrp.cli import main\n"
        "for words in (['--help'], ['explain', '--help'], ['--version']): assert main(words) == 0\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'PIL', 'cupy'}\n"
        "assert not heavy & {name.partition('.')[0] for name in sys.modules}, heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "exit codes" in done.stdout
    assert onnxlrp.__version__ in done.stdout


@pytest.mark.slow
def test_a_heatmap_by_a_composite_loads_only_what_it_needs(tmp_path: Path) -> None:
    """A first answer is mostly imports: methods, masked arrays and the like come when they are asked for."""
    code = (
        "import sys\n"
        "from onnxlrp.cli import main\n"
        f"assert main(['explain', {DIGITS!r}, {SEVEN!r}, '-o', {str(tmp_path / 'x.png')!r}, '-q']) == 0\n"
        "print(*sorted(name for name in sys.modules if not name.startswith('PIL')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "onnxlrp.methods.registry" in loaded
    others = {entry.make.__module__ for entry in METHODS.values() if not entry.is_composite}
    assert others
    assert not loaded & others
    assert not loaded & {"numpy.ma", "difflib", "tomllib", "torch", "onnxlrp.checks"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(run: Any, command: str) -> None:
    """What must be given stands in the first line, whatever else there is."""
    out, err = run(0, command, "--help")
    first = out.splitlines()[0]
    assert first.startswith(f"usage: onnxlrp {command} ")
    assert first.endswith(" [options]")
    assert all(len(line) <= 120 for line in out.splitlines())
    assert not err
    if command == "explain":
        assert first == "usage: onnxlrp explain MODEL INPUT ... [options]"


def test_python_m_onnxlrp() -> None:
    done = spawn("--version")
    assert (done.returncode, done.stdout) == (0, f"onnxlrp {onnxlrp.__version__}\n")
