#!/usr/bin/env bash
# TreeEnsemble (ai.onnx.ml 5): onnxruntime takes post_transform 1 for LOGISTIC and 2 for SOFTMAX.
#
# Guess: the numbers of post_transform are those of the standard, NONE 0, SOFTMAX 1, LOGISTIC 2, SOFTMAX_ZERO 3, PROBIT 4.
# Seen: a model with post_transform 1 gives the logistic function of each score, one with 2 the softmax of a row.
#   onnx's reference gives the sums of the trees for either.
# For users of onnxlrp: scores are those of onnxruntime; a Sigmoid or a Softmax stands behind the trees accordingly.
# Packages: onnx==1.23.2 onnxruntime==1.32.0
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print(onnx.defs.get_schema("TreeEnsemble", 5, "ai.onnx.ml").attributes["post_transform"].description)

def model(transform):
    """Two stumps of x0 <= 0: 1 or 2 for the first result, 4 or 8 for the second."""
    tensor = lambda name, values, kind: numpy_helper.from_array(np.array(values, kind), name)
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=2, aggregate_function=1, post_transform=transform,
        tree_roots=[0, 1], nodes_modes=tensor("m", [0, 0], np.uint8), nodes_featureids=[0, 0],
        nodes_splits=tensor("s", [0, 0], np.float32), nodes_truenodeids=[0, 2], nodes_trueleafs=[1, 1],
        nodes_falsenodeids=[1, 3], nodes_falseleafs=[1, 1], leaf_targetids=[0, 0, 1, 1],
        leaf_weights=tensor("w", [1, 2, 4, 8], np.float32),
    )
    values = [helper.make_tensor_value_info(name, 1, ["N", n]) for name, n in (("x", 1), ("y", 2))]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    return helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]), opset_imports=opsets, ir_version=10)

x, sums = np.array([[-1], [1]], np.float32), np.array([[1.0, 4], [2, 8]])
logistic = 1 / (1 + np.exp(-sums))
softmax = np.exp(sums) / np.exp(sums).sum(axis=1, keepdims=True)
for transform, want in ((1, logistic), (2, softmax)):
    session = ort.InferenceSession(model(transform).SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x})[0]
    print("post_transform", transform, "gives", found.round(4).tolist())
    np.testing.assert_allclose(found, want, atol=1e-6)
    np.testing.assert_allclose(ReferenceEvaluator(model(transform)).run(None, {"x": x})[0], sums)
PY
