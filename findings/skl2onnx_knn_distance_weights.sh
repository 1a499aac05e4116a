#!/usr/bin/env bash
# KNeighborsClassifier(weights='distance') is converted to a vote without distances.
#
# Guess: weights='distance' is either converted or refused.
# Seen: the file loads and gives the shares of a uniform vote; labels change for some rows.
# For users of onnxlrp: what is explained is the file; its answer is not the answer of the trained model.
# Packages: skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
from skl2onnx import to_onnx

def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})

from sklearn.neighbors import KNeighborsClassifier

rng = np.random.default_rng(0)
x = rng.normal(size=(300, 3)).astype(np.float32)
y = rng.integers(0, 3, 300)
new = rng.normal(size=(200, 3)).astype(np.float32)
by_distance = KNeighborsClassifier(5, weights="distance").fit(x, y)
uniform = KNeighborsClassifier(5).fit(x, y)
_, shares = run(to_onnx(by_distance, x[:1], options={id(by_distance): {"zipmap": False}}), new)
off = np.abs(shares - by_distance.predict_proba(new)).max()
print("off by", round(float(off), 3), " from the uniform vote by", float(np.abs(shares - uniform.predict_proba(new)).max()))
assert off > 0.1
np.testing.assert_allclose(shares, uniform.predict_proba(new), atol=1e-6)
PY
