#!/usr/bin/env bash
# onnx.reference refuses a GatherElements whose axis is counted from the end.
#
# Guess: axis -1 is the last one, as the standard says and as PyTorch's exporter writes x.gather(-1, …); the evaluator runs
#   it as it runs the same axis counted from the front, and as it runs ScatterElements.
# Seen: ValueError ("Except for dimension -1, all dimensions of index and self should be the same size") where the indices
#   are fewer along the axis than the data; with axis 1 the same node runs.
# For users of onnxlrp: --engine reference has a GatherElements of its own.
# Packages: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

x = np.arange(10, dtype=np.float32).reshape(2, 5)
indices = np.array([[4, 0, 1], [2, 2, 3]])


def outcome(axis, runtime):
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5]),
            helper.make_tensor_value_info("i", TensorProto.INT64, [2, 3])]
    node = helper.make_node("GatherElements", ["x", "i"], ["y"], axis=axis)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph([node], "g", ends, [out])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    try:
        return runtime(made).run(None, {"x": x, "i": indices})[0].tolist()
    except ValueError as error:
        return f"ValueError: {str(error)[:24]}"


def session(made):
    return ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])


expected = np.take_along_axis(x, indices, axis=-1).tolist()
found = {(name, axis): outcome(axis, run) for name, run in (("onnxruntime", session), ("evaluator", ReferenceEvaluator))
         for axis in (1, -1)}  # fmt: skip
for (name, axis), value in found.items():
    print(name, "axis", axis, value)
assert found["onnxruntime", 1] == found["onnxruntime", -1] == found["evaluator", 1] == expected
assert found["evaluator", -1] == "ValueError: Except for dimension -1,"
PY
