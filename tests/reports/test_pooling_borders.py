"""Average pooling at the borders: what is counted where windows lie in the padding or end behind it.

Reported of pytorch/pytorch (issues 183528, 71549, 116420), onnx/onnx (issue 4958) and microsoft/onnxscript (pull
request 754): exporters and runtimes count other values. What a file means is what the runtime computes of it: the map
is linear, so that its columns are what onnxruntime makes of unit vectors.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import model, near, node
from support.random_graphs.graph import session

CASES = [(ceil, count, pad, stride, opset) for ceil in (0, 1) for count in (0, 1) for pad in (0, 1) for stride in (2, 3)
         for opset in (11, 19)]  # fmt: skip


@pytest.mark.few(8)
@pytest.mark.parametrize(("ceil", "count", "pad", "stride", "opset"), CASES)
def test_windows_at_the_border(ceil: int, count: int, pad: int, stride: int, opset: int) -> None:
    pooling = node("AveragePool", "x", "p", kernel_shape=[3, 3], strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil,
                   count_include_pad=count)  # fmt: skip
    proto = model([pooling, node("Flatten", "p", "y")], (1, 6, 6), {}, opset=opset)
    units = np.eye(36, dtype=np.float32).reshape(36, 1, 6, 6)
    matrix = session(proto).run(None, {"x": units})[0]
    x = np.random.default_rng(0).normal(size=(2, 1, 6, 6)).astype(np.float32)
    for engine in ("ort", "reference"):
        loaded = onnxlrp.load(proto, engine=engine)
        for target in (0, matrix.shape[1] - 1):
            made = loaded.explain(x, target=target, method="gradient")
            near(made.logit, x.reshape(2, -1) @ matrix[:, target])
            near(made.relevance, np.broadcast_to(matrix[:, target].reshape(1, 1, 6, 6), x.shape))
