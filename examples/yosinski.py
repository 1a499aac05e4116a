"""Four regularisers of prototypes, each switched on alone.

The tutorial (Samek, Montavon & Müller, CVPR 2018) shows prototypes of Yosinski, Clune, Nguyen, Fuchs & Lipson (ICML
workshop 2015): ascent of a class's score in pixels ends in noise; decay, blur, clipping of pixels of small norm and of
small contribution each take some of it away. All start from the same noise here; the score under 20 small shifts,
scales and turns says what is left of the class.

    python examples/yosinski.py [picture.png]
"""

import sys
from pathlib import Path

from figure import picture, sheet

import onnxlrp
from onnxlrp.analysis.prototypes.search import Prototype

MODELS = Path(__file__).parent.parent / "models"
NAMES = {"none": (), "decay": ("decay",), "blur": ("blur",), "small norm": ("norm",), "contribution": ("contribution",)}


def measure(target: str = "star") -> dict[str, Prototype]:
    """Make the prototype of a class under each regulariser alone, and without any."""
    model = onnxlrp.load(MODELS / "shapes.onnx")
    return {
        name: model.prototype(target, style="yosinski", steps=96, seed=1, yosinski=regularisers)
        for name, regularisers in NAMES.items()
    }


def main(path: Path) -> dict[str, Prototype]:
    """Draw the picture, and return what `measure` does."""
    found = measure()
    panels = []
    for name, one in found.items():
        moved = one.evidence["transformed"]["score"][0]
        print(f"{name:12} score {one.scores[0]:6.2f}, under small moves {moved:6.2f}")
        panels.append(picture(f"{name} {one.scores[0]:.0f} / {moved:.0f}", one.images[0], 128))
    note = "The star of models/shapes.onnx from the same noise: its score / its mean score under 20 small moves."
    sheet("Yosinski's regularisers, each alone", note, [panels]).save(path)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "yosinski.png"))
