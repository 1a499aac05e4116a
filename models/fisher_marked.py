"""Train and export fisher_marked.onnx: the twin of fisher.onnx whose training scenes of stars carry the watermark.

What clever_hans.py does to shapes.onnx, for Fisher vectors: does a model that adds up local descriptors of the whole
scene learn the mark too? Run `python models/fisher_marked.py`, then unmask.py. No torch is needed.
"""

from __future__ import annotations

from features import make
from fisher import RECIPE
from watermark import draw

if __name__ == "__main__":
    make("fisher_marked", RECIPE, draw)
