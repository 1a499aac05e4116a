#!/usr/bin/env bash
# OpenVINO's MaxPool with ceil_mode keeps windows that start in the padding.
#
# Guess: the output size follows the standard since opset 22: a last window that starts beyond the input and its
#   padding is dropped, as in torch.
# Seen: one row and column more than onnxruntime, filled from windows that lie in the padding alone.
# For users of onnxlrp: networks with ceil_mode pooling (SqueezeNet, GoogLeNet ports) change shape there.
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

x = np.ones((1, 1, 2, 2), np.float32)
made = model(
    helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], strides=[2, 2], ceil_mode=1),
    [("x", 1, [1, 1, 2, 2])], [("y", 1, None)],
)
made.opset_import[0].version = 22
a, b = runtime(made, {"x": x})[0].shape, inference(made, x)[0].shape
print("onnxruntime", a, " OpenVINO", b)
assert a == (1, 1, 1, 1) and b == (1, 1, 2, 2)
PY
