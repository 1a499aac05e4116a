#!/usr/bin/env bash
# A LightGBM random forest is divided by 100, however many trees it has.
#
# Guess: the file averages over the trees that there are.
# Seen: the sum is divided by 100: with 10 trees every prediction is a tenth of what it should be.
# For users of onnxlrp: relevance adds up to the file's output, which is off by a factor.
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
target = 2 * x[:, 0] + x[:, 1] ** 2
forest = lightgbm.LGBMRegressor(
    boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, n_estimators=10, verbose=-1
).fit(x, target)
found, want = run(forest, x)[0].ravel(), forest.predict(x)
print("file / model:", np.round(np.unique(np.round(found / want, 4)), 4).tolist())
np.testing.assert_allclose(found, want / 10, rtol=1e-3, atol=1e-5)
PY
