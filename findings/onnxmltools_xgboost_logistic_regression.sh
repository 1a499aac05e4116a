#!/usr/bin/env bash
# XGBoost's objective reg:logistic loses its logistic function.
#
# Guess: XGBRegressor(objective='reg:logistic') gives probabilities in the file too, as count:poisson keeps its
#   exponential.
# Seen: the file gives log odds, and not even those: the base score is added as a probability, so that all are off
#   by a constant.
# For users of onnxlrp: the output is an unbounded number; which feature raised it can be asked, what it means
#   cannot.
# Packages: xgboost==3.2.0 onnxmltools==1.16.0 skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q xgboost==3.2.0 onnxmltools==1.16.0 skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

def run(model, x):
    made = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, x.shape[1]]))])
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})

rng = np.random.default_rng(0)
x = rng.normal(size=(500, 5)).astype(np.float32)
target = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
model = xgboost.XGBRegressor(objective="reg:logistic", n_estimators=10).fit(x, target)
found, want = run(model, x)[0].ravel(), model.predict(x)
print("model between", float(want.min()), float(want.max()), " file between", float(found.min()), float(found.max()))
offset = found - np.log(want / (1 - want))
print("file minus log odds:", round(float(offset.min()), 3), "to", round(float(offset.max()), 3))
assert found.min() < 0 and np.ptp(offset) < 1e-3 and offset.min() > 0.3
PY
