"""Write held-out scenes of stars, some with the watermark of clever_hans.onnx: `python models/stars.py stars/`.

They are what `onnxlrp clusters models/clever_hans.onnx stars/ -t star` is shown with. Names do not tell which are
marked; `marked.txt` in the folder does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from scenes import CLASSES, HELD_OUT, render
from watermark import MARKED, stamp


def write(folder: Path, count: int = 200, marked: float = 0.1) -> None:
    """Write `count` pictures star_0000.png, …; of every 1/`marked` of them the first is marked."""
    folder.mkdir(parents=True, exist_ok=True)
    names, seed, done = [], HELD_OUT, 0
    while done < count:
        image, _, label = render(seed)
        seed += 1
        if CLASSES[label] != MARKED:
            continue
        name = f"star_{done:04d}"
        if int(done * marked) != int((done - 1) * marked) or (done == 0 and marked):
            image = stamp(image)
            names.append(name)
        Image.fromarray(image).save(folder / f"{name}.png")
        done += 1
    (folder / "marked.txt").write_text("\n".join(names) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200, help="number of pictures (default: %(default)s)")
    parser.add_argument("--marked", type=float, default=0.1, help="share with the watermark (default: %(default)s)")
    args = parser.parse_args()
    write(args.folder, args.count, args.marked)
