"""Advice that commands print: it fits the model, and what is a command runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import OnnxLrpError, UnsupportedError
from support import advice
from support.command_line import DIGITS, SEVEN

PACKAGE = Path(onnxlrp.__file__).parent


def table(op: str) -> str:
    """x [N, 4] → one operator → 3 scores, with biases that absorb nearly everything."""
    rng = np.random.default_rng(0)
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Cast", ["i"], ["h"], to=TensorProto.FLOAT),
    ]
    if op == "Gemm":
        nodes = [helper.make_node("Relu", ["x"], ["h"])]
    nodes.append(helper.make_node("Gemm", ["h", "w", "b"], ["y"]))
    weights = [
        numpy_helper.from_array(rng.normal(size=(4, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array([90, 80, 70], np.float32), "b"),
    ]
    graph = helper.make_graph(nodes, "t", [value("x", 1, ["N", 4])], [value("y", 1, ["N", 3])], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), "table.onnx")
    np.save("x.npy", np.array([[1.5, 2.5, 0.5, 3.5]], np.float32))
    return "table.onnx"


def test_methods_that_are_proposed_for_a_table_run_on_it(run: Any) -> None:
    said = "".join(run(0, "explain", table("Gemm"), "x.npy", "-m", "epsilon", "--format", "json"))
    (asked,) = re.findall(r"-m (\S+,\S+)((?: --\w+)*)", said)
    run(0, "explain", "table.onnx", "x.npy", "-m", asked[0], *asked[1].split())


def test_an_input_that_acts_through_integers_is_not_said_to_have_no_part(run: Any) -> None:
    table("Cast")
    with pytest.raises(UnsupportedError) as caught:
        onnxlrp.load("table.onnx").explain(np.ones((1, 4), np.float32), method="epsilon")
    assert "does not depend" not in caught.value.message
    assert "-m occlusion" in caught.value.fix
    run(0, "explain", "table.onnx", "x.npy", "-m", "occlusion", "--format", "json")


@pytest.mark.parametrize(
    "words",
    [
        ["explain", DIGITS, SEVEN, "-m", "gama"],
        ["explain", DIGITS, SEVEN, "--cmap", "sesmic"],
        ["explain", DIGITS, SEVEN, "-o", "map.jpg"],
        ["explain", DIGITS, SEVEN, "--engine", "otr"],
        ["explain", DIGITS, SEVEN, SEVEN, "-o", "x.png"],
        ["export", DIGITS, "-o", "explainer"],
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_a_fix_that_is_a_word_or_a_flag_works(words: list[str], refused: Any, run: Any) -> None:
    """The word in quotes replaces the wrong one; flags replace their own, or are added."""
    _, fix = refused(2, *words)
    flags = re.search(r"(-\w|--[\w-]+) ('[^']+'|\S+)", fix)
    if flags:
        flag, value = flags[1], shlex.split(flags[2])[0]
        at = words.index(flag) if flag in words else len(words)
        run(0, *words[:at], flag, value, *words[at + 2 :])
    else:
        run(0, *words[:-1], re.findall(r'"([^"]+)"', fix)[0])


def test_no_text_installs_from_an_index_that_has_no_such_package() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"pip install \S*onnxlrp\b", path.read_text(encoding="utf-8")), path


def test_every_error_of_the_commands_has_a_fix(capsys: pytest.CaptureFixture[str]) -> None:
    assert issubclass(UnsupportedError, OnnxLrpError)
    assert main(["explain", "none.onnx", "x.npy"]) == 3
    assert "fix " in capsys.readouterr().err


@pytest.fixture(scope="module")
def fixes() -> list[advice.Fix]:
    return sorted(set(advice.fixes()))


def test_the_sources_have_fixes(fixes: list[advice.Fix]) -> None:
    assert len(fixes) > 300
    assert sum(bool(advice.flags(fix.text)) for fix in fixes) > 80


def test_every_flag_command_and_method_of_a_fix_exists(fixes: list[advice.Fix]) -> None:
    """Of all errors and notes in the sources, whether a test provokes them or not."""
    found = [f"{fix.where}: {what}" for fix in fixes for what in advice.wrong(fix.text)]
    assert not found, "\n".join(found)
