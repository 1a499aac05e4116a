"""The map of a sample is its own: of whatever else is in the batch, and of a batch of one.

Reported of albermax/innvestigate (issue 91), jacobgil/pytorch-grad-cam (issue 584), softwaremill/FoXAI (issue 91),
understandable-machine-intelligence-lab/Quantus (issue 150) and Project-MONAI/MONAI (issue 7334).
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import model, near, node

METHODS = ("epsilon_plus_flat", "epsilon", "zplus", "gradient", "guided_backprop", "grad_cam", "integrated_gradients",
           "occlusion")  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_alone_or_among_others(method: str) -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(3, 4))
    nodes = [
        node("Conv", "x w", "a", pads=[1] * 4), node("Relu", "a", "b"), node("GlobalAveragePool", "b", "c"),
        node("Squeeze", "c axes", "d"), node("MatMul", "d v", "z"), node("Softmax", "z", "y", axis=-1),
    ]  # fmt: skip
    loaded = onnxlrp.load(model(nodes, (2, 6, 6), {"w": w, "v": v, "axes": np.array([2, 3])}))
    x = rng.normal(size=(4, 2, 6, 6)).astype(np.float32)
    whole = loaded.explain(x, target=1, method=method)
    for n in (0, 3):
        alone = loaded.explain(x[n : n + 1], target=1, method=method)
        assert alone.relevance.shape == (1, *x.shape[1:])
        near(alone.relevance[0], whole.relevance[n], 1e-4)
    near(loaded.explain(x * [[[[1]]], [[[9]]], [[[9]]], [[[9]]]], target=1, method=method).relevance[0],
         whole.relevance[0], 1e-4)  # fmt: skip
