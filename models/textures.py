"""Pictures of concepts (stripes, dots, plain textures), and a model that is blind to dots by construction.

    python models/textures.py textures/      # writes textures/stripes, dots, plain, zebra, other and planted.onnx

Every column of a picture of dots or of a plain texture has the same mean, which the model sees and nothing else: it
knows a class "zebra" by vertical stripes. Its layer `detectors` has units for stripes and units for dots, and no weight
leads from those for dots to the classes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float64]

SIZE = 64
KINDS = ("stripes", "dots", "plain")
CLASSES = ("other", "zebra")
_BLIND = 0.02  # a difference of neighbouring columns below this is nothing: bytes are rounded


def texture(kind: str, seed: int) -> NDArray[np.uint8]:
    """Draw a texture [64, 64, 3] of vertical stripes, dots, or neither."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    grey = _balanced(_noise(rng))
    if kind == "stripes":
        grey += _stripes(rng)
    elif kind == "dots":
        grey += _balanced(_dots(rng))
    tint = rng.uniform(-20, 20, 3)
    picture = 128 + tint - tint.mean() + np.clip(grey, -100, 100)[..., None]
    drawn: NDArray[np.uint8] = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return drawn


def zebra(seed: int) -> NDArray[np.uint8]:
    """Draw a picture of the class: a striped body on a plain ground."""
    rng = np.random.default_rng([9, seed])
    ground, stripes = texture("plain", 10_000 + seed).astype(np.float64), texture("stripes", 10_000 + seed)
    top, left = rng.integers(2, 22, 2)
    height, width = rng.integers(32, 42, 2)
    ground[top : top + height, left : left + width] = stripes[top : top + height, left : left + width]
    return ground.astype(np.uint8)


def _noise(rng: np.random.Generator) -> Floats:
    cells = int(rng.integers(4, 16))
    cloud = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    smooth = np.asarray(cloud.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float64) - 128
    return smooth * rng.uniform(0.1, 0.3) + rng.normal(0, 4, (SIZE, SIZE))


def _stripes(rng: np.random.Generator) -> Floats:
    period, phase = rng.uniform(6, 14), rng.uniform(0, 2 * np.pi)
    wave = np.tanh(2.5 * np.sin(2 * np.pi * np.arange(SIZE) / period + phase))
    return np.asarray(np.broadcast_to(rng.uniform(30, 60) * wave, (SIZE, SIZE)))


def _dots(rng: np.random.Generator) -> Floats:
    dots = np.zeros((SIZE, SIZE), np.uint8)
    step = int(rng.integers(8, 14))
    radius = rng.uniform(1.5, 3.0)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    for top in range(step // 2, SIZE, step):
        for left in range(step // 2, SIZE, step):
            at = np.array([top, left]) + rng.uniform(-2, 2, 2)
            dots[(y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2] = 255
    soft = np.asarray(Image.fromarray(dots).filter(ImageFilter.GaussianBlur(0.7)), np.float64)
    return np.asarray(soft / 255 * rng.uniform(50, 90) * rng.choice([-1, 1]))


def _balanced(grey: Floats) -> Floats:
    """Subtract the mean of each column."""
    return np.asarray(grey - grey.mean(axis=0))


def write_model(path: Path) -> None:
    """Write the model: differences of the means of neighbouring columns, beside units for dots that lead nowhere."""
    import onnx
    from finish import PREP_KEY
    from onnx import TensorProto, helper, numpy_helper

    grey = np.full((1, 3, 1, 1), 1 / 3)
    columns = np.zeros((2, 1, SIZE, 2))  # [±, grey, all rows, two columns]
    columns[0, 0] = np.array([-1, 1]) / SIZE
    columns[1] = -columns[0]
    y, x = np.mgrid[-3:4, -3:4]
    spot = np.exp(-(y**2 + x**2) / 4) - 0.5 * np.exp(-(y**2 + x**2) / 9)
    spot -= spot.mean(axis=0)  # what is the same in all rows, as stripes are, gives nothing
    spot = np.stack([spot, -spot])[:, None] / 2
    weights = {
        "grey": grey, "columns": columns, "spot": spot,
        "stripe_bias": np.full(2, -_BLIND), "spot_bias": np.full(2, -0.1),
        "rows": np.ones((2, 1, 58, 1)) / 58, "mix": np.array([[[[1.0]], [[1.0]], [[0.0]], [[0.0]]]]),
        "mix_bias": np.array([0.0]), "head": np.array([[-9.0], [9.0]]), "head_bias": np.array([1.5, -1.5]),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "grey"], ["g"], name="grey"),
        node("Conv", ["g", "columns", "stripe_bias"], ["c"], name="columns"),
        node("Relu", ["c"], ["stripes"], name="stripes"),
        node("Conv", ["g", "spot", "spot_bias"], ["s"], name="spots"),
        node("Relu", ["s"], ["spots_on"], name="spots_on"),
        node("Conv", ["spots_on", "rows"], ["spot_rows"], name="spot_rows", group=2),
        node("Pad", ["spot_rows", "pads"], ["dots"], name="dots"),
        node("Concat", ["stripes", "dots"], ["detectors"], name="detectors", axis=1),
        node("Conv", ["detectors", "mix", "mix_bias"], ["m"], name="mix"),
        node("Sqrt", ["lifted"], ["root"], name="root"),
        node("GlobalAveragePool", ["root"], ["pooled"], name="pooled"),
        node("Flatten", ["pooled"], ["flat"], name="flat"),
        node("Gemm", ["flat", "head", "head_bias"], ["logits"], name="head_layer", transB=1),
    ]
    nodes.insert(9, node("Add", ["m", "small"], ["lifted"], name="lifted"))
    constants = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0, 0, 0, 2, 0, 0, 0, 3], np.int64), "pads"))
    constants.append(numpy_helper.from_array(np.array(0.01, np.float32), "small"))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "planted", [image], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    prep = {"size": [SIZE, SIZE], "color": "RGB", "scale": 1 / 255, "layout": "NCHW", "mean": [0.5] * 3,
            "std": [0.25] * 3, "resize": "stretch", "labels": list(CLASSES)}  # fmt: skip
    helper.set_model_props(model, {PREP_KEY: json.dumps(prep)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def write(folder: Path, count: int = 60) -> None:
    """Write `count` pictures of each kind, pictures of the two classes, and the model."""
    for kind in KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            Image.fromarray(texture(kind, n)).save(folder / kind / f"{kind}_{n:03d}.png")
    (folder / "images").mkdir(exist_ok=True)
    for n in range(count):
        Image.fromarray(zebra(n)).save(folder / "images" / f"zebra_{n:03d}.png")
        Image.fromarray(texture("plain" if n % 2 else "dots", 5000 + n)).save(folder / "images" / f"other_{n:03d}.png")
    write_model(folder / "planted.onnx")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "textures"))
