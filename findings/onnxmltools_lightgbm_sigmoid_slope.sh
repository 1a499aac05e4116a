#!/usr/bin/env bash
# LightGBM's option sigmoid is lost: probabilities are those of slope 1.
#
# Guess: the slope of the link is a number of the model file, and the converter reads it.
# Seen: LGBMClassifier(sigmoid=3) is converted with the logistic function of slope 1: labels stay, probabilities
#   move by up to 0.2.
# For users of onnxlrp: probabilities are shown as the file gives them.
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
target = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
model = lightgbm.LGBMClassifier(sigmoid=3.0, n_estimators=10, verbose=-1).fit(x, target)
label, rows = run(model, x)
found, raw = np.array([row[1] for row in rows]), model.predict(x, raw_score=True)
want = model.predict_proba(x)[:, 1]
print("labels that differ:", float(np.mean(label != model.predict(x))), " off by", round(float(np.abs(found - want).max()), 3))
np.testing.assert_allclose(want, 1 / (1 + np.exp(-3 * raw)), atol=1e-6)
np.testing.assert_allclose(found, 1 / (1 + np.exp(-raw)), atol=1e-5)
PY
