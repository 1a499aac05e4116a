"""Presets for transformers by patches: ABPC on photographs, with an edge map and a centre Gaussian as controls.

ABPC is the area under the logit of the explained class while patches are replaced by a blurred picture, the least
relevant first, less that with the most relevant first (Chefer et al. 2021; Achtibat et al. 2024). Larger is better.
Pixels in values that the model was not trained on change the order of methods, so that none may be assumed.

    python benchmarks/attention.py vit.onnx photographs/ --prep benchmarks/vit_tiny.prep.toml -o OUT.json
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import onnxlrp
from onnxlrp.evaluation.results import summary

Array = npt.NDArray[Any]
PATCH, WIDTH, SIGMA, AT_ONCE = 16, 51, 20.0, 14
BASE = "epsilon_plus_flat"
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    BASE: (BASE, {}),
    "attention": ("attention", {}),
    "attention_flat": ("attention_flat", {}),
    "chefer": ("chefer", {}),
    "attention gamma .1": ("attention", {"gamma": 0.1}),
    "attnlrp gamma .25, first 1": ("attnlrp", {"gamma": 0.25, "first_gamma": 1.0}),
    "attention_rollout": ("attention_rollout", {}),
    "attnlrp": ("attnlrp", {}),
    "attnlrp gamma .05, first .25": ("attnlrp", {"gamma": 0.05, "first_gamma": 0.25}),
    "epsilon": ("epsilon", {}),
    "gradient_x_input": ("gradient_x_input", {}),
    "grad_cam": ("grad_cam", {}),
    "layer_cam": ("layer_cam", {}),
}


def blurred(x: Array) -> Array:
    """Return a picture [C, H, W] under a Gaussian, its edges reflected."""
    kernel = np.exp(-0.5 * ((np.arange(WIDTH) - WIDTH // 2) / SIGMA) ** 2)
    for axis in (1, 2):
        pads = [(WIDTH // 2,) * 2 if i == axis else (0, 0) for i in range(3)]
        wide = np.pad(x, pads, mode="reflect")
        x = np.apply_along_axis(lambda row: np.convolve(row, kernel / kernel.sum(), "valid"), axis, wide)
    return x.astype(np.float32)


def patches(heat: Array) -> Array:
    """Return the sums [rows · columns] over the patches of a map [H, W]."""
    rows, columns = heat.shape[0] // PATCH, heat.shape[1] // PATCH
    summed: Array = heat.reshape(rows, PATCH, columns, PATCH).sum(axis=(1, 3))
    return summed.ravel()


def area(model: onnxlrp.Model, x: Array, fill: Array, order: Array, target: int) -> float:
    """Return the mean logit of the target while patches are filled in an order, that with none and all of them aside.

    Both are the same in every order. What is left is scaled as if they stood there: their difference is zero.
    """
    rows, current, columns = [], x.copy(), x.shape[2] // PATCH
    for start in range(0, len(order) - AT_ONCE, AT_ONCE):
        for place in order[start : start + AT_ONCE]:
            top, left = (PATCH * int(i) for i in divmod(place, columns))
            here = np.s_[:, top : top + PATCH, left : left + PATCH]
            current[here] = fill[here]
        rows.append(current.copy())
    logits = model.outputs(np.stack(rows))["logits"].reshape(len(rows), -1)
    return float(logits[:, target].sum()) / (len(rows) + 2)


def edges(x: Array) -> Array:
    """Return the sizes of the slopes of a picture."""
    slopes = np.gradient(x, axis=(1, 2))
    size: Array = np.sqrt(sum(slope**2 for slope in slopes)).sum(axis=0)
    return size


def centre(x: Array) -> Array:
    """Return a Gaussian around the middle of a picture."""
    height, width = x.shape[1:]
    down, right = np.mgrid[:height, :width]
    heat: Array = np.exp(-((down - height / 2) ** 2 + (right - width / 2) ** 2) / (2 * (height / 4) ** 2))
    return heat


CONTROLS = {"edges": edges, "centre": centre}


@cache
def opened(model: Path, prep: str | None) -> onnxlrp.Model:
    """Load a model whose preprocessing is stated."""
    found = onnxlrp.load(model, prep=prep)
    if found.preprocessing.values_assumed:
        raise SystemExit(f"the preprocessing of {model} is assumed: state it with --prep")
    return found


def judged(path: Path, label: str, file: Path, prep: str | None) -> tuple[float, float]:
    """Return ABPC, and the negative share of relevance, of the map of one picture."""
    model = opened(file, prep)
    x = model.read(path).values[0]
    target = int(model.outputs(x[None])["logits"].argmax())
    if label in CONTROLS:
        heat = CONTROLS[label](x)
    else:
        method, options = METHODS[label]
        heat = model.explain(x[None], target, method=method, **options).relevance[0].sum(axis=0)
    fill, order = blurred(x), np.argsort(patches(heat), kind="stable")
    least, most = (area(model, x, fill, ranked, target) for ranked in (order, order[::-1]))
    return round(least - most, 4), round(float(-np.minimum(heat, 0).sum() / np.abs(heat).sum()), 4)


def row(values: Array, base: Array) -> dict[str, Any]:
    """Return means of a method [pictures, 2], and how much its ABPC is above that of another one, with the interval."""
    difference = values[:, 0] - base
    return {
        "abpc": round(float(values[:, 0].mean()), 3),
        "difference": [round(float(v), 3) for v in summary(difference, 0)],
        "better_on": int((difference > 0).sum()),
        "negative_share": round(float(values[:, 1].mean()), 3),
        "values": values[:, 0].tolist(),
    }


def main() -> None:
    """Judge one method after another on every picture; what is done is written, and the file goes on from there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--prep", help="preprocessing, a preset or a .toml file; by default what stands by the model")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each for pictures of its own")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    paths = [p for p in sorted(args.pictures.iterdir()) if p.suffix in (".jpg", ".png") and "mask" not in p.stem]
    about = {
        "date": str(date.today()),
        "model": args.model.name,
        "pictures": [path.stem for path in paths],
        "preprocessing": opened(args.model, args.prep).preprocessing.describe(),
        "onnxlrp": onnxlrp.__version__,
    }
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    table = kept["methods"] if all(kept.get(key) == about[key] for key in about if key != "date") else {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for label in (*METHODS, *CONTROLS):
            if label in table:
                continue
            one = partial(judged, label=label, file=args.model, prep=args.prep)
            values = np.array(list(pool.map(one, paths)))
            table[label] = row(values, values[:, 0] if label == BASE else np.array(table[BASE]["values"]))
            print(f"{label:30} {table[label]}", flush=True)
            args.out.write_text(json.dumps({**about, "methods": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
