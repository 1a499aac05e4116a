#!/usr/bin/env bash
# onnxruntime's optimiser merges two quantisations in a row that have two scales.
#
# Guess: optimisation keeps the function of a file.
# Seen: QuantizeLinear, DequantizeLinear, and both again with another scale, become one pair (DoubleQDQPairsRemover,
#   at BASIC and above, with disable_quant_qdq too): 49 of 256 values move by a quantum.
# For users of onnxlrp: this optimiser is off while a model is loaded, and exported explainers have no DequantizeLinear.
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

s, t = np.float32(0.028376810252666473), np.float32(0.02539633959531784)
nodes, source = [], "x"
for scale, zero in ("sa", "tb"):
    nodes.append(helper.make_node("QuantizeLinear", [source, scale, zero], [f"q{scale}"]))
    source = f"d{scale}" if scale == "s" else "y"
    nodes.append(helper.make_node("DequantizeLinear", [f"q{scale}", scale, zero], [source]))
constants = [("s", s), ("a", np.uint8(133)), ("t", t), ("b", np.uint8(100))]
made = model(nodes, [("x", [256])], [("y", [256])], constants)
x = (np.arange(256) - 133).astype(np.float32) * s
want = runtime(made, x)
by_numpy = (np.clip(np.rint(x / t) + 100, 0, 255) - 100).astype(np.float32) * t
found = {
    "no optimisation": want,
    "BASIC": runtime(made, x, "ORT_ENABLE_BASIC"),
    "BASIC without it": runtime(made, x, "ORT_ENABLE_BASIC", ["DoubleQDQPairsRemover"]),
}
moved = {name: int((np.abs(y - by_numpy) > t / 2).sum()) for name, y in found.items()}
print(moved)
assert moved == {"no optimisation": 0, "BASIC": 49, "BASIC without it": 0}
PY
