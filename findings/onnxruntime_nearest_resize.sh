#!/usr/bin/env bash
# onnxruntime's nearest Resize computes coordinates in float32, and before opset 11 it rounds by direction.
#
# Guess: floor(x / scale) of the standard, the same neighbour in whatever precision.
# Seen: 9 elements, scale .6, asymmetric, floor: 0, 1, 3, 5, 6, where float64 and onnx.reference have 4 for 5. At opset
#   10 it takes the upper neighbour along axes that shrink, 0, 2, 4, 5, 7, and the lower one along axes that grow.
# For users of onnxlrp: the neighbours are read off onnxruntime's operator when a model is loaded, and are constants of
#   the explainer.
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

def model(nodes, inputs, outputs, constants, opset=17):
    ends = [[helper.make_tensor_value_info(n, 1, s) for n, s in side] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *ends, [numpy_helper.from_array(v, n) for n, v in constants])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

def runtime(made, x, level="ORT_DISABLE_ALL", disabled=()):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )
    return session.run(None, {"x": x})[0]

from onnx.reference import ReferenceEvaluator

def resized(length, scale, opset=18, **attributes):
    x = np.arange(length, dtype=np.float32)[None]
    inputs = ["x", "scales"] if opset == 10 else ["x", "", "scales"]
    node = helper.make_node("Resize", inputs, ["y"], mode="nearest", **attributes)
    ends = [("x", [1, length])], [("y", [1, None])]
    made = model([node], *ends, [("scales", np.float32([1, scale]))], opset)
    return runtime(made, x)[0].astype(int).tolist(), made, x

floor = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
picked, made, x = resized(9, 0.6, **floor)
reference = ReferenceEvaluator(made).run(None, {"x": x})[0][0].astype(int).tolist()
exact = np.floor(np.arange(5) / np.float64(np.float32(0.6))).astype(int).tolist()
shrunk, grown = resized(9, 0.6, 10)[0], resized(4, 1.5, 10)[0]
print("floor: onnxruntime", picked, "onnx.reference", reference, "float64", exact)
print("opset 10: shrinking", shrunk, "growing", grown)
assert picked == [0, 1, 3, 5, 6] and exact == [0, 1, 3, 4, 6]
assert reference == [0, 1, 3, 4, 6]
assert shrunk == [0, 2, 4, 5, 7] and grown == [0, 0, 1, 2, 2, 3]
PY
