#!/usr/bin/env bash
# Linear leaves of LightGBM (linear_tree=True) become constants.
#
# Guess: ONNX's trees have constant leaves, so linear_tree is refused.
# Seen: the file is written, and every leaf gives one number.
# For users of onnxlrp: the features that the leaves read are not in the file: no method can find them.
# Packages: lightgbm==4.7.0 onnxmltools==1.16.0 skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2
#   onnxruntime==1.32.0
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q lightgbm==4.7.0 onnxmltools==1.16.0 skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
import lightgbm
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

def run(model, x):
    made = convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})

rng = np.random.default_rng(0)
x = rng.normal(size=(500, 5)).astype(np.float32)
target = 3 * x[:, 0]
model = lightgbm.LGBMRegressor(linear_tree=True, n_estimators=3, num_leaves=2, learning_rate=1.0, verbose=-1).fit(x, target)
found, want = run(model, x)[0].ravel(), model.predict(x)
print("distinct predictions: file", len(np.unique(found)), " model", len(np.unique(np.round(want, 6))))
assert len(np.unique(found)) <= 8 and len(np.unique(np.round(want, 6))) > 100
PY
