#!/usr/bin/env bash
# OpenVINO has no MaxUnpool.
#
# Guess: operators of opset 11 are there.
# Seen: "No conversion rule found" at read_model; ScatterElements with the indices of MaxPool gives the same numbers.
# For users of onnxlrp: relevance behind max pooling goes back to the largest elements. Exported explainers scatter it,
#   and have no MaxUnpool.
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

import openvino

def inference(made, x):
    core = openvino.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return core.compile_model(core.read_model(made.SerializeToString()), "CPU")([x])[0]

x = np.random.default_rng(0).permutation(64).reshape(1, 1, 8, 8).astype(np.float32)
pool = helper.make_node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2, 2], strides=[2, 2])
ends = [("x", [1, 1, 8, 8])], [("y", [1, 1, 8, 8])]
unpooled = model([pool, helper.make_node("MaxUnpool", ["p", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], *ends, [])
flat, image, zeros = np.int64([-1]), np.int64([1, 1, 8, 8]), np.zeros(64, np.float32)
scattered = model(
    [
        pool,
        helper.make_node("Reshape", ["p", "flat"], ["values"]),
        helper.make_node("Reshape", ["i", "flat"], ["places"]),
        helper.make_node("ScatterElements", ["zeros", "places", "values"], ["z"], axis=0),
        helper.make_node("Reshape", ["z", "image"], ["y"]),
    ],
    *ends, [("flat", flat), ("image", image), ("zeros", zeros)],
)
want = runtime(unpooled, x)
try:
    inference(unpooled, x)
    message = ""
except Exception as error:
    message = str(error)
print("MaxUnpool:", next((line.strip() for line in message.splitlines() if "No conversion rule" in line), message))
print("ScatterElements:", float(np.abs(inference(scattered, x) - want).max()))
assert "No conversion rule" in message
assert np.array_equal(inference(scattered, x), want) and np.array_equal(runtime(scattered, x), want)
PY
