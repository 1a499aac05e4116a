#!/usr/bin/env bash
# Several trees a round (num_parallel_tree) mix the classes of an XGBoost model.
#
# Guess: tree i belongs to class (i // num_parallel_tree) % classes, as XGBoost's own tree_info says.
# Seen: the converter takes i % classes: with three classes and three trees a round more than a third of the labels
#   change.
# For users of onnxlrp: compare the file's labels with the model's before you explain it.
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
target = np.digitize(x[:, 0] + x[:, 1], [-0.5, 0.5])
model = xgboost.XGBClassifier(num_parallel_tree=3, subsample=0.6, n_estimators=10).fit(x, target)
label = run(model, x)[0]
differ = float(np.mean(label != model.predict(x)))
single = xgboost.XGBClassifier(n_estimators=10).fit(x, target)
print("labels that differ:", differ, " with one tree a round:", float(np.mean(run(single, x)[0] != single.predict(x))))
assert differ > 0.3 and np.all(run(single, x)[0] == single.predict(x))
PY
