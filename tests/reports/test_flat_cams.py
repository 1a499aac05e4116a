"""Class activation maps without any positive value, of one channel, of one row: zeros, not NaN, in the input's shape.

Reported of frgfm/torch-cam (issues 186, 208), yiskw713/SmoothGradCAMplusplus (issue 1) and jacobgil/pytorch-grad-cam
(issues 108: NaN, 452: inputs of one row, 469, 141: one channel).
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxlrp
from support.numpy_nets import conv, model, near, node, relu


def pooled(channels: int, sign: float, w: np.ndarray) -> onnx.ModelProto:
    v = sign * np.abs(np.random.default_rng(1).normal(size=(3, 2)))
    nodes = [
        node("Conv", "x w", "a", pads=[1] * 4), node("Relu", "a", "b"), node("GlobalAveragePool", "b", "c"),
        node("Flatten", "c", "d"), node("MatMul", "d v", "y"),
    ]  # fmt: skip
    return model(nodes, (channels, "H", "W"), {"w": w, "v": v})


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (11, 8, 1), (3, 1, 6)])
def test_nothing_positive_and_everything_zero(shape: tuple[int, ...], method: str) -> None:
    rng = np.random.default_rng(0)
    loaded = onnxlrp.load(pooled(shape[0], -1.0, rng.normal(size=(3, shape[0], 3, 3))), size=shape[1:], kind="image")
    for x in (rng.normal(size=(2, *shape)), np.zeros((2, *shape))):
        found = loaded.explain(x, target=1, method=method).relevance
        assert found.shape == x.shape
        assert np.array_equal(found, np.zeros_like(found))


@pytest.mark.parametrize("shape", [(1, 8, 8), (11, 8, 1)])
def test_grad_cam_by_its_definition(shape: tuple[int, ...]) -> None:
    """The last maps are as large as the input: no upsampling; α_k = v_k / (h w)."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, shape[0], 3, 3))
    proto = pooled(shape[0], 1.0, w)
    v = onnx.numpy_helper.to_array(proto.graph.initializer[1]).astype(float)
    x = rng.normal(size=(1, *shape))
    maps = relu(conv(x[0], w, pad=1))
    wanted = np.tensordot(v[:, 1], maps, 1) / maps[0].size
    found = onnxlrp.load(proto, size=shape[1:], kind="image").explain(x, target=1, method="grad_cam").relevance[0]
    near(found.sum(axis=0), wanted, 1e-3)
