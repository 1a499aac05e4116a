"""Pads that cut, and pads that differ at the two ends.

Reported of onnx/onnx-tensorrt (issue 847), onnx/keras-onnx (issue 146), ENOT-AutoDL/onnx2torch (pull request 46) and
pytorch/pytorch (issue 60179).
"""

from __future__ import annotations

import numpy as np
import pytest

from support.numpy_nets import check, model, node


@pytest.mark.parametrize("amounts", [(-1, 0, 0, -1), (1, -1, -2, 2), (0, 3, 1, 0)])
def test_cut_and_padded(amounts: tuple[int, int, int, int]) -> None:
    """Rows and columns at the start, rows and columns at the end."""
    top, left, bottom, right = amounts
    x = np.random.default_rng(0).normal(size=(2, 2, 5, 5))
    pads = np.array([0, 0, top, left, 0, 0, bottom, right])
    proto = model([node("Pad", "x pads", "a"), node("Flatten", "a", "y")], (2, 5, 5), {"pads": pads})

    def f(one: np.ndarray) -> np.ndarray:
        wide = np.pad(one, ((0, 0), (3, 3), (3, 3)))
        return wide[:, 3 - top : 8 + bottom, 3 - left : 8 + right].reshape(-1)

    for target in (0, f(x[0]).size // 2):
        check(proto, f, x, target=target)
