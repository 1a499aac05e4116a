#!/usr/bin/env bash
# A row of scaled_dot_product_attention that sees nothing is 0 in torch, and not in the exported file.
#
# Guess: the files of both of torch's exporters give what torch gives, for masks of bool and masks added as 0 and -inf.
# Seen: for bool the dynamo exporter's file gives the mean of all values (the older exporter's 0); for -inf both give NaN.
#   The rows are those of padding on the left; behind more layers, other logits of these positions follow.
# For users of onnxlrp: the file is explained; rows that see nothing are not torch's.
# Packages: torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - "$here/attention.onnx" <<'PY'
import sys
import numpy as np
import onnxruntime as ort
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

class Net(nn.Module):
    def forward(self, q, k, v, mask):
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)

def rows(mask, dynamo):
    how = {"dynamo": True, "verbose": False, "external_data": False} if dynamo else {"dynamo": False, "opset_version": 17}
    torch.onnx.export(Net(), (q, k, v, mask), sys.argv[1], input_names=["q", "k", "v", "mask"], **how)
    session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    feed = zip(("q", "k", "v", "mask"), (q, k, v, mask))
    return session.run(None, {name: value.numpy() for name, value in feed})[0][0, 0]

torch.manual_seed(0)
q, k, v = (torch.randn(1, 1, 3, 4) for _ in range(3))
seen = torch.tensor([[False, False, False], [False, True, False], [False, True, True]])[None, None]
added = torch.where(seen, 0.0, float("-inf"))
for mask in (seen, added):
    want = Net()(q, k, v, mask)[0, 0].numpy()
    older, newer = rows(mask, False), rows(mask, True)
    print(mask.dtype, "first row: torch", want[0], " older exporter", older[0], " dynamo", newer[0])
    assert (want[0] == 0).all()
    for found in (older, newer):
        np.testing.assert_allclose(found[1:], want[1:], atol=1e-5)
    if mask is seen:
        assert (older[0] == 0).all()
        np.testing.assert_allclose(newer[0], v[0, 0].mean(0).numpy(), atol=1e-5)
    else:
        assert np.isnan(older[0]).all() and np.isnan(newer[0]).all()
PY
