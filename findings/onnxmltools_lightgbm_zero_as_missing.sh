#!/usr/bin/env bash
# LightGBM's zero_as_missing is lost.
#
# Guess: a split's missing type (none, zero, NaN) is in the model's text, and zero is converted or refused.
# Seen: the file compares zeros with the threshold as any other number: rows with zeros get other predictions,
#   others do not.
# For users of onnxlrp: zeros of a sparse table are not what they were in training.
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
sparse = np.where(np.abs(x) < 0.3, 0, x).astype(np.float32)
target = 2 * x[:, 0] + x[:, 1] ** 2
model = lightgbm.LGBMRegressor(zero_as_missing=True, n_estimators=10, verbose=-1).fit(sparse, target)
off = np.abs(run(model, sparse)[0].ravel() - model.predict(sparse))
zeros = (sparse == 0).any(axis=1)
print("off by at most", round(float(off.max()), 3), " without zeros", float(off[~zeros].max()))
assert off.max() > 0.05 and off[~zeros].max() < 1e-5
PY
