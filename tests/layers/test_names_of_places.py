"""A tensor of the file that is called as one of ours may be is not taken for it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import onnxlrp

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 6)).astype(np.float32), RNG.normal(size=(6, 4)).astype(np.float32)
PLACES = RNG.integers(0, 6, (2, 6))


@pytest.mark.parametrize("name", ["hidden", "g/places", "g/chosen", "g/places/0", "g/indices", "i/chosen"])
def test_the_gradient_is_that_of_the_function(name: str) -> None:
    """∂/∂x of (x[i] + max(x, 0)) W: the row of W at each place that an element goes to."""
    nodes = "g = GatherElements <axis = 1> (x, i)\n h = Relu (x)\n s = Add (g, h)\n y = MatMul (s, w)"
    text = '<ir_version: 8, opset_import: ["" : 17]> n (float[N, 6] x, int64[N, 6] i) => (float[N, 4] y)'
    model = onnx.parser.parse_model(f"{text} <float[6, 4] w> {{ {nodes} }}")
    for node in model.graph.node:
        for names in (node.input, node.output):
            for n, one in enumerate(names):
                names[n] = name if one == "h" else one
    model.graph.initializer.append(onnx.numpy_helper.from_array(W, "w"))
    found = onnxlrp.load(model).explain(X, 1, "gradient", input="x", given={"i": PLACES}).relevance
    wanted = (X > 0) * W[:, 1]
    for sample, places in enumerate(PLACES):
        np.add.at(wanted[sample], places, W[:, 1])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
