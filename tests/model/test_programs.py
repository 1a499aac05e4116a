"""The programs that a model keeps."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.model import programs
from support.paths import MODELS


class _Counting:
    """An engine that prepares nothing, and counts what is alive."""

    name = "counting"

    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.prepared = 0

    def prepare(self, forward: Any, program: Any) -> Any:
        def run(inputs: Any) -> Any:
            raise AssertionError("not run")

        self.alive.add(run)
        self.prepared += 1
        return run


def test_the_programs_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "KEPT", 3)
    engine = _Counting()
    model = onnxlrp.load(MODELS / "digits.onnx", engine=engine)

    def ask(gamma: float) -> None:
        model.prepare(method="gamma", gamma=gamma)

    for gamma in (0.1, 0.2, 0.3, 0.1, 0.4):  # 0.2 is the one that was not used for longest
        ask(gamma)
    assert (engine.prepared, len(engine.alive)) == (4, 3)
    for gamma in (0.1, 0.3, 0.4):
        ask(gamma)
    assert engine.prepared == 4
    ask(0.2)
    assert engine.prepared == 5


def test_large_programs_are_kept_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _Counting()
    model = onnxlrp.load(MODELS / "digits.onnx", engine=engine)
    weights = 4 * sum(int(np.prod(t.dims)) for t in onnx.load(MODELS / "digits.onnx").graph.initializer)
    forward, rules = (programs.weight_bytes(model.graph, one) for one in (None, model.composite("zplus")))
    assert rules == 2 * forward
    assert weights / 2 < forward < 2 * weights
    monkeypatch.setattr(programs, "KEPT_BYTES", 3 * rules)
    for gamma in (0.1, 0.2, 0.3, 0.1, 0.4):
        model.prepare(method="gamma", gamma=gamma)
    assert (engine.prepared, len(engine.alive)) == (4, 3)
    assert sum(model._programs.sizes.values()) == 3 * rules
    monkeypatch.setattr(programs, "KEPT_BYTES", 1)  # the last two stay, however large they are
    model.prepare(method="gamma", gamma=0.5)
    model.prepare(method="gamma", gamma=0.4)
    assert (engine.prepared, len(engine.alive)) == (5, 2)
