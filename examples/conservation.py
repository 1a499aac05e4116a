"""Relevance is conserved: its sum is the score at every layer.

The tutorial (Samek, Montavon & Müller, CVPR 2018; Bach et al. 2015; Montavon et al. 2017): propagation redistributes
f without creating or losing any of it, Σ R(pixels) = … = Σ R(layer) = … = f(x). Deep Taylor decomposition
gives biases no relevance and conserves it; epsilon_plus_flat lets them absorb their share, and the sum shrinks by it.

    python examples/conservation.py [picture.png]
"""

import sys
from pathlib import Path

import numpy as np
from figure import BLUE, GREY, Line, chart, heat, picture, sheet
from numpy.typing import NDArray
from PIL import Image

import onnxlrp

MODELS = Path(__file__).parent.parent / "models"
LAYERS = {"pool": "pool", **{f"block {n}": f"blocks.{n}.relu2" for n in (4, 3, 2, 1, 0)}, "stem": "stem.2"}
CLASSES = ("star", "cross", "ring", "circle", "square", "triangle")
SCENES = [MODELS / "samples" / f"scene_{name}.png" for name in CLASSES]
METHODS = {"epsilon_plus_flat": GREY, "deep_taylor_bounded": BLUE}


def main(path: Path) -> dict[str, NDArray[np.float64]]:
    """Draw the picture, and return Σ R / f [scenes, output and layers and pixels] by method."""
    model = onnxlrp.load(MODELS / "shapes.onnx")
    found, lines = {}, []
    for method, color in METHODS.items():
        explained = model.explain(SCENES, method=method, record=[*LAYERS.values()])
        places = {name: explained.layers[at] for name, at in LAYERS.items()} | {"pixels": explained.relevance}
        f = np.asarray(explained.logit, np.float64)
        sums = [f, *(R.sum(axis=(1, 2, 3), dtype=np.float64) for R in places.values())]
        found[method] = np.stack(sums, axis=1) / f[:, np.newaxis]
        print(f"{method:20} output > pixels  " + "  ".join(f"{share:.3f}" for share in found[method].mean(axis=0)))
        for n, shares in enumerate(found[method]):
            lines.append(Line(np.arange(len(shares)), shares, color, "" if n else method))
        heats = [picture(f"{name}: {R[0].sum():.3f}", heat(R[0]), 112) for name, R in places.items() if name != "pool"]
    by_layer = chart(
        "Sum of R / f(x), six scenes", lines, "from the output down", (628, 300), (0, 1.1), ["output", *places]
    )
    scene = picture(f"a star, f(x) = {f[0]:.3f}", Image.open(SCENES[0]), 276)
    note = "Deep Taylor hands all of the score down to the pixels. Other rules let the biases absorb their part of it."
    sheet("The sum of relevance stays, layer by layer", note, [[scene, by_layer], heats]).save(path)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "conservation.png"))
