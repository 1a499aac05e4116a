#!/usr/bin/env bash
# MaxPool of onnx's reference implementation reads pads in another order where strides are 1.
#
# Guess: pads are all beginnings, then all ends, whatever the strides, as the operator says.
# Seen: at stride 1 they are read as pairs, beginning and end of each axis: pads [0, 0, 2, 2] pad the last axis at both
#   sides, and the result has another shape than onnxruntime's. At stride 2 they are read as the operator says.
# For users of onnxlrp: the evaluator is no oracle for such poolings, nor runs explainers that hold them.
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

x = np.arange(20, dtype=np.float32).reshape(1, 1, 4, 5)
found = {}
for stride in (1, 2):
    for pads in ([1, 1, 1, 1], [0, 0, 2, 2]):
        pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[stride] * 2, pads=pads)
        ends = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph([pool], "g", ends[:1], ends[1:])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        (a,), (b,) = session.run(None, {"x": x}), ReferenceEvaluator(made).run(None, {"x": x})
        found[stride, pads[0]] = np.array_equal(a, b)
        print("stride", stride, "pads", pads, "onnxruntime", a.shape, " onnx.reference", b.shape, " equal", found[stride, pads[0]])
assert found == {(1, 1): True, (1, 0): False, (2, 1): True, (2, 0): True}
PY
