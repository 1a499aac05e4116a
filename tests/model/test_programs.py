"""The programs that a model keeps."""

from __future__ import annotations

import weakref
from typing import Any

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
