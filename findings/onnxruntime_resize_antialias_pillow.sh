#!/usr/bin/env bash
# onnxruntime's antialiased Resize of uint8 is close to Pillow's, and not equal to it.
#
# Guess: `antialias=1` on uint8 gives Pillow's pixels: both use whole weights of 22 bits, columns first.
# Seen: up to 2 levels apart at up to 4.6 % of the pixels of a smooth picture (linear, enlarged; more on photographs). In
# float32 nothing is rounded in between, and nearly every pixel is off by a part of a level.
# For users of onnxlrp: explainers that take pictures (`export --embed-preprocessing`) do not use it. They multiply by
# matrices of Pillow's own weights, in float64, and are equal to it.
# Packages: onnx==1.23.2 onnxruntime==1.32.0 pillow==12.3.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 pillow==12.3.0 numpy==2.4.6
"$here/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import helper
from PIL import Image

def resized(x, shape, mode):
    node = helper.make_node("Resize", ["x", "", "", "n"], ["y"], mode=mode, antialias=1, axes=[0, 1], cubic_coeff_a=-0.5)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    ends = [helper.make_tensor_value_info("x", kind, x.shape), helper.make_tensor_value_info("n", 7, [2])]
    graph = helper.make_graph([node], "g", ends, [helper.make_tensor_value_info("y", kind, None)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x, "n": np.array(shape)})[0]

rng = np.random.default_rng(0)
small = Image.fromarray(rng.integers(0, 256, (36, 48), dtype=np.uint8))
picture = small.resize((480, 360), Image.Resampling.BICUBIC)  # smooth, as photographs are
x = np.asarray(picture)
most = 0
for mode, filter in (("linear", Image.Resampling.BILINEAR), ("cubic", Image.Resampling.BICUBIC)):
    for shape in ((256, 341), (224, 224), (700, 900)):
        wanted = np.asarray(picture.resize(shape[::-1], filter)).astype(int)
        off = np.abs(resized(x, shape, mode).astype(int) - wanted)
        floats = np.abs(resized(x.astype(np.float32), shape, mode) - wanted)
        print(mode, shape, f"uint8: up to {off.max()} at {100 * (off > 0).mean():.2f} %; float32: up to {floats.max():.1f}")
        most = max(most, int(off.max()))
assert most > 1
PY
