"""Inversion and generators: error by depth, a decoder against the mean picture, preferred inputs beside the data.

    python benchmarks/inversion.py --data DATA                    # all; half an hour on two cores
    python benchmarks/inversion.py --parts decoder,generator      # what needs the shipped models alone

DATA holds photographs (`images`) and SqueezeNet (`models`); without it the depth is measured on shipped models alone.
Results go to benchmarks/results/inversion.json, part by part.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import handwriting
import numpy as np
from records import Record, environment, save, words

import onnxlrp

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
OUT = HERE / "results" / "inversion.json"
PARTS = ("depth", "decoder", "generator")
HELD_OUT = 100
EACH = 10  # preferred inputs of each digit
SQUEEZENET = "squeezenet1.1_mxnet_nchw.onnx"
PHOTOGRAPHS = ("macaw.jpg", "labrador.jpg", "goldfish.jpg")
FIRES = ("concat0", "concat1", "concat3", "concat5", "concat7")

Array = np.ndarray[Any, np.dtype[Any]]


def depth(data: Path | None, steps: int) -> list[Record]:
    """Return the errors of inversions by layer, from the first to the last, for each model."""
    samples = MODELS / "samples"
    digits, scenes = sorted(samples.glob("digit_?.png")), sorted(samples.glob("scene_*.png"))
    jobs: list[tuple[Path, list[Path], Sequence[str]]] = [
        (MODELS / "digits.onnx", digits, ("relu1", "relu2", "relu3", "relu4", "dense2")),
        (
            MODELS / "shapes.onnx",
            [path for path in scenes if "mask" not in path.stem],
            ("stem.2", *(f"blocks.{n}.relu2" for n in range(5))),
        ),
    ]
    if data is not None:
        names = [f"squeezenet0_{name}_op" for name in FIRES]
        pictures = [data / "images" / name for name in PHOTOGRAPHS]
        jobs.append((data / "models" / SQUEEZENET, pictures, [*names, "squeezenet0_conv25_fwd_op"]))
    records = []
    for path, pictures, layers in jobs:
        model, rows = onnxlrp.load(path), []
        for layer in layers:
            found = model.invert(pictures, layer, steps=steps, batch_size=4)
            rows.append(
                {
                    "layer": layer,
                    "layer error": float(found.errors.mean()),
                    "picture error": float(found.picture_errors.mean()),
                    "regularisation": found.about["regularisation"],
                }
            )
            print(path.name, json.dumps(rows[-1]), flush=True)
        mean = float(found.mean_errors.mean())
        records.append({"model": path.name, "pictures": len(pictures), "mean picture": mean, "layers": rows})
    return records


def decoder(steps: int) -> Record:
    """Return the errors of the shipped decoder on held-out digits, beside a search in the same layer."""
    x, known = inputs(held_out=True)[:HELD_OUT], inputs(held_out=False)
    model = onnxlrp.load(MODELS / "digits.onnx")
    drawn = model.invert(x, decoder=MODELS / "digits_decoder.onnx", images=known)
    searched = model.invert(x, drawn.layer.label, images=known, steps=steps, batch_size=HELD_OUT)
    return {
        "digits": len(x),
        "layer": drawn.layer.label,
        "better than the mean picture": int((drawn.picture_errors < drawn.mean_errors).sum()),
        "picture error": {
            "decoder": float(drawn.picture_errors.mean()),
            "search": float(searched.picture_errors.mean()),
            "mean picture": float(drawn.mean_errors.mean()),
        },
        "layer error": {"decoder": float(drawn.errors.mean()), "search": float(searched.errors.mean())},
    }


def generator() -> Record:
    """Return how many preferred inputs are of their class, and how near they are to the nearest training picture."""
    known, held_out = inputs(held_out=False), inputs(held_out=True)
    model = onnxlrp.load(MODELS / "digits.onnx")
    found: dict[str, list[Any]] = {"generator": [], "pixels": []}
    for digit in range(10):
        through = {"generator": MODELS / "digits_generator.onnx", "images": known, "code_layer": "relu4"}
        for name, how in (("generator", through), ("pixels", {"style": "pixels"})):
            found[name].append((digit, model.prototype(digit, n=EACH, seed=digit, **how)))
            print(name, digit, found[name][-1][1].scores.mean(), flush=True)
    rows = {
        name: {
            "own class": float(np.mean([one.evidence["best"] == digit for digit, one in made])),
            "score": float(np.mean([one.scores for _, one in made])),
            "distance": float(np.mean([nearest(one.inputs, known) for _, one in made])),
        }
        for name, made in found.items()
    }
    real = {"distance": float(nearest(held_out, known).mean()), "pictures": len(held_out)}
    return {"each": EACH, "steps": found["generator"][0][1].about["steps"], "made": rows, "held-out digits": real}


def inputs(held_out: bool) -> Array:
    """Return digits as digits.onnx takes them [N, 1, 28, 28]."""
    return (handwriting.digits(held_out)[0][:, None] / np.float32(255)).astype(np.float32)


def nearest(x: Array, known: Array) -> Array:
    """Return the Euclidean distance of each picture to the nearest of others [N]."""
    flat, others = x.reshape(len(x), -1).astype(np.float64), known.reshape(len(known), -1).astype(np.float64)
    return np.asarray(np.sqrt(np.array([np.square(others - one).sum(axis=1).min() for one in flat])))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, and keep the others of the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--parts", type=words, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    content: Record = json.loads(args.out.read_text()) if args.out.exists() else {}
    for part in args.parts:
        measure = {
            "depth": lambda: depth(args.data, args.steps),
            "decoder": lambda: decoder(args.steps),
            "generator": generator,
        }
        content[part] = measure[part]()
        content["meta"] = {**environment(("numpy", "onnxruntime")), "steps": args.steps}
        save(args.out, content)


if __name__ == "__main__":
    main()
