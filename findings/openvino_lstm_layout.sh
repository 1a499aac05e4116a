#!/usr/bin/env bash
# OpenVINO ignores layout=1 of LSTM: batch and time change places.
#
# Guess: layout=1 (batch first) is obeyed, or refused as onnxruntime does.
# Seen: the model compiles and computes layout=0: the batch is run as time.
# For users of onnxlrp: a recurrent model with the batch first has to be rewritten with Transpose before it is
#   deployed there.
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

rng = np.random.default_rng(0)
weights = [("W", rng.normal(size=(1, 12, 2)).astype(np.float32)), ("R", rng.normal(size=(1, 12, 3)).astype(np.float32))]
x = rng.normal(size=(4, 4, 2)).astype(np.float32)

def lstm(layout):
    return model(
        helper.make_node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=3, layout=layout),
        [("x", 1, [4, 4, 2])], [("Y", 1, None)], weights,
    )

time_first = runtime(lstm(0), {"x": x.transpose(1, 0, 2)})[0]  # [time, direction, batch, hidden]
want = time_first.transpose(2, 0, 1, 3)  # [batch, time, direction, hidden]
found = inference(lstm(1), x)[0]
ignored = runtime(lstm(0), {"x": x})[0]
print("shape asked for", want.shape, " found", found.shape, " off from layout=0 by", float(np.abs(found - ignored).max()))
assert found.shape == ignored.shape and np.abs(found - ignored).max() < 1e-5
PY
