"""The whole pipeline on a net of three layers, in about a second: run this first."""

from __future__ import annotations

import numpy as np

from onnxlrp.methods.registry import make_composite
from support import small_nets


def test_a_file_becomes_relevance() -> None:
    """Load, compile and run the default on both engines: they agree, and relevance adds up to the logit."""
    n = small_nets.Net(1, 4, 4)
    y = n.dense(n.op("Flatten", n.relu(n.conv("x", 1, 2, bias=False))), 32, 3, bias=False)
    graph = small_nets.load(n.model(y).SerializeToString())
    inputs = small_nets.batch(graph, 3)
    here = small_nets.explained(graph, make_composite("epsilon_plus_flat"), inputs)
    there = small_nets.explained(graph, make_composite("epsilon_plus_flat"), inputs, "ort")
    assert here["relevance"].shape == (3, 1, 4, 4)
    np.testing.assert_allclose(here["relevance"].sum(axis=(1, 2, 3)), here["logits"].max(axis=1), rtol=1e-4)
    for name, expected in here.items():
        small_nets.agree(there[name], expected, 1e-4)
