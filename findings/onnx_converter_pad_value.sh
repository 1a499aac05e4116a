#!/usr/bin/env bash
# onnx's version_converter leaves the attribute "value" at a Pad of opset 10 that reflects or repeats.
#
# Guess: a valid model of opset 11.
# Seen: onnx.checker refuses the converted model: "Unrecognized attribute: value for operator Pad".
# For users of onnxlrp: the value, which such a Pad ignores, is left out before the conversion.
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

node = helper.make_node("Pad", ["x"], ["y"], mode="reflect", pads=[0, 1, 0, 1], value=0.5)
made = model(node, [1, 3], opset=10)
made.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [1, 5]))
onnx.checker.check_model(made)
assert runtime(made, np.float32([[1, 2, 3]])).tolist() == [[2, 1, 2, 3, 2]]
converted = onnx.version_converter.convert_version(made, 11)
try:
    onnx.checker.check_model(converted)
except onnx.checker.ValidationError as error:
    said = str(error)
print(said.splitlines()[0])
assert "Unrecognized attribute: value" in said
PY
