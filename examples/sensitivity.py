"""Sensitivity explains a variation of the score, not the score.

The tutorial (Samek, Montavon & Müller, CVPR 2018): R = (∂f/∂x)² sums to ‖∇f‖², the rate at which f changes along the
gradient: it shows what would make this star more of a star. The relevance of deep Taylor decomposition sums to f: it
shows what makes it a star. Here a scene emerges from grey, and both sums are compared with what they should explain.

    python examples/sensitivity.py [picture.png]
"""

import sys
from pathlib import Path

import numpy as np
from figure import BLUE, GREY, RED, Line, chart, heat, picture, sheet
from numpy.typing import NDArray
from PIL import Image

import onnxlrp

MODELS = Path(__file__).parent.parent / "models"
STEP = 0.002


def measure() -> dict[str, NDArray[np.float64]]:
    """Measure by contrast in 0…1: the score f, its change along the gradient, and ΣR of both methods."""
    model = onnxlrp.load(MODELS / "shapes.onnx")
    scene = model.preprocessing.apply(Image.open(MODELS / "samples" / "scene_star.png"))
    contrast = np.linspace(0.05, 1, 39)
    x = (contrast.reshape(-1, 1, 1, 1) * scene).astype(np.float32)  # 0 is grey for this model
    gradient = model.explain(x, "star", method="gradient").relevance
    sensitivity = model.explain(x, "star", method="sensitivity")
    taylor = model.explain(x, "star", method="deep_taylor_bounded")
    score = np.asarray(taylor.logit, np.float64)
    length = np.sqrt((gradient.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))
    moved = (x + gradient * (STEP / length).reshape(-1, 1, 1, 1)).astype(np.float32)
    change = (np.asarray(model.explain(moved, "star", method="gradient").logit) - score) / STEP * length
    sums = {"sensitivity": sensitivity.total, "deep Taylor": taylor.total}
    maps = {"sensitivity map": sensitivity.relevance[-1], "deep Taylor map": taylor.relevance[-1]}
    return {"contrast": contrast, "score": score, "change": change, **sums, **maps}


def main(path: Path) -> dict[str, NDArray[np.float64]]:
    """Draw the picture, and return what `measure` does."""
    found, charts = measure(), []
    for name, of, color in (("deep Taylor", "score", BLUE), ("sensitivity", "change", RED)):
        off, alike = np.abs(found[name] / found[of] - 1).mean(), np.corrcoef(found[name], found["score"])[0, 1]
        print(f"{name:12} sums to the {of}, off by {off:.1%}; correlation with the score {alike:+.2f}")
        known = Line(found["contrast"], found[of], GREY, of, width=6)
        summed = Line(found["contrast"], found[name], color, "sum of R")
        charts.append(chart(f"The {of}, and what {name} sums to", [known, summed], "contrast"))
    maps = [picture(name, heat(found[name]), 258) for name in ("deep Taylor map", "sensitivity map")]
    rows = [charts, [picture("the scene", Image.open(MODELS / "samples" / "scene_star.png"), 258), *maps]]
    note = "A star comes out of the grey. One map sums to its score, the other to how fast the score changes."
    sheet("Sensitivity explains a variation, not the value", note, rows).save(path)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "sensitivity.png"))
