#!/usr/bin/env bash
# SGDClassifier(loss='modified_huber'): equal probabilities, other labels.
#
# Guess: labels and probabilities of the file agree with scikit-learn together or not at all.
# Seen: probabilities are equal to the last digit, and more than a tenth of the labels of a three-class model
#   differ: scikit-learn predicts by the decision function, the file by probabilities that are clipped and tie.
# For users of onnxlrp: the label of the file and the label of the trained model are two different answers; onnxlrp
#   explains the file's scores.
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

from sklearn.datasets import make_classification
from sklearn.linear_model import SGDClassifier

x, y = make_classification(600, 6, n_informative=4, n_redundant=1, n_classes=3, random_state=0)
x = x.astype(np.float32)
sgd = SGDClassifier(loss="modified_huber", random_state=0).fit(x, y)
label, probability = run(to_onnx(sgd, x[:1], options={id(sgd): {"zipmap": False}}), x)
differ = float(np.mean(label != sgd.predict(x)))
print("probabilities off by", float(np.abs(probability - sgd.predict_proba(x)).max()), " labels that differ:", differ)
np.testing.assert_allclose(probability, sgd.predict_proba(x), atol=1e-6)
assert differ > 0.1
PY
