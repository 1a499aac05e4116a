"""`onnxlrp inspect --engine cuda`: what runs where, on a machine with neither GPU nor emulator."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from onnxlrp.cli import main
from onnxlrp.compile import compile
from onnxlrp.engines.cuda.listing import Kernel, listing
from onnxlrp.engines.cuda.planning.schedule import Scheduler
from onnxlrp.graph.load import load
from onnxlrp.methods.registry import make_composite
from support.paths import MODELS

DIGITS = str(MODELS / "digits.onnx")


@pytest.fixture(scope="module")
def program() -> Any:
    return compile(load(DIGITS), make_composite("epsilon_plus_flat"), mode="top")


@pytest.mark.parametrize("batch", [1, 16])
def test_totals_are_those_of_the_draft(program: Any, batch: int) -> None:
    found, schedule = listing(program, batch), Scheduler(program).schedule(batch)
    assert found.launches == len(schedule.launches) == sum(len(item.kernels) for item in found.items)
    assert (found.arena, found.inputs, found.batch) == (schedule.arena_bytes, schedule.input_bytes, batch)
    assert found.kernels == len({kernel.name for item in found.items for kernel in item.kernels})


def test_every_instruction_that_runs_is_in_one_item(program: Any) -> None:
    listed = [n for item in listing(program, 1).items for n in item.instructions]
    assert sorted(listed) == [n for n, step in enumerate(program.instructions) if not step.constant]


def test_reads_say_what_they_read(program: Any) -> None:
    items = listing(program, 1).items
    assert {item.tensor for item in items if item.what == "activation"} == set(program.reads)
    assert [item.kernels[0].name for item in items if item.what == "seed"] == ["seed_top"]


def test_sizes_without_axes_of_one_block() -> None:
    assert Kernel("k", (98, 1, 1), (256, 1, 1), 0).shape == "98 x 256"
    assert Kernel("k", (1, 16, 1), (32, 2, 1), 0).shape == "1x16 x 32x2"


@pytest.mark.parametrize("engine", ["cuda", "emulator"])
def test_the_command(capsys: pytest.CaptureFixture[str], engine: str) -> None:
    assert main(["inspect", DIGITS, "--engine", engine, "--batch", "4"]) == 0
    out = capsys.readouterr().out
    assert f"kernels {engine}, batch 4" in out
    for words in ("conv2/zplus", "seed_top", "reads relu_1", "launches of", "arena"):
        assert words in out
    assert main(["inspect", DIGITS, "--engine", engine, "--batch", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["kernels"]
    assert (found["engine"], found["batch"]) == (engine, 4)
    assert found["launches"] == sum(len(item["kernels"]) for item in found["items"])
    assert main(["inspect", DIGITS, "--json"]) == 0
    assert "kernels" not in json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_neither_a_gpu_nor_the_emulator_is_needed() -> None:
    code = (
        "import sys; sys.modules['cupy'] = sys.modules['onnxlrp._emulator'] = None\n"
        "from onnxlrp.cli import main; sys.exit(main(['inspect', sys.argv[1], '--engine', 'cuda', '-q']))"
    )
    assert subprocess.run([sys.executable, "-c", code, DIGITS], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"), [(["--engine", "ort"], "no kernels"), (["--engine", "cuda", "--batch", "0"], "--batch 0")]
)
def test_what_cannot_be_listed(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert main(["inspect", DIGITS, *words]) == 2
    error, fix = capsys.readouterr().err.strip().splitlines()
    assert said in error
    assert fix.startswith("fix")
