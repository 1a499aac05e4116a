"""Open axes whose length is told by those who read them: each model loads and gives onnxruntime's own scores."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxlrp

W = "float[5, 2] w = {1, -1, 2, 0, 3, 1, -2, 2, 0, 1}"
ML = 'ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]'
CASES = {
    "MatMul": ("float[N, C] x", W, "y = MatMul (x, w)", (5,)),
    "Gemm, transposed": (
        "float[N, C] x",
        "float[2, 5] w = {1, -1, 2, 0, 3, 1, -2, 2, 0, 1}",
        "y = Gemm <transB = 1> (x, w)",
        (5,),
    ),
    "behind a Cast": ("double[N, C] x", W, "c = Cast <to = 1> (x)\n y = MatMul (c, w)", (5,)),
    "of the domain by its name": ("float[N, C] x", W, "c = ai.onnx.Identity (x)\n y = ai.onnx.MatMul (c, w)", (5,)),
    "steps of features": (
        "float[N, 4, C] x",
        W,
        "m = MatMul (x, w)\n y = ReduceMean <axes = [1], keepdims = 0> (m)",
        (4, 5),
    ),
    "BatchNormalization": (
        "float[N, C] x",
        "float[3] w = {1, 2, 3}, float[3] b = {1, 0, -1}",
        "y = BatchNormalization (x, w, b, b, w)",
        (3,),
    ),
    "Scaler": (
        "float[N, C] x",
        "",
        "y = ai.onnx.ml.Scaler <offset = [1.0, 2.0, 3.0], scale = [1.0, 0.5, 2.0]> (x)",
        (3,),
    ),
    "Imputer and what follows": (
        "float[N, C] x",
        W,
        """i = ai.onnx.ml.Imputer <imputed_value_floats = [0.0], replaced_value_float = -9.0> (x)
        y = MatMul (i, w)""",
        (5,),
    ),
    "LinearRegressor": (
        "float[N, C] x",
        "",
        """y = ai.onnx.ml.LinearRegressor <coefficients = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], intercepts = [0.5, 1.5],
        targets = 2> (x)""",
        (3,),
    ),
    "SVMRegressor": (
        "float[N, C] x",
        "",
        """y = ai.onnx.ml.SVMRegressor <kernel_type = "RBF", kernel_params = [0.5, 0.0, 3.0], n_supports = 2,
        support_vectors = [1.0, 2.0, 3.0, 0.0, 1.0, 0.5], coefficients = [1.0, -1.0], rho = [0.1]> (x)""",
        (3,),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_length_is_that_of_the_constants(case: str) -> None:
    source, weights, nodes, shape = CASES[case]
    model = onnx.parser.parse_model(f"<{ML}> g ({source}) => (float[N, K] y) <{weights}> {{ {nodes} }}")
    dtype = np.float64 if source.startswith("double") else np.float32
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(dtype)
    found = onnxlrp.load(model)
    assert found.graph.inputs[0].shape == shape
    assert not found.graph.open_axes
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found.outputs(x)["scores"], session.run(None, {"x": x})[0], rtol=1e-5, atol=1e-6)


def test_trees_tell_no_width() -> None:
    """They split by the columns that they chose: rows may be wider."""
    nodes = """y = ai.onnx.ml.TreeEnsembleRegressor <n_targets = 1, nodes_treeids = [0, 0, 0],
        nodes_nodeids = [0, 1, 2], nodes_featureids = [2, 0, 0],
        nodes_modes = ["BRANCH_LEQ", "LEAF", "LEAF"], nodes_values = [0.5, 0.0, 0.0],
        nodes_truenodeids = [1, 0, 0], nodes_falsenodeids = [2, 0, 0], target_treeids = [0, 0],
        target_nodeids = [1, 2], target_ids = [0, 0], target_weights = [1.0, 2.0]> (x)"""
    model = onnx.parser.parse_model(f"<{ML}> g (float[N, C] x) => (float[N, 1] y) {{ {nodes} }}")
    found = onnxlrp.load(model)
    assert found.kind.name == "vector"
    x = np.arange(14, dtype=np.float32).reshape(2, 7) / 7
    assert found.explain(x, background=np.zeros((1, 7), np.float32)).relevance.shape == (2, 7)
