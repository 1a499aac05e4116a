"""What a convolution gives, beside the ReLU that overwrites it in place.

Reported of meta-pytorch/captum (issues 156, 199): the recorded activation had been through the ReLU already.
"""

from __future__ import annotations

import numpy as np

import onnxlrp
from support.numpy_nets import conv, model, near, node, relu


def test_the_result_of_a_convolution_before_its_relu() -> None:
    rng = np.random.default_rng(0)
    w, v = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(27, 2))
    nodes = [node("Conv", "x w", "a"), node("Relu", "a", "b"), node("Flatten", "b", "c"), node("MatMul", "c v", "y")]
    x = rng.normal(size=(2, 2, 5, 5)).astype(np.float32)
    loaded = onnxlrp.load(model(nodes, (2, 5, 5), {"w": w, "v": v}))
    found = loaded.outputs(x, activations=["a", "b"])
    wanted = np.array([conv(one, w) for one in x])
    assert (wanted < 0).any()
    near(found["activation/a"], wanted)
    near(found["activation/b"], relu(wanted))
