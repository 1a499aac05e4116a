#!/usr/bin/env bash
# LSTM of onnx's reference implementation ignores sequence_lens.
#
# Guess: an input of the operator is obeyed or refused.
# Seen: a sequence of length 2 is run over all 4 steps, silently; onnxruntime stops and pads with zeros.
# For users of onnxlrp: recurrent models cannot be checked against onnx.reference.
# Packages: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

def model(node, inputs, outputs, constants=()):
    ends = [[helper.make_tensor_value_info(n, t, s) for n, t, s in side] for side in (inputs, outputs)]
    weights = [numpy_helper.from_array(v, n) for n, v in constants]
    graph = helper.make_graph([node], "g", *ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

def runtime(made, feed):
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)

rng, size = np.random.default_rng(0), 3
weights = [("W", rng.normal(size=(1, 4 * size, 2)).astype(np.float32)), ("R", rng.normal(size=(1, 4 * size, size)).astype(np.float32))]
made = model(
    helper.make_node("LSTM", ["x", "W", "R", "", "lengths", "h0", "c0"], ["Y", "Y_h"], hidden_size=size),
    [("x", 1, [4, 2, 2]), ("lengths", 6, [2]), ("h0", 1, [1, 2, size]), ("c0", 1, [1, 2, size])],
    [("Y", 1, None), ("Y_h", 1, None)], weights,
)
x, ones = rng.normal(size=(4, 2, 2)).astype(np.float32), np.ones((1, 2, size), np.float32)

feed = {"x": x, "lengths": np.int32([2, 4]), "h0": ones, "c0": ones}
a, b = runtime(made, feed)[0][:, 0, 0, 0], ReferenceEvaluator(made).run(None, feed)[0][:, 0, 0, 0]
print("onnxruntime", a.round(3).tolist(), " onnx.reference", b.round(3).tolist())
assert np.all(a[2:] == 0) and np.all(b[2:] != 0)
PY
