"""Concepts that a class is sensitive to, and that units detect: `python docs/concepts.py docs/pictures/`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from onnxlrp.cli import main

MODELS = Path("models")
SCENES = 96


def tcav(folder: Path, figure: Path) -> None:
    """A model that knows zebras by stripes, and is blind to dots."""
    import textures

    textures.write(folder)
    concepts = [word for kind in ("stripes", "dots") for word in ("--concept", str(folder / kind))]
    words = [str(folder / "planted.onnx"), str(folder / "images"), "-t", "zebra", "--layer", "detectors"]
    run("test", *words, *concepts, "--random", str(folder / "plain"), "--figure", str(figure))


def detectors(folder: Path, figure: Path) -> None:
    """Units of shapes.onnx, and the masks of the shapes that it tells apart."""
    import scenes

    (folder / "scenes").mkdir()
    for n in range(SCENES):
        picture, mask, label = scenes.render(4_000_000 + n)
        place = folder / "masks" / scenes.CLASSES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / "scenes" / f"{n:03d}.png")
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(place / f"{n:03d}.png")
    words = [str(MODELS / "shapes.onnx"), str(folder / "scenes"), "--masks", str(folder / "masks")]
    run("find", *words, "--layer", "blocks.4.relu1", "--figure", str(figure))


def run(*words: str) -> None:
    """Run the command."""
    if code := main(["concepts", *words, "-q"]):
        raise SystemExit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(MODELS))
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as made:
        tcav(Path(made), out / "tcav.png")
        detectors(Path(made), out / "detectors.png")
