#!/usr/bin/env bash
# torch's dynamo exporter writes an LSTM with proj_size as ONNX's LSTM, which has no projection.
#
# Guess: what the operator cannot say is written in others, or refused as the older exporter refuses it.
# Seen: the matrix of the projection is left out, the weights are cut to its width, and the export succeeds; onnxruntime
#   refuses the file when it runs.
# For users of onnxlrp: such a layer is refused by name.
# Packages: torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - "$here/lstm.onnx" <<'PY'
import sys
import onnx
import onnxruntime as ort
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True, proj_size=5)

    def forward(self, x):
        return self.rnn(x)[0]

x = torch.randn(3, 7, 4)
torch.onnx.export(Net().eval(), (x,), sys.argv[1], input_names=["x"], dynamo=True, verbose=False)
graph = onnx.load(sys.argv[1]).graph
shapes = [list(t.dims) for t in graph.initializer]
try:
    ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})
    said = ""
except Exception as error:
    said = str(error)
print([node.op_type for node in graph.node if node.op_type == "LSTM"], "weights", shapes, said.strip().splitlines()[-1][-80:])
assert any(node.op_type == "LSTM" for node in graph.node) and [5, 6] not in shapes and [1, 5, 6] not in shapes
assert "initial_c must have shape" in said
PY
