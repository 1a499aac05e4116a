#!/usr/bin/env bash
# OpenVINO ignores keep_aspect_ratio_policy of Resize.
#
# Guess: an attribute that changes the shape of the output is obeyed or refused.
# Seen: not_larger gives the stretched size.
# For users of onnxlrp: letterboxing inside the graph is lost, and the heatmap is that of a stretched picture.
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

x = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 4)
made = model(
    helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
    [("x", 1, [1, 1, 2, 4])], [("y", 1, None)], [("sizes", np.int64([8, 8]))],
)
made.opset_import[0].version = 18
a, b = runtime(made, {"x": x})[0].shape, inference(made, x)[0].shape
print("onnxruntime", a, " OpenVINO", b)
assert a == (1, 1, 4, 8) and b == (1, 1, 8, 8)
PY
