#!/usr/bin/env bash
# QuantizeLinear of infinity is 0 in onnx's reference implementation.
#
# Guess: quantisation saturates: infinity becomes 255, as every number above the range does.
# Seen: 300 becomes 255 and infinity 0 in onnx.reference; onnxruntime gives 255 for both.
# For users of onnxlrp: an overflow before a QuantizeLinear differs between the two; tests against the reference
#   have to stay finite.
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

x = np.array([300.0, np.inf], np.float32)
constants = [("s", np.float32(1)), ("z", np.uint8(0))]
made = model(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"]), [("x", 1, [2])], [("y", 2, [2])], constants)
a, b = runtime(made, {"x": x})[0].tolist(), ReferenceEvaluator(made).run(None, {"x": x})[0].tolist()
print("onnxruntime", a, " onnx.reference", b)
assert a == [255, 255] and b == [255, 0]
PY
