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
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import OnnxLrpError, UnsupportedError
from support import advice, small_nets
from support.command_line import DIGITS, SCENE, SEVEN, SHAPES, folder
from support.open_models import pooled

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


def absorbing(depthwise: bool) -> None:
    """x [N, 2, 4, 4] → a convolution whose bias is large → the sum."""
    n = small_nets.Net(2, 4, 4)
    weight = np.ones((2, 1 if depthwise else 2, 1, 1), np.float32)
    h = n.relu(n.op("Conv", "x", weight, np.array([90, 80], np.float32), group=2 if depthwise else 1))
    h = n.op("Flatten", n.op("GlobalAveragePool", h))
    onnx.save(n.model(n.op("MatMul", h, np.eye(2, 3, dtype=np.float32))), "m.onnx")
    np.save("x.npy", np.ones((1, 2, 4, 4), np.float32))


@pytest.mark.parametrize("depthwise", [False, True])
def test_layers_that_absorb_the_logit_are_named_by_what_they_are(depthwise: bool, run: Any) -> None:
    absorbing(depthwise)
    said = "".join(run(0, "explain", "m.onnx", "x.npy", "-m", "epsilon", "--kind", "image", "--format", "json"))
    assert "the heatmap shows the small rest" in said
    assert ("depthwise" in said) == depthwise


@pytest.mark.parametrize(("bias", "small"), [(900, True), (-9.2, False)])
def test_a_rest_that_is_not_small_is_not_said_to_be(bias: float, small: bool, run: Any) -> None:
    """Relevance of the inputs sums to 9, of a logit of 909 or of -0.2."""
    n = small_nets.Net(4)
    onnx.save(n.model(n.op("Gemm", n.relu("x"), np.ones((4, 1), np.float32), np.array([bias], np.float32))), "m.onnx")
    np.save("x.npy", np.full((1, 4), 2.25, np.float32))
    said = "".join(run(0, "explain", "m.onnx", "x.npy", "-m", "epsilon", "--format", "json"))
    assert "biases and stabilisers absorb nearly" in said
    assert ("the small rest" in said) == small
    assert ("no small rest" in said) != small


def test_an_input_that_acts_through_integers_is_not_said_to_have_no_part(run: Any) -> None:
    table("Cast")
    with pytest.raises(UnsupportedError) as caught:
        onnxlrp.load("table.onnx").explain(np.ones((1, 4), np.float32), method="epsilon")
    assert "does not depend" not in caught.value.message
    assert "-m occlusion" in caught.value.fix
    run(0, "explain", "table.onnx", "x.npy", "-m", "occlusion", "--format", "json")


@pytest.mark.slow
@pytest.mark.parametrize("size", [[], ["--size", "16"]])
def test_no_command_asks_for_a_crop_of_pictures_at_their_own_size(size: list[str], run: Any) -> None:
    """What is assumed is the same for all; of pictures that are brought to a size the crop too."""
    onnx.save(pooled("h", "w"), "m.onnx")
    Path("in").mkdir()
    for name, shape in (("a", (20, 31, 3)), ("b", (24, 20, 3))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)).save(f"in/{name}.png")
    said = {
        "explain": run(0, "explain", "m.onnx", "in", "-m", "epsilon", "--format", "json", *size),
        "evaluate": run(0, "evaluate", "m.onnx", "in", "--methods", "epsilon", "--metric", "conservation", *size),
        "compare": run(0, "compare", "m.onnx", "m.onnx", "in", "-m", "epsilon", *size),
        "check": run(0, "check", "m.onnx", "in", *size),
    }
    assumed = {name: set(re.findall(r"not stated: ([\w, ]+)", "".join(text))) for name, text in said.items()}
    geometry = ", resize, crop" if size else ""
    assert assumed == {name: {f"color, scale, mean, std{geometry}"} for name in said}


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


