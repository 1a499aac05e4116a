"""Reading and writing files: pipes, devices, modes and folders."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import onnxlrp
from onnxlrp import files
from onnxlrp.errors import InputError
from support.paths import MODELS

unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices in the file system")


@unix
@pytest.mark.parametrize("name", ["pipe", "/dev/zero"])
def test_pipes_and_devices_are_no_text(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular"):
        files.read_text(tmp_path / name, 1 << 20)


@unix
def test_files_beside_a_model_that_are_pipes_do_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes((MODELS / "digits.onnx").read_bytes())
    os.mkfifo(tmp_path / "config.json")  # another program's file: not used
    assert onnxlrp.load(path).classes == 10
    os.mkfifo(tmp_path / "m.prep.toml")  # ours: refused
    with pytest.raises(InputError, match="regular"):
        _ = onnxlrp.load(path).preprocessing
    with pytest.raises(InputError, match="regular"):
        _ = onnxlrp.load(MODELS / "digits.onnx", prep={"labels": "/dev/zero"}).labels


def test_text_is_bounded_and_loses_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfword")
    assert files.read_text(path, 7) == "word"
    with pytest.raises(OSError, match="larger"):
        files.read_text(path, 6)


_RACE = """
import os, sys, threading
from onnxlrp import files
os.umask(0o027)
def write(n):
    for k in range(50): files.replace(f"{sys.argv[1]}/{n}_{k}", b"x")
threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
assert os.umask(0) == 0o027
"""


@unix
def test_a_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _RACE, str(tmp_path)], check=True, timeout=60)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = files.replace(tmp_path / "a" / "b" / "c.txt", b"x")
    assert path.read_bytes() == b"x"
    with pytest.raises(InputError):
        files.replace(path / "d.txt", b"x")
