#!/usr/bin/env bash
# SVMClassifier of onnx's reference implementation couples the probabilities of three classes wrongly.
#
# Guess: the reference gives the probabilities that libsvm and onnxruntime give.
# Seen: pᵀQp is minimised with a Q whose off-diagonal elements are a product of vectors, not the products of elements:
#   no probability is that of onnxruntime, which agrees with the minimum of the formula to its precision, .005 / C.
# For users of onnxlrp: the engine `reference` has a coupling of its own.
# Packages: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import helper
from onnx.reference import ReferenceEvaluator

rng = np.random.default_rng(0)
stated = {
    "kernel_type": "RBF", "kernel_params": [0.5, 0.0, 3.0], "vectors_per_class": [2, 2, 2], "rho": [0.1, -0.2, 0.3],
    "support_vectors": rng.normal(size=12).tolist(), "coefficients": rng.normal(size=12).tolist(),
    "prob_a": [-2.0, -2.0, -2.0], "prob_b": [0.1, 0.2, 0.3], "classlabels_ints": [0, 1, 2],
}
def model(**more):
    node = helper.make_node("SVMClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", **more)
    ends = [helper.make_tensor_value_info("x", 1, [None, 2])], [helper.make_tensor_value_info("p", 1, None)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(helper.make_graph([node], "g", *ends), opset_imports=opsets, ir_version=8)

def runtime(made, x):
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]

x = rng.normal(size=(4, 2)).astype(np.float32)
made = model(**stated)
a, b = runtime(made, x), ReferenceEvaluator(made).run(None, {"x": x})[0]
plain = {k: v for k, v in stated.items() if not k.startswith("prob")}
decisions = runtime(model(**plain), x)
for row, p in zip(decisions, a):
    r = np.zeros((3, 3))
    for n, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        r[i, j] = 1 / (1 + np.exp(-2.0 * row[n] + stated["prob_b"][n]))
        r[j, i] = 1 - r[i, j]
    q = -r.T * r
    np.fill_diagonal(q, (r**2).sum(axis=0))
    system = np.block([[q, np.ones((3, 1))], [np.ones((1, 3)), np.zeros((1, 1))]])
    best = np.linalg.solve(system, [0, 0, 0, 1])[:3]
    assert np.abs(best - p).max() < 0.01, (best, p)
print("onnxruntime", a[0], " onnx.reference", b[0])
assert np.abs(a - b).max() > 0.02
PY
