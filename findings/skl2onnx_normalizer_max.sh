#!/usr/bin/env bash
# Normalizer('max') divides by the largest value, not by the largest size.
#
# Guess: norm='max' divides a row by max |x|, as scikit-learn does.
# Seen: ai.onnx.ml's Normalizer with norm MAX divides by max x: the sign flips for rows without a positive value,
#   and small maxima explode.
# For users of onnxlrp: the scaling before a model is part of what is explained.
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

from sklearn.preprocessing import Normalizer

x = np.array([[-4.0, 1.0, 2.0], [-1.0, -2.0, -8.0]], np.float32)
normalizer = Normalizer("max").fit(x)
found = run(to_onnx(normalizer, x[:1]), x)[0]
print("scikit-learn", normalizer.transform(x).tolist(), " file", found.tolist())
np.testing.assert_allclose(found, x / x.max(axis=1, keepdims=True), atol=1e-6)
assert np.abs(found - normalizer.transform(x)).max() > 0.5
PY