def write_models() -> None:
    """Files in this folder: a table, one that is read as integers, a recurrent network, a map."""
    for op, name in (("Gemm", "gemm.onnx"), ("Cast", "cast.onnx")):
        Path(table(op)).rename(name)
    value = helper.make_tensor_value_info
    weights = {"w": np.ones((1, 8, 3)), "r": np.ones((1, 8, 2)), "first": np.array([0])}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(
            "LSTM", ["t", "w", "r"], ["", "h"], hidden_size=2, activations=["Sigmoid", "ThresholdedRelu", "Tanh"]
        ),
        helper.make_node("Squeeze", ["h", "first"], ["y"]),
    ]
    stored = [
        numpy_helper.from_array(array.astype(np.float32 if name != "first" else np.int64), name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 1, ["N", 5, 3])], [value("y", 1, ["N", 2])], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "lstm.onnx")
    np.save("seq.npy", np.full((5, 3), 0.3, np.float32))
    n = small_nets.Net(3, 16, 16)
    onnx.save(n.model(n.conv(n.relu(n.conv("x", 3, 3)), 3, 4)), "map.onnx")
    np.save("img.npy", np.zeros((3, 16, 16), np.float32))
    folder("digits", range(3))


PROVOKING = [
    "explain gemm.onnx x.npy -m epsilon",
    "explain cast.onnx x.npy -m epsilon",
    "explain lstm.onnx seq.npy -m epsilon",
    "explain lstm.onnx seq.npy",
    "export lstm.onnx -o e.onnx",
    "atlas lstm.onnx seq.npy",
    "explain map.onnx img.npy",
    f"explain {SHAPES} {SCENE} -t sta",
    f"explain {DIGITS} digits -o x.png",
    f"explain {DIGITS} {SEVEN} -m gradcam",
    f"explain {DIGITS} {SEVEN} --engine cuda",
    f"compare {DIGITS} {DIGITS} {SEVEN}",
    f"explain {DIGITS} {SEVEN} nowhere.png -o out",
]
# A flag with a value that is no place to fill in, such as NAME or HxW.
CONCRETE = re.compile(
    r"(?<![\w-])(-[a-zA-Z]|--[a-z][a-z-]+)(?: ('[^']+'|[a-z0-9][\w=.*-]*(?:,[\w=.*-]+)*))?(?! [A-Z@])(?=$|[ ;,:)])"
)


@pytest.mark.few(3)
@pytest.mark.parametrize("line", PROVOKING)
def test_the_flags_of_a_fix_run_on_the_model_that_it_is_said_of(line: str, execute: Any) -> None:
    """With each flag that a fix states, the command, or `explain` where the fix names it, is one that can be typed."""
    write_models()
    words = line.split()
    code, said = execute(*words)
    fixes = [text[8:] for text in said.err.splitlines() if text.startswith("fix ")]
    assert fixes
    for fix in fixes:
        named = re.search(r"onnxlrp ([a-z]+) ", fix)
        for flag, value in CONCRETE.findall(fix):
            other = named is not None and named[1] != words[0]
            command = [named[1], words[1], "seq.npy"] if other else list(words)
            value = shlex.split(value)[0] if value and not re.fullmatch("shows|states|is|ranks|if", value) else ""
            if flag in command:
                at = command.index(flag)
                del command[at : at + 2]
            found, now = execute(*command, flag, *filter(None, [value]))
            assert found not in (2, 70), f"{fix}: {command} {flag} {value}: {now.err}"
            if code == 4 and flag in ("-m", "--method"):
                assert found == 0, f"{fix}: {now.err}"


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


def test_an_empty_heatmap_is_said(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    """A score of counts has a value and no slope: nothing reaches the input."""
    monkeypatch.chdir(tmp_path)
    model = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 6] x) => (float[N, 2] y)
        { p = Greater(x, zero) f = Cast<to=1>(p) c = ReduceSum(f, one) a = Tanh(x) s = ReduceSum(a, one)
          y = Concat<axis=1>(c, s) }""")
    stored = {"zero": np.array(0, np.float32), "one": np.array([1])}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in stored.items())
    onnx.save(model, "counts.onnx")
    np.save("x.npy", np.arange(6, dtype=np.float32) - 2)
    assert main(["explain", "counts.onnx", "x.npy", "-t", "0", "-o", "o.png"]) == 0
    printed = capsys.readouterr()
    assert "its heatmap is empty" in printed.out + printed.err
