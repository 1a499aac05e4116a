"""Models, pictures and folders for tests of the command line, and the command as a process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from .paths import MODELS

DIGITS, SHAPES = str(MODELS / "digits.onnx"), str(MODELS / "shapes.onnx")
SEVEN = str(MODELS / "samples" / "digit_7.png")
SCENE = str(next((MODELS / "samples").glob("scene_[a-z]*[!k].png"), ""))


def written() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def folder(name: str, digits: range = range(10)) -> Path:
    made = Path(name)
    made.mkdir()
    for digit in digits:
        shutil.copy(MODELS / "samples" / f"digit_{digit}.png", made)
    return made


def spawn(*words: object, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "onnxlrp", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, **more)


def one_layer(op: str, path: str = "odd.onnx", shape: tuple[int, ...] = (3, 8, 8), **attributes: Any) -> str:
    """A model of one operator without weights."""
    dims: list[str | int | None] = ["N", *shape]
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], name="odd_node", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
