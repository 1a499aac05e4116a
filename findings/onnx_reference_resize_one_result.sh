#!/usr/bin/env bash
# onnx.reference reads "one result" of pytorch_half_pixel off length times scale, which need not be whole.
#
# Guess: 2 elements, scale .6: one result, of the first element, as the standard says of a length of 1.
# Seen: the value at (0 + .5) / .6 - .5 = .33, interpolated; onnxruntime takes the first element.
# For users of onnxlrp: written in rules that every runtime reads alike.
# Packages: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

def model(node, shape, constants=(), opset=19):
    ends = [helper.make_tensor_value_info("x", 1, shape)], [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph([node], "g", *ends, [numpy_helper.from_array(v, n) for n, v in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

def runtime(made, x):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]

x = np.float32([[[[10, 20]]]])
node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
made = model(node, [1, 1, 1, 2], [("s", np.float32([1, 1, 1, 0.6]))])
seen, standard = ReferenceEvaluator(made).run(None, {"x": x})[0].ravel(), runtime(made, x).ravel()
print("onnx.reference", seen.tolist(), "onnxruntime", standard.tolist())
assert standard.tolist() == [10] and abs(seen[0] - 13.333) < 0.01
PY
