"""Precisions by name: what they select, who has them, and that what was chosen is written down."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.compile import compile
from onnxlrp.engines import Forward
from onnxlrp.engines.cuda.engine import Cuda
from onnxlrp.engines.cuda.listing import listing
from onnxlrp.engines.cuda.runtime.device import EmulatedDevice
from onnxlrp.engines.factory import make_engine
from onnxlrp.errors import UsageError
from onnxlrp.graph.load import load
from onnxlrp.methods.registry import make_composite
from support.paths import MODELS

DIGITS = str(MODELS / "digits.onnx")
X = np.random.default_rng(0).random((1, 1, 28, 28)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def built() -> None:
    """These tests run the emulator, or are skipped where it was not built."""
    try:
        EmulatedDevice()
    except UsageError as error:
        pytest.skip(error.message)


@pytest.mark.parametrize(
    ("given", "chosen"), [({}, "exact"), ({"precision": "exact"}, "exact"), ({"precision": "fast"}, "fast")]
)
def test_a_precision_is_chosen_by_name_and_written_down(given: dict[str, Any], chosen: str) -> None:
    model = onnxlrp.load(DIGITS, engine="emulator", **given)
    made: Any = model.engine
    assert made.precision == chosen
    assert model.explain(X).provenance["precision"] == chosen
    made = make_engine("emulator", **given)
    assert made.precision == chosen


def test_fast_is_further_off_than_exact_and_neither_is_far() -> None:
    def relevance(**how: Any) -> Any:
        return onnxlrp.load(DIGITS, **how).explain(X, method="epsilon_plus").relevance

    wanted = relevance(engine="reference")
    exact, fast = (np.linalg.norm(relevance(engine="emulator", precision=p) - wanted) for p in ("exact", "fast"))
    assert 10 * exact < fast < 5e-3 * np.linalg.norm(wanted)


def test_the_forward_pass_is_tf32_where_precision_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(EmulatedDevice, "session", lambda self, model, tensors, tf32: asked.append(tf32))
    program = compile(load(DIGITS), make_composite("gradient"), mode="index")
    forward = Forward(lambda dtype, tensors: None, ("image",))
    for precision in (None, "exact", "fast"):
        Cuda(EmulatedDevice(), precision).prepare(forward, program)
    assert asked == [False, False, True]


OWN = types.SimpleNamespace(name="own", prepare=None)
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "ort": ({"engine": "ort", "precision": "fast"}, "ort has no option precision"),
    "auto": ({"precision": "exact"}, "ort has no option precision"),
    "reference": ({"engine": "reference", "precision": "exact"}, "reference has no option precision"),
    "a name that is none": ({"engine": "emulator", "precision": "fsat"}, "no precision"),
    "an engine that is made": ({"engine": OWN, "precision": "fast"}, "that is made"),
    "providers": ({"engine": "emulator", "providers": ["CPUExecutionProvider"]}, "emulator has no option providers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_engine_does_not_have_is_refused(name: str) -> None:
    how, said = REFUSED[name]
    with pytest.raises(UsageError, match=said) as caught:
        onnxlrp.load(DIGITS, **how)
    assert caught.value.fix


def test_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture, out = str(MODELS / "samples" / "digit_7.png"), str(tmp_path / "out.json")
    assert main(["explain", DIGITS, picture, "--engine", "emulator", "--precision", "fast", "-o", out]) == 0
    assert json.loads(Path(out).read_text())["provenance"]["precision"] == "fast"
    assert main(["explain", DIGITS, picture, "--precision", "fast", "-o", out]) == 2
    assert "--engine cuda" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_inspect_shows_the_kernels_of_a_precision(capsys: pytest.CaptureFixture[str], precision: str) -> None:
    words = ["inspect", DIGITS, "--engine", "cuda", "--precision", precision]
    assert main(words) == 0
    out = capsys.readouterr().out
    other = {"exact": "fast", "fast": "exact"}[precision]
    assert f"precision {precision}" in out
    assert f"gemm_{precision}_" in out
    assert f"gemm_{other}_" not in out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kernels"]["precision"] == precision


@pytest.mark.parametrize(("words", "said"), [([], "is for kernels"), (["--engine", "cuda"], "no precision")])
def test_inspect_refuses(capsys: pytest.CaptureFixture[str], words: list[Any], said: str) -> None:
    assert main(["inspect", DIGITS, *words, "--precision", "fsat"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_nothing_is_a_plain_convolution_by_default(name: str) -> None:
    program = compile(load(MODELS / f"{name}.onnx"), make_composite("epsilon_alpha2_beta1"), mode="index")
    for batch in (1, 16):
        names = {kernel.name for item in listing(program, batch).items for kernel in item.kernels}
        assert any(kernel.startswith("gemm_exact_") for kernel in names)
        assert not any(kernel.startswith("conv_") for kernel in names)
