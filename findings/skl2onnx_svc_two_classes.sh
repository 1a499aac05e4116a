#!/usr/bin/env bash
# The largest score of a converted two-class SVC is never the predicted label.
#
# Guess: the output has a score for each class, so that arg max of the scores is the label, as in the multi-class
#   file.
# Seen: the columns are (d, -d) with d the decision function, positive for the second class: arg max names the other
#   class on every row.
# For users of onnxlrp: a class may not be chosen by the largest column of an SVC; the label output says which class
#   was predicted.
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

from sklearn.svm import SVC

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype(np.float32)
y = (x[:, 0] + x[:, 1] > 0).astype(int)
svc = SVC().fit(x, y)
label, scores = run(to_onnx(svc, x[:1], options={id(svc): {"zipmap": False}}), x)
agree = float(np.mean(label == scores.argmax(axis=1)))
print("labels equal to scikit-learn's:", bool(np.all(label == svc.predict(x))), " arg max equal to the label:", agree)
assert np.all(label == svc.predict(x)) and agree == 0.0
np.testing.assert_allclose(scores[:, 0], svc.decision_function(x), atol=1e-4)
PY
