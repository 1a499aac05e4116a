#!/usr/bin/env bash
# onnxruntime's Resize copies its input where no length changes, whatever the scales, the rule and the region are.
#
# Guess: samples at x / scale, as the standard says: 3 elements, scale 1.3, linear, asymmetric: at 0, .77, 1.54.
# Seen: the input itself, in every mode; onnx.reference samples. A crop to a region of the input is ignored too.
# For users of onnxlrp: such a Resize is an identity, in scores and relevance.
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

x = np.float32([[[[0, 1, 4]]]])
for mode in ("nearest", "linear", "cubic"):
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode="asymmetric")
    made = model(node, [1, 1, 1, 3], [("s", np.float32([1, 1, 1, 1.3]))])
    seen, standard = runtime(made, x)[0, 0, 0], ReferenceEvaluator(made).run(None, {"x": x})[0][0, 0, 0]
    print(mode, "onnxruntime", seen.round(2).tolist(), "onnx.reference", standard.round(2).tolist())
    assert np.array_equal(seen, x[0, 0, 0])
    assert mode == "nearest" or not np.allclose(standard, seen, atol=0.1)
node = helper.make_node("Resize", ["x", "r", "", "n"], ["y"], mode="linear", axes=[3],
                        coordinate_transformation_mode="tf_crop_and_resize")
made = model(node, [1, 1, 1, 3], [("r", np.float32([0.25, 0.75])), ("n", np.array([3]))])
seen, standard = runtime(made, x)[0, 0, 0], ReferenceEvaluator(made).run(None, {"x": x})[0][0, 0, 0]
print("crop: onnxruntime", seen.tolist(), "onnx.reference", standard.tolist())
assert np.array_equal(seen, x[0, 0, 0]) and np.allclose(standard, [0.5, 1, 2.5])
PY
