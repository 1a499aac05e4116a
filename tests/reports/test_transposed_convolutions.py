"""ConvTranspose with groups, output padding, pads and dilations, by its definition: each value scattered.

Reported of onnx/onnx-coreml (issue 353: groups), gmalivenko/onnx2keras (issues 95, 89: output padding),
pytorch/pytorch (issue 104206), PINTO0309/onnx2tf (issue 56) and Samsung/TICO (issue 420: pads crop the result).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import check, model, node

CASES = [(1, 1, 0, 0, 1), (2, 2, 1, 1, 1), (2, 2, 0, 1, 2), (4, 3, 1, 2, 1), (1, 2, 1, 0, 2), (2, 3, 1, 1, 2)]


def scattered(x: np.ndarray, w: np.ndarray, group: int, stride: int, pad: int, extra: int, dilation: int) -> np.ndarray:
    n, k = x.shape[1], w.shape[2]
    full = stride * (n - 1) + dilation * (k - 1) + 1 + extra
    y = np.zeros((w.shape[1] * group, full, full))
    per = len(x) // group
    for c in range(len(x)):
        outs = slice(c // per * w.shape[1], (c // per + 1) * w.shape[1])
        for i, j, a, b in product(range(n), range(n), range(k), range(k)):
            y[outs, stride * i + dilation * a, stride * j + dilation * b] += w[c, :, a, b] * x[c, i, j]
    return y[:, pad : full - pad, pad : full - pad]


@pytest.mark.parametrize(("group", "stride", "pad", "extra", "dilation"), CASES)
def test_scattered(group: int, stride: int, pad: int, extra: int, dilation: int) -> None:
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(2, 4, 3, 3))
    layer = node("ConvTranspose", "x w", "a", group=group, strides=[stride] * 2, pads=[pad] * 4,
                 output_padding=[extra] * 2, dilations=[dilation] * 2)  # fmt: skip
    if extra >= max(stride, dilation):
        with pytest.raises(onnxlrp.errors.OnnxLrpError):
            onnxlrp.load(model([layer, node("Flatten", "a", "y")], (4, 3, 3), {"w": w})).explain(x, target=0)
        return

    def f(one: np.ndarray) -> np.ndarray:
        return scattered(one, w, group, stride, pad, extra, dilation).reshape(-1)

    proto = model([layer, node("Flatten", "a", "y")], (4, 3, 3), {"w": w})
    check(proto, f, x, target=f(x[0]).size // 2)
