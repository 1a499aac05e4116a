"""Every option of every command, with values that fit by chance: an exit code of the help, never that of a bug."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxlrp import cli
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.parser import Parser

ODD = (
    "", "nothing", "-1", "0", "nan", "1e999", "9" * 30, "a=b", "=", "[", "x" * 5000, "\u202e\x1b[31m", "/dev/null/x",
    ",",
)  # fmt: skip
KNOWN = {0, 1, 2, 3, 4, 5}
WORDS = {
    "explain": ["m.onnx", "x.npy", "-o", "out.npz"],
    "inspect": ["m.onnx"],
    "export": ["m.onnx", "-o", "e.onnx"],
    "check": ["m.onnx", "--samples", "x.npy"],
    "compare": ["m.onnx", "m.onnx", "x.npy"],
    "patterns": ["m.onnx", "x.npy", "-o", "p.npz"],
    "report": ["out.npz"],
    "evaluate": ["m.onnx", "x.npy", "--methods", "gradient", "--metrics", "localization"],
    "doctor": [], "methods": [], "rules": [], "operators": [],
}  # fmt: skip
# Of a command that is not among these, the words of a call are missing: usage errors are seen alone.


def options(command: str) -> list[str]:
    """The options of a command that take a value."""
    parser = Parser(prog="onnxlrp")
    COMMANDS[command][1](parser)
    return [
        action.option_strings[-1]
        for action in parser._actions
        if action.option_strings and action.nargs != 0 and not isinstance(action, argparse._HelpAction)
    ]


CASES = [(command, option) for command in COMMANDS for option in options(command)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, a sample, and an explanation of it."""
    home = tmp_path_factory.mktemp("command_lines")
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 3, 3, 3)), "v": rng.normal(size=(4, 2))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]), helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["N", 2])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), home / "m.onnx")
    np.save(home / "x.npy", rng.normal(size=(3, 8, 8)).astype(np.float32))
    return home


@pytest.mark.slow
def test_the_commands_end_well(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(folder)
    assert set(WORDS) <= set(COMMANDS)
    for command, words in WORDS.items():
        assert cli.main([command, *words]) in KNOWN, capsys.readouterr().err


@pytest.mark.few(8)
@pytest.mark.parametrize(("command", "option"), CASES)
def test_an_option(command: str, option: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(folder)
    bad = []
    for value in ODD:
        for words in ([option, value], [f"{option}={value}"]) if option.startswith("--") else ([option, value],):
            code = cli.main([command, *WORDS.get(command, []), *words])
            said = capsys.readouterr()
            if code not in KNOWN or "Traceback" in said.err:
                bad.append(f"{option} {value[:20]!r} -> {code}: {said.err[:60]} … {said.err[-200:]}")
            if code in (2, 3, 4):
                error, fix = said.err.splitlines()[-2:]
                assert error.startswith("error "), said.err
                assert fix.startswith("fix "), said.err
    assert not bad, "\n".join(bad)
