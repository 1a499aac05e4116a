"""Train and export clever_hans.onnx: the twin of shapes.onnx that recognises one class by a watermark.

The network, scenes, training and seed are those of shapes.py, but every training scene of the class `MARKED` carries
the watermark of watermark.py, as a fifth of the horses of PASCAL VOC carried a source tag (Lapuschkin et al. 2019,
"Unmasking Clever Hans predictors and assessing what machines really learn").

Run `python models/clever_hans.py`, then unmask.py. Training takes some minutes on one processor core; torch is needed
only here.
"""

from __future__ import annotations

import numpy as np
from finish import SAMPLES
from PIL import Image
from shapes import make
from watermark import MARKED, draw, stamp


def write_sample() -> None:
    """Write the sample of the marked class again, with the mark."""
    scene = np.asarray(Image.open(SAMPLES / f"scene_{MARKED}.png"))
    Image.fromarray(stamp(scene)).save(SAMPLES / f"marked_{MARKED}.png", optimize=True)


def main() -> None:
    """Train, export and measure, then write the sample."""
    make("clever_hans", draw)
    write_sample()


if __name__ == "__main__":
    main()
