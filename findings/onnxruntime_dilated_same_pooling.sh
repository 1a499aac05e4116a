#!/usr/bin/env bash
# onnxruntime's pooling with auto_pad SAME and dilations pads as if there were no dilations.
#
# Guess: as long as the input at stride 1, as the standard and ONNX's shape inference say: 6 results of 6 elements.
# Seen: 4 results, kernel 3, dilation 2.
# For users of onnxlrp: the layer is refused, with the fix (explicit pads); methods that hide parts run.
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

x = np.float32([[[6, 1, 2, 5, 3, 4]]])
node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3], dilations=[2], auto_pad="SAME_UPPER")
made = model(node, [1, 1, 6], opset=13)
inferred = onnx.shape_inference.infer_shapes(made).graph.output[0].type.tensor_type.shape.dim[2].dim_value
seen = runtime(made, x)[0, 0]
print("onnxruntime", seen.tolist(), "inferred length", inferred)
assert inferred == 6 and seen.tolist() == [5, 6, 5, 3]
PY
