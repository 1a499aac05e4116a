#!/usr/bin/env bash
# onnxruntime's optimiser rounds float weights between quantised activations to 8 bits.
#
# Guess: optimisation keeps the function of a file up to the order of sums.
# Seen: weights that the file holds in float32 become int8 (WeightBiasQuantization, at BASIC and above): a score moves
#   by .02, a tenth of its quantum.
# For users of onnxlrp: this optimiser is off while a model is loaded, and exported explainers have no DequantizeLinear,
#   by which it knows quantised activations.
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

rng = np.random.default_rng(1)
w = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
nodes, names = [], iter("abcdefgh")

def rounded(source, scale):
    q, out = next(names), next(names)
    nodes.append(helper.make_node("QuantizeLinear", [source, scale, "z"], [q]))
    nodes.append(helper.make_node("DequantizeLinear", [q, scale, "z"], [out]))
    return out

nodes.append(helper.make_node("Conv", [rounded("x", "s"), "w"], ["conv"]))
nodes.append(helper.make_node("GlobalAveragePool", [rounded("conv", "t")], ["y"]))
constants = [("w", w), ("s", np.float32(0.03)), ("t", np.float32(0.2)), ("z", np.uint8(128))]
made = model(nodes, [("x", [5, 3, 8, 8])], [("y", [5, 4, 1, 1])], constants)
x = rng.normal(size=(5, 3, 8, 8)).astype(np.float32)
want = runtime(made, x)
found = {
    "BASIC": runtime(made, x, "ORT_ENABLE_BASIC"),
    "BASIC without it": runtime(made, x, "ORT_ENABLE_BASIC", ["WeightBiasQuantization"]),
}
off = {name: float(np.abs(y - want).max()) for name, y in found.items()}
print(off)
assert off["BASIC"] > 1e-3 and off["BASIC without it"] < 1e-5
PY
