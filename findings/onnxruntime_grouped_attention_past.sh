#!/usr/bin/env bash
# com.microsoft.GroupQueryAttention of onnxruntime gives another y behind a past when its outputs present_* are left out.
#
# Guess: y is the same, whether present_key and present_value are outputs or not.
# Seen: with both, y is what the definition gives by numpy; without them it is neither that nor attention without the past.
# For users of onnxlrp: it follows the definition; name both outputs in the node, and the runtime does too.
# Packages: onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

REAL, WHOLE = TensorProto.FLOAT, TensorProto.INT32
SHAPES = {"q": [1, 3, 32], "k": [1, 3, 16], "v": [1, 3, 16], "past_k": [1, 1, 3, 16], "past_v": [1, 1, 3, 16]}

def run(feed, *outputs):
    names = [*SHAPES, "lengths", "total"]
    kinds = dict(domain="com.microsoft", num_heads=2, kv_num_heads=1)
    node = helper.make_node("GroupQueryAttention", names, outputs, **kinds)
    values = [helper.make_tensor_value_info(n, REAL, s) for n, s in SHAPES.items()]
    values += [helper.make_tensor_value_info("lengths", WHOLE, [1]), helper.make_tensor_value_info("total", WHOLE, [])]
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info(n, REAL, None) for n in outputs])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], feed)[0]

def by_definition(feed, past):
    q = feed["q"].reshape(1, 3, 2, 16).transpose(0, 2, 1, 3)
    k, v = (feed[n].reshape(1, 3, 1, 16).transpose(0, 2, 1, 3) for n in "kv")
    if past:
        k, v = np.concatenate([feed["past_k"], k], 2), np.concatenate([feed["past_v"], v], 2)
    seen = np.arange(k.shape[2]) <= k.shape[2] - 3 + np.arange(3)[:, None]
    scores = np.where(seen, q @ k.transpose(0, 1, 3, 2) / 4, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = weights / weights.sum(-1, keepdims=True) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(1, 3, 32)

rng = np.random.default_rng(0)
feed = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
feed |= {"lengths": np.array([5], np.int32), "total": np.array(6, np.int32)}
want, alone = by_definition(feed, True), by_definition(feed, False)
both, one = run(feed, "y", "present_k", "present_v"), run(feed, "y")
print("largest |y|", np.abs(want).max())
print("with present_*: off by", np.abs(both - want).max())
print("without: off by", np.abs(one - want).max(), " from attention without the past by", np.abs(one - alone).max())
assert np.abs(both - want).max() < 1e-5
assert np.abs(one - want).max() > 0.1 and np.abs(one - alone).max() > 0.1
PY
