#!/usr/bin/env bash
# MaxPool and ArgMax of onnxruntime see a NaN or not, by where it stands.
#
# Guess: NaN wins (numpy) or is ignored (fmax), wherever it stands.
# Seen: MaxPool takes NaN only where it is the last of the window, ArgMax only where it is the first of the row.
# For users of onnxlrp: a NaN inside a network may end in a finite, wrong score: a finite output proves nothing, so
#   inputs and weights that are not finite have to be refused before the run.
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

nan = np.nan
for row in ([nan, 1, 2, 3], [1, 2, nan, 0], [1, 2, 0, nan]):
    x = np.array(row, np.float32).reshape(1, 1, 1, 4)
    pool = model(helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 4]), [("x", 1, [1, 1, 1, 4])], [("y", 1, None)])
    best = model(helper.make_node("ArgMax", ["x"], ["y"], axis=3, keepdims=0), [("x", 1, [1, 1, 1, 4])], [("y", 7, None)])
    maximum, index = runtime(pool, {"x": x})[0].item(), runtime(best, {"x": x})[0].item()
    print(row, " MaxPool", maximum, " ArgMax", index, " numpy", np.argmax(x))
    assert np.isnan(maximum) == np.isnan(row[-1]) and index == (0 if np.isnan(row[0]) else 1)
PY
