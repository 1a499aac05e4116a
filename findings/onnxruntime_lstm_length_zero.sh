#!/usr/bin/env bash
# A sequence of length 0 has the final state 0 in onnxruntime's LSTM, not its initial state.
#
# Guess: no step is taken, so the final state is the initial one.
# Seen: Y_h is 0 where the initial state is 1.
# For users of onnxlrp: an empty text explains as zero whatever the initial state is.
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

final = runtime(made, {"x": x, "lengths": np.int32([4, 0]), "h0": ones, "c0": ones})[1]
print("initial state", ones[0, 1].tolist(), " final state of the empty sequence", final[0, 1].tolist())
assert np.all(final[0, 1] == 0)
PY
