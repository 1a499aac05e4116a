"""Passes keep a program's meaning."""

from __future__ import annotations

from typing import Any

import pytest

from onnxlrp.compile import compile
from onnxlrp.graph.load import load
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.passes import Chain, dead_code, fuse, members
from support.paths import MODELS


@pytest.fixture(scope="module", params=["epsilon_plus_flat", "epsilon_gamma_box", "gradient"])
def program(request: pytest.FixtureRequest) -> Any:
    options = {"low": -1.0, "high": 1.0} if request.param == "epsilon_gamma_box" else {}
    return compile(load(MODELS / "shapes.onnx"), make_composite(request.param, **options), ledger=True)


def test_dead_code_is_gone(program: Any) -> None:
    used = set(program.outputs.values()) | {i for step in program.instructions for i in step.inputs}
    assert used == set(range(len(program.instructions)))
    assert dead_code(program) == program


def test_fuse_runs_everything_once_and_in_order(program: Any) -> None:
    order = fuse(program)
    ran = [n for item in order for n in members(item)]
    assert sorted(ran) == [n for n, step in enumerate(program.instructions) if not step.constant]
    done = {n for n, step in enumerate(program.instructions) if step.constant}
    for item in order:
        inside = set(members(item))
        for n in members(item):
            assert set(program.instructions[n].inputs) <= done | inside
        done |= inside


def test_chains_are_elementwise_of_one_shape_and_give_what_others_need(program: Any) -> None:
    chains = [item for item in fuse(program) if isinstance(item, Chain)]
    assert max(len(chain.steps) for chain in chains) > 1
    for chain in chains:
        steps = [program.instructions[n] for n in chain.steps]
        assert {step.kind for step in steps} == {"map"}
        assert len({(step.shape, step.targets) for step in steps}) == 1
        outside = set(program.outputs.values())
        for n, step in enumerate(program.instructions):
            if n not in chain.steps:
                outside.update(step.inputs)
        assert set(chain.results) == outside & set(chain.steps)
