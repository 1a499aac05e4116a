#!/usr/bin/env bash
# A converted GaussianProcessClassifier needs an operator that onnxruntime does not have.
#
# Guess: a conversion that succeeds with onnxruntime's own domain runs in onnxruntime.
# Seen: conversion succeeds and writes com.microsoft::Solve, which no released onnxruntime registers: the session is
#   refused.
# For users of onnxlrp: the refusal comes from the runtime, not from onnxlrp, and no option helps.
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

from sklearn.gaussian_process import GaussianProcessClassifier

rng = np.random.default_rng(0)
x = rng.normal(size=(60, 3)).astype(np.float32)
y = (x[:, 0] > 0).astype(int)
process = GaussianProcessClassifier().fit(x, y)
model = to_onnx(process, x[:1], options={id(process): {"zipmap": False}})
print(sorted({f"{n.domain or 'ai.onnx'}::{n.op_type}" for n in model.graph.node if n.domain}))
try:
    run(model, x)
except Exception as error:
    print(type(error).__name__, str(error)[:120])
    assert "Solve" in str(error)
else:
    raise SystemExit("it runs now")
PY
