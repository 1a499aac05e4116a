"""Inversions by layer, by a decoder, and digits of a generator: `python docs/inversions.py docs/pictures/`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import onnxlrp
from onnxlrp.pictures.figure import figure
from onnxlrp.pictures.style import Style

MODELS = Path("models")
LAYERS = ("stem.2", "blocks.0.relu2", "blocks.1.relu2", "blocks.2.relu2", "blocks.4.relu2")


def enlarged(picture: Image.Image, factor: int) -> Image.Image:
    """Enlarge a picture by a whole number."""
    return picture.convert("RGB").resize((picture.width * factor, picture.height * factor), 0)


def row(pictures: Sequence[Image.Image], factor: int, title: str, caption: str) -> Image.Image:
    """Put pictures side by side."""
    return figure([enlarged(one, factor) for one in pictures], None, Style(title=title, caption=caption))


def by_layer(scene: str) -> Image.Image:
    """A scene and its inversions from the first layers of shapes.onnx to the last."""
    model = onnxlrp.load(MODELS / "shapes.onnx")
    found = [model.invert(MODELS / "samples" / scene, layer, steps=300) for layer in LAYERS]
    errors = ", ".join(
        f"{layer} {one.errors[0]:.2g}/{one.picture_errors[0]:.2g}" for layer, one in zip(LAYERS, found, strict=True)
    )
    original = found[0].domain.picture(found[0].originals[0])
    caption = f"the scene; error in the layer / in pixels: {errors}; mean colour {found[0].mean_errors[0]:.2g}"
    return row([original, *(one.images[0] for one in found)], 3, "shapes.onnx: what each layer keeps", caption)


def by_decoder(digits: Sequence[int]) -> Image.Image:
    """Digits, decoded, and searched for in the same layer."""
    model = onnxlrp.load(MODELS / "digits.onnx")
    paths = [MODELS / "samples" / f"digit_{digit}.png" for digit in digits]
    decoded = model.invert(paths, decoder=MODELS / "digits_decoder.onnx")
    searched = model.invert(paths, decoded.layer.label)
    rows = [
        row([decoded.domain.picture(z) for z in decoded.originals], 3, "held-out digits", ""),
        row(decoded.images, 3, "by the decoder", f"error in pixels {decoded.picture_errors.mean():.2g}"),
        row(searched.images, 3, "by the search", f"error in pixels {searched.picture_errors.mean():.2g}"),
    ]
    return below(rows)


def by_generator() -> Image.Image:
    """The preferred digits of every class, through the generator and in pixels."""
    model = onnxlrp.load(MODELS / "digits.onnx")
    with np.load(MODELS / "samples" / "digits.npz") as data:
        chosen = ~data["held_out"]
        small = np.rint(data["images"][chosen][:300] * (255 / 16)).astype(np.uint8)
    known = [Image.fromarray(one).resize((28, 28), Image.Resampling.BILINEAR) for one in small]
    through = [
        model.prototype(digit, generator=MODELS / "digits_generator.onnx", images=known).images[0]
        for digit in range(10)
    ]
    pixels = [model.prototype(digit, style="pixels").images[0] for digit in range(10)]
    return below([row(through, 3, "through the generator", ""), row(pixels, 3, "in pixels", "")])


def below(rows: Sequence[Image.Image]) -> Image.Image:
    """Put rows one below the other."""
    whole = Image.new("RGB", (max(one.width for one in rows), sum(one.height for one in rows)), "white")
    top = 0
    for one in rows:
        whole.paste(one, (0, top))
        top += one.height
    return whole


def main(folder: str) -> None:
    """Write the pictures into a folder."""
    made = {
        "inverted_by_layer": by_layer("scene_ring.png"),
        "inverted_by_decoder": by_decoder((2, 3, 4, 5, 6, 7)),
        "preferred_digits": by_generator(),
    }
    for name, picture in made.items():
        picture.save(Path(folder) / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
