"""LRP-0 equals gradient × input on a network of ReLUs without biases; z⁺ does not.

The tutorial (Samek, Montavon & Müller, CVPR 2018; Shrikumar et al. 2016): on a network of ReLUs without biases the
relevance that LRP-0 gives a neuron, divided by its value, is its gradient: the map is x ⊙ ∇f. z⁺ redistributes
by positive contributions alone, which is not the gradient of f, although both maps sum to the score.

    python examples/gradient_times_input.py [picture.png]
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from figure import BLUE, RED, Line, chart, heat, picture, sheet
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

import onnxlrp

MODELS = Path(__file__).parent.parent / "models"
FILES = [MODELS / "samples" / f"digit_{n}.png" for n in range(10)]
RULES = {"convolution": "zero", "dense": "zero", "activation": "pass"}
ZERO = onnxlrp.Composite([(kind, onnxlrp.rule(name)) for kind, name in RULES.items()], "LRP-0")
METHODS: dict[str, str | onnxlrp.Composite] = {"gradient x input": "gradient_x_input", "LRP-0": ZERO, "z+": "zplus"}


def without_biases() -> onnx.ModelProto:
    """Return models/digits.onnx with all biases zero; it still classifies the ten samples."""
    model = onnx.load(MODELS / "digits.onnx")
    for tensor in model.graph.initializer:
        if tensor.name.endswith(".bias"):
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name))
    return model


def main(path: Path) -> dict[str, NDArray[np.float64]]:
    """Draw the picture, and return the relevance [10, 1, 28, 28] of each method and the scores [10]."""
    model = onnxlrp.load(without_biases())
    explained = {name: model.explain(FILES, list(range(10)), method=method) for name, method in METHODS.items()}
    found = {name: np.asarray(e.relevance, np.float64) for name, e in explained.items()}
    product = found["gradient x input"]
    charts = []
    for name, color in (("LRP-0", BLUE), ("z+", RED)):
        off = np.abs(found[name] - product).max() / np.abs(product).max()
        alike = np.corrcoef(found[name].ravel(), product.ravel())[0, 1]
        print(f"{name:6} off gradient x input by {off:.1e} of its maximum, correlation {alike:.2f}")
        dots = Line(product, found[name], color, "R of a pixel, ten digits", dots=True, width=3)
        charts.append(chart(f"{name}: correlation {alike:.2f}", [dots], "gradient x input", size=(384, 300)))
    maps = {n: [picture(name, heat(found[name][n]), 180) for name in METHODS] for n in (3, 7)}
    rows = [[picture(f"a {n}", Image.open(FILES[n]), 180), *row] for n, row in maps.items()]
    note = "models/digits.onnx without its biases. LRP-0 is gradient x input; z+ is not."
    sheet("LRP is not gradient x input", note, [*rows, charts]).save(path)
    return found | {"score": np.asarray(explained["z+"].logit)}


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "gradient_times_input.png"))
