"""Sums over a sample: those of products with constants are sums of one pass, and equal to the plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from onnxlrp.program.rewrites import REWRITES
from onnxlrp.program.trace import Trace
from support.conformance import identity, prepared

SHAPE = (3, 4, 5)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 1, 1), (1, 1, 1), (1, 4, 1), (3, 4, 5)])
@pytest.mark.parametrize("on", [REWRITES, frozenset()], ids=["rewritten", "plain"])
def test_the_total_of_a_product_with_a_constant(shape: tuple[int, ...], on: frozenset[str]) -> None:
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(2, *SHAPE)), rng.normal(size=shape)
    trace = Trace(on)
    total = trace.total(trace.activation("x", SHAPE) * trace.constant(k))
    assert total.shape == ()
    run = prepared("reference", identity({"x": SHAPE}), trace.program({"total": total}, None))
    found = run({"x/in": x})["total"]
    np.testing.assert_allclose(found, (x * k).reshape(2, -1).sum(1), rtol=1e-12)


def test_bias_and_epsilon_of_a_layer_take_one_pass() -> None:
    trace = Trace()
    s = trace.activation("s", SHAPE)
    bias = np.arange(1.0, 4).reshape(3, 1, 1)
    for k in (bias, np.full((), 1e-6)):
        trace.total(s * trace.constant(k))
    passes = [step for step in trace.steps if step.op == "Sum" and s.index in step.inputs]
    assert len(passes) == 1
