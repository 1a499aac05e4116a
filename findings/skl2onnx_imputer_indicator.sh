#!/usr/bin/env bash
# SimpleImputer(add_indicator=True) loses the indicator columns.
#
# Guess: add_indicator is converted or refused: the number of columns is part of the transformer's contract.
# Seen: the file gives the imputed columns alone.
# For users of onnxlrp: a model behind such an imputer gets fewer features than it was trained with; onnxlrp sees
#   the file's features.
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

from sklearn.impute import SimpleImputer

x = np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, 6.0]], np.float32)
imputer = SimpleImputer(add_indicator=True).fit(x)
found = run(to_onnx(imputer, x[:1]), x)[0]
print("scikit-learn gives", imputer.transform(x).shape, " the file", found.shape)
assert imputer.transform(x).shape == (3, 4) and found.shape == (3, 2)
PY
