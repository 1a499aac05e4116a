#!/usr/bin/env bash
# AveragePool of onnx's reference implementation leaves NaN out of the mean.
#
# Guess: NaN in a window gives NaN, as in onnxruntime.
# Seen: the mean is taken over the other elements: the reference hides a NaN that the runtime shows.
# For users of onnxlrp: the reference evaluator is no oracle for values that are not finite.
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

x = np.array([[[[np.nan, 1.0], [0.0, 5.0]]]], np.float32)
made = model(helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2]), [("x", 1, [1, 1, 2, 2])], [("y", 1, None)])
a, b = runtime(made, {"x": x})[0].item(), ReferenceEvaluator(made).run(None, {"x": x})[0].item()
print("onnxruntime", a, " onnx.reference", b)
assert np.isnan(a) and b == 2.0
PY
