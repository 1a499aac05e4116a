"""The gradient shatters with depth, and LRP does not.

The tutorial (Samek, Montavon & Müller, CVPR 2018, after Balduzzi et al. 2017): along a path through input space the
gradient resembles white noise, the more so the more layers it has passed; relevance by z⁺ stays smooth.
Measured by autocorrelation, from the last feature map (whose gradient is the head's weights) down to the pixels.

    python examples/shattered_gradients.py [picture.png]
"""

import sys
from pathlib import Path

import numpy as np
from figure import BLUE, RED, Line, chart, heat, picture, sheet
from numpy.typing import NDArray
from PIL import Image

import onnxlrp
from onnxlrp.evaluation.metrics.shattering import autocorrelation

MODELS = Path(__file__).parent.parent / "models"
LAYERS = {**{str(n): f"blocks.{n}.relu2" for n in (4, 3, 2, 1, 0)}, "stem": "stem.2"}
PATHS = (("cross", "ring"), ("triangle", "square"), ("star", "circle"))
METHODS, POINTS, LAGS, ROW = {"gradient": RED, "epsilon_plus_flat": BLUE}, 48, 12, 35


def measure(method: str) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the mean autocorrelation over paths [layers and pixels, lags], and a row of pixels [W, T] on the last."""
    model, curves = onnxlrp.load(MODELS / "shapes.onnx"), []
    for start, stop in PATHS:
        x, y = (model.preprocessing.apply(Image.open(MODELS / "samples" / f"scene_{s}.png")) for s in (start, stop))
        path = x + np.linspace(0, 1, POINTS, dtype=np.float32).reshape(-1, 1, 1, 1) * (y - x)
        explained = model.explain(path, start, method=method, record=[*LAYERS.values()])
        places = [*(explained.layers[at] for at in LAYERS.values()), explained.relevance]
        curves.append([autocorrelation(R.reshape(1, POINTS, -1), LAGS)[0] for R in places])
    return np.mean(curves, axis=0), explained.relevance[:, :, ROW].sum(axis=1).T


def main(path: Path) -> dict[str, NDArray[np.float64]]:
    """Draw the picture, and return the autocorrelation [layers and pixels, lags] of each method."""
    found: dict[str, NDArray[np.float64]] = {}
    depths, lags, rows = [], [], []
    for method, color in METHODS.items():
        found[method], row = measure(method)
        mean = found[method][:, 1:].mean(axis=1)
        print(f"{method:18} output > pixels  ", *(f"{value:.2f}" for value in mean))
        depths.append(Line(np.arange(len(mean)), mean, color, method))
        lags.append(Line(np.arange(LAGS + 1) / (POINTS - 1), found[method][-1], color, method))
        rows.append(picture(f"{method}: a row of pixels (down) along the path (right)", heat(row, 98), 400, 256))
    names, axis = [*LAYERS, "pixels"], "block, from the output down"
    charts = [chart("Autocorrelation, layer by layer", depths, axis, span=(0, 1.05), names=names)]
    charts.append(chart("Autocorrelation at the pixels", lags, "lag, as a share of the path", span=(-0.25, 1.05)))
    note = "Along straight paths from scene to scene, models/shapes.onnx. Near 1: it moves slowly; 0: white noise."
    sheet("Gradients shatter with depth, relevance does not", note, [charts, rows]).save(path)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "shattered_gradients.png"))
