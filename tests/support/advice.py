"""The fixes that the package prints: their texts in the sources, and what in them is a command."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import onnxlrp
from onnxlrp.cli import _parser
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.parser import Parser

PACKAGE = Path(onnxlrp.__file__).parent
ERRORS = ("OnnxLrpError", "CheckFailed", "UsageError", "InputError", "UnsupportedError", "NothingToDo", "CannotRun")
FOREIGN = ("pip ", "nvidia-smi", "python -m", "nvcc", "git lfs")  # commands whose flags are not ours
HOLE = "\0"  # what is filled in when the text is printed


class Fix(NamedTuple):
    """A text of the sources: `HOLE` stands for what is filled in."""

    where: str
    text: str


@cache
def parser(command: str) -> Parser:
    made = _parser(f"onnxlrp {command}", "")
    COMMANDS[command][1](made)
    return made


def fixes() -> Iterator[Fix]:
    """Every fix of an error or a note, as it is written in the sources."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ERRORS or name == "note":
                    for argument in node.args[1:]:
                        for text in _texts(argument):
                            yield Fix(f"{path.relative_to(PACKAGE)}:{node.lineno}", text)


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression may be; those of a choice one by one."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(v.value) if isinstance(v, ast.Constant) else HOLE for v in node.values)]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [a + b for a in _texts(node.left) or [HOLE] for b in _texts(node.right) or [HOLE]]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _texts(node.left)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _texts(value)]
    return []


def flags(text: str) -> set[str]:
    """The flags that a fix names, those of foreign commands left out."""
    ours = re.split("|".join(FOREIGN), text)[0] if text.startswith(FOREIGN) else text
    for foreign in FOREIGN:
        ours = re.sub(rf"{foreign}[^;,]*", "", ours)
    return set(re.findall(r"(?<![\w-])--[a-z][\w-]*", ours))


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands `onnxlrp NAME …` in a fix, each with its flags."""
    found = re.findall(r"onnxlrp ([a-z]+)\b([^;,]*)", text)
    return [(name, re.findall(r"(?<![\w-])--?[a-z][\w-]*", rest)) for name, rest in found if name in COMMANDS]


def wrong(text: str) -> list[str]:
    """What in a fix no command has: flags, methods behind -m, commands."""
    from onnxlrp.methods.registry import METHODS

    everywhere = {flag for name in COMMANDS for flag in parser(name)._option_string_actions} | {"--version"}
    everywhere |= {f"--{name}-{key}".replace("_", "-") for name, entry in METHODS.items() for key in entry.options}
    found = [flag for flag in flags(text) if flag not in everywhere]
    for name, given in commands(text):
        found += [f"{name} {flag}" for flag in given if not parser(name).has(flag)]
    for word in re.findall(r"(?<!\w)(?:-m|--methods?) ([a-z_0-9,]+)(?![\w.\0{])", text):
        found += [f"-m {name}" for name in word.split(",") if name and name not in (*METHODS, "auto", "all")]
    return found
