"""The options of onnxruntime's sessions: our own, or those that the caller made."""

from __future__ import annotations

from typing import Any

import onnxruntime
import pytest

from onnxlrp.compile import compile
from onnxlrp.engines.ort import Ort
from onnxlrp.methods.registry import make_composite
from support import small_nets


@pytest.mark.parametrize("own", [False, True])
def test_memory_is_not_planned_unless_the_caller_wants_it(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planned would be held beside what the allocator keeps."""
    seen: list[Any] = []
    plain = onnxruntime.InferenceSession

    def opened(model: Any, options: Any, *rest: Any, **more: Any) -> Any:
        seen.append(options)
        return plain(model, options, *rest, **more)

    given = onnxruntime.SessionOptions() if own else None
    graph = small_nets.graph("plain")
    program = compile(graph, make_composite("gradient"), mode="index")
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    Ort(["CPUExecutionProvider"], given).prepare(small_nets.forward(graph), program)
    assert [options.enable_mem_pattern for options in seen] == [own]
    assert seen[0] is given or not own
