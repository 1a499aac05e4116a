#!/usr/bin/env bash
# The file of silero-vad takes a window of 512 samples without an error, and then hears no speech at all.
#
# Guess: at 16 kHz a window is 512 samples, as the package's own `get_speech_timestamps` cuts it, and the state carries
#   what came before.
# Seen: the model was made for 576: the last 64 samples of the window before stand in front, which the package's Python
#   wrapper adds. The file's input is [N, T] with both axes open. Of the same voice-like sound the probabilities are .02
#   to .28 with these samples, and .001 at every window without them.
# For users of onnxlrp: a map of a window of 512 explains a model that hears nothing; give 576.
# Packages: silero-vad==6.2.3 onnxruntime==1.32.0 numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q onnxruntime==1.32.0 numpy==2.4.6
"$here/venv/bin/pip" download -q --no-deps -d "$here" silero-vad==6.2.3
"$here/venv/bin/python" -W ignore - "$here" <<'PY'
import glob
import sys
import zipfile

import numpy as np
import onnxruntime as ort

(wheel,) = glob.glob(f"{sys.argv[1]}/silero_vad-*.whl")
file = zipfile.ZipFile(wheel).read("silero_vad/data/silero_vad.onnx")
session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
print("onnxruntime", ort.__version__, " input", session.get_inputs()[0].shape)

t = np.arange(32 * 512) / 16000  # a second of a vowel: harmonics of 140 Hz under three formants, pitch and level moving
phase = 2 * np.pi * np.cumsum(140 * (1 + 0.03 * np.sin(8 * np.pi * t))) / 16000
level = [sum(np.exp(-(((140 * k - f) / 130) ** 2)) for f in (700, 1200, 2500)) for k in range(1, 25)]
wave = sum(a * np.sin(k * phase) for k, a in enumerate(level, 1)) * (0.6 + 0.4 * np.sin(6 * np.pi * t))
wave = (0.3 * wave / np.abs(wave).max()).astype(np.float32)

found = {}
for context in (64, 0):
    state, before, said = np.zeros((2, 1, 128), np.float32), np.zeros(context, np.float32), []
    for window in wave.reshape(32, 512):
        x = np.concatenate([before, window])[None]
        y, state = session.run(None, {"input": x, "state": state, "sr": np.array(16000)})
        said.append(y.item())
        before = window[512 - context :]
    found[context] = np.array(said)
    print(f"{context} samples before each window: probabilities {min(said):.4f} to {max(said):.4f}")
assert found[64].max() > 0.2 and found[64].min() > 0.01
assert found[0].max() < 0.005
PY
