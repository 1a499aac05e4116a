"""The light models of the onnx wheel with seeded weights: loaded, explained, their relevance accounted for."""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from onnxlrp.explanation import ledger
from onnxlrp.graph.verify import verify
from support.light_nets import LIGHT, reinitialised

# The others are large (alexnet, vgg19) or more of the same; tests/zoo/zoo.py --light runs all nine.
SMALL = ("squeezenet", "shufflenet", "inception_v1", "densenet121")
pytestmark = pytest.mark.skipif(not LIGHT.is_dir(), reason="this onnx has no light models")


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_forward_ledger_and_sums(name: str) -> None:
    source = reinitialised(name)
    model = onnxlrp.load(source, engine="ort")
    assert model.graph.batch is None
    assert len(model.graph.inputs) == 1
    assert verify(model.graph, source, batches=(1,)) < 1e-4
    x = np.random.default_rng(1).normal(size=(1, *model.graph.inputs[0].shape)).astype(np.float32)
    e = model.explain(x, ledger=True)
    assert np.isfinite(e.relevance).all()
    assert np.abs(e.relevance).max() > 0
    assert max(row.error for row in e.ledger) < 1e-4
    # What arrives at the pixels and what layers absorbed is the logit, up to the balances' roundings.
    absorbed = sum(float(amount.sum()) for amount in ledger.sums(e.ledger).values())
    rounding = 1e-4 * max(float(row.scale.max()) for row in e.ledger)
    assert abs(float(e.relevance.sum()) + absorbed - float(e.logit.sum())) < max(
        rounding, 1e-4 * abs(float(e.logit.sum()))
    )
