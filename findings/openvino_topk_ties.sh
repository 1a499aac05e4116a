#!/usr/bin/env bash
# OpenVINO's TopK breaks ties in another order where k is an input of the model.
#
# Guess: the standard: given two equivalent values, the lower index comes first, however k is given.
# Seen: with k a constant 0, 1, 2; with the same k as an input 1, 2, 0.
# For users of onnxlrp: explainers that onnxlrp exports hold k as a constant, and have to: on ties (saturated
#   probabilities) another class would be explained.
# Packages: openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
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

import openvino

def inference(made, *inputs):
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    compiled = core.compile_model(core.read_model(made.SerializeToString()), "CPU")
    found = compiled(list(inputs))
    return [found[output] for output in compiled.outputs]

x, k = np.zeros(4, np.float32), np.int64([3])
node = helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=0)
ends = [("v", 1, [3]), ("i", 7, [3])]
fixed = model(node, [("x", 1, [4])], ends, [("k", k)])
asked = model(node, [("x", 1, [4]), ("k", 7, [1])], ends)
found = {
    "onnxruntime": [runtime(fixed, {"x": x})[1].tolist(), runtime(asked, {"x": x, "k": k})[1].tolist()],
    "OpenVINO": [inference(fixed, x)[1].tolist(), inference(asked, x, k)[1].tolist()],
}
print(found)
assert found == {"onnxruntime": [[0, 1, 2], [0, 1, 2]], "OpenVINO": [[0, 1, 2], [1, 2, 0]]}
PY
