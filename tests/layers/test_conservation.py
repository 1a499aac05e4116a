"""Every operator: its rule in a preset conserves relevance, and its gradient is the same on every engine."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from onnxlrp.explanation import ledger
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import small_nets
from support.conformance import prepared
from support.operator_models import MODELS

TOLERANCE = 1e-4  # of Σ|R|: float32


@cache
def built(name: Any) -> Any:
    shape, inputs, build = MODELS[name]
    n = small_nets.Net(*shape)
    return small_nets.as_it_stands(n.model(n.op("Neg", build(n)), inputs=inputs))


def run(name: Any, operator: Any, method: Any, explained: Any, **options: Any) -> tuple[Any, Any, Any]:
    """The program, its outputs, and the relevance that was given."""
    graph, rng = built(operator), np.random.default_rng(2)
    x = {t.name: rng.normal(size=(2, *t.shape)).astype(np.float32) for t in graph.inputs}
    relevance = rng.uniform(0.5, 1.5, size=(2, *graph.outputs[0].shape)).astype(np.float32)
    program = small_nets.compile(graph, make_composite(method), mode="relevance", explained=explained, **options)
    return program, prepared(name, small_nets.forward(graph), program)({**x, SEED: relevance}), relevance


@pytest.mark.few(140)
@pytest.mark.parametrize("name", ["reference", "ort"])
@pytest.mark.parametrize("operator", MODELS)
def test_relevance_is_conserved(name: str, operator: Any) -> None:
    """Layer by layer, and in sum: what the inputs have and what was booked is what the outputs had."""
    for tensor in built(operator).inputs:
        program, outputs, relevance = run(name, operator, "epsilon_plus", tensor.name, ledger=True)
        rows = ledger.rows(program.notes["ledger"], outputs)
        assert rows
        for row in rows:
            assert row.conserves
            assert row.error < TOLERANCE, (row.op, row.error)
        given, kept = (r.sum(axis=tuple(range(1, r.ndim)), dtype=float) for r in (relevance, outputs["relevance"]))
        gone = sum(ledger.sums(rows).values())
        largest = max(row.scale.max() for row in rows)
        np.testing.assert_allclose(kept + gone, given, atol=TOLERANCE * max(largest, 1))


@cache
def reference(operator: Any, explained: Any) -> Any:
    return run("reference", operator, "gradient", explained)[1]


@pytest.mark.few(140)
@pytest.mark.parametrize("name", ["ort", "emulator"])
@pytest.mark.parametrize("operator", MODELS)
def test_the_gradient_is_the_reference_s(name: str, operator: Any) -> None:
    for tensor in built(operator).inputs:
        outputs, expected = run(name, operator, "gradient", tensor.name)[1], reference(operator, tensor.name)
        for key in ("relevance", "logits"):
            largest = np.abs(expected[key]).max(initial=0)
            np.testing.assert_allclose(outputs[key], expected[key], atol=1e-4 * largest + 1e-6, err_msg=key)
