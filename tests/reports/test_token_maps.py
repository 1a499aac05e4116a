"""Class activation maps of layers whose channels come last: tokens of a picture with a class token, and maps [H, W, C].

Reported of jacobgil/pytorch-grad-cam (issues 355, 403, 426, 511) and frgfm/torch-cam (pull request 412): an axis out of
range, or a map over the wrong axes, unless the user writes a reshape. The axes follow from the graph.
"""

from __future__ import annotations

import numpy as np

import onnxlrp
from support.numpy_nets import conv, model, near, node, relu


def test_channels_last_after_patches() -> None:
    """Patches of 2 x 2 as tokens, a dense layer for each, their mean: α_k = v_k / tokens."""
    rng = np.random.default_rng(0)
    k, w, v = rng.normal(size=(4, 1, 2, 2)), rng.normal(size=(4, 5)), np.abs(rng.normal(size=(5, 2)))
    nodes = [
        node("Conv", "x k", "a", strides=[2, 2]), node("Reshape", "a tokens", "b"),
        node("Transpose", "b", "c", perm=[0, 2, 1]),
        node("MatMul", "c w", "d"), node("Relu", "d", "e"), node("ReduceMean", "e", "f", axes=[1], keepdims=0),
        node("MatMul", "f v", "y"),
    ]  # fmt: skip
    proto = model(nodes, (1, 8, 8), {"k": k, "w": w, "v": v, "tokens": np.array([0, 4, 16])})
    x = rng.normal(size=(1, 1, 8, 8))
    tokens = conv(x[0], k, stride=2).reshape(4, 16).T
    cam = (relu(tokens @ w) @ v[:, 1] / 16).reshape(4, 4)
    # Bilinear, by the distance of the middles: pixel i lies at (i + 0.5) / 2 − 0.5.
    up = np.zeros((8, 4))
    for i in range(8):
        at = (i - 0.5) / 2
        for patch in (int(np.floor(at)), int(np.floor(at)) + 1):
            up[i, min(max(patch, 0), 3)] += 1 - abs(at - patch)
    made = onnxlrp.load(proto).explain(x, target=1, method="grad_cam", layer="e")
    found = made.relevance[0, 0]
    near(found, up @ cam @ up.T, 1e-2)


def test_channels_last_maps() -> None:
    rng = np.random.default_rng(1)
    k, v = rng.normal(size=(4, 3, 3, 3)), np.abs(rng.normal(size=(4, 2)))
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t k", "a", pads=[1] * 4),
        node("Transpose", "a", "b", perm=[0, 2, 3, 1]), node("Relu", "b", "c"),
        node("ReduceMean", "c", "d", axes=[1, 2], keepdims=0), node("MatMul", "d v", "y"),
    ]  # fmt: skip
    x = rng.normal(size=(1, 6, 7, 3))
    maps = relu(conv(x[0].transpose(2, 0, 1), k, pad=1))
    wanted = np.tensordot(v[:, 1], maps, 1) / maps[0].size
    made = onnxlrp.load(model(nodes, (6, 7, 3), {"k": k, "v": v})).explain(x, target=1, method="grad_cam", layer="c")
    near(made.relevance[0].sum(axis=-1), wanted, 1e-3)
