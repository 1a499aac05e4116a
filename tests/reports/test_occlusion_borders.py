"""Windows that do not divide the input cover its last rows too, and a stride is a stride.

Reported of meta-pytorch/captum (pull request 187, issue 1099), chr5tphr/zennit (pull request 80: the stride was taken
for the window) and XAITK/xaitk-saliency (pull request 7): borders that no window hides.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import model, near, node


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2), (4, 3)])
def test_every_pixel_is_hidden(window: int, stride: int) -> None:
    """The score is the sum of weighted pixels, so that a window's drop is the sum of what it hides."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(49, 2))
    proto = model([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], (1, 7, 7), {"w": w})
    x = rng.normal(size=(1, 1, 7, 7))
    part = (x[0, 0].reshape(-1) * w[:, 1]).reshape(7, 7)
    starts = sorted({*range(0, 7 - window, stride), 7 - window})
    drop, covers = np.zeros((7, 7)), np.zeros((7, 7))
    for i in starts:
        for j in starts:
            at = (slice(i, i + window), slice(j, j + window))
            drop[at] += part[at].sum()
            covers[at] += 1
    assert covers.min() >= 1
    loaded = onnxlrp.load(proto, kind="image")
    made = loaded.explain(x, target=1, method="occlusion", window=window, stride=stride, baseline="zero", score="logit")
    near(made.relevance[0, 0], drop / covers)
