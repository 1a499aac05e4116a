"""Presets for transformers by patches: ABPC on photographs, with an edge map and a centre Gaussian as controls.

ABPC is the area under the logit of the explained class while patches are replaced by a blurred picture, the least
relevant first, less that with the most relevant first (Chefer et al. 2021; Achtibat et al. 2024). Larger is better.

    python benchmarks/attention.py vit.onnx photographs/ -o benchmarks/results/attention.json
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import onnxlrp

Array = npt.NDArray[Any]
PATCH, WIDTH, SIGMA, AT_ONCE = 16, 51, 20.0, 14
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "epsilon_plus_flat": ("epsilon_plus_flat", {}),
    "attention": ("attention", {}),
    "attention_flat": ("attention_flat", {}),
    "attnlrp": ("attnlrp", {}),
    "attnlrp gamma .05, first .25": ("attnlrp", {"gamma": 0.05, "first_gamma": 0.25}),
    "gradient_x_input": ("gradient_x_input", {}),
    "chefer": ("chefer", {}),
    "attention_rollout": ("attention_rollout", {}),
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
    """Return the mean logit of the target while patches are filled in an order."""
    rows, current, columns = [x], x.copy(), x.shape[2] // PATCH
    for start in range(0, len(order), AT_ONCE):
        for place in order[start : start + AT_ONCE]:
            top, left = (PATCH * int(i) for i in divmod(place, columns))
            here = np.s_[:, top : top + PATCH, left : left + PATCH]
            current[here] = fill[here]
        rows.append(current.copy())
    logits = model.outputs(np.stack(rows))["logits"].reshape(len(rows), -1)
    return float(logits[:, target].mean())


def controls(x: Array) -> dict[str, Array]:
    """Return maps that know nothing of the model: edges, and a Gaussian around the centre."""
    slopes = np.gradient(x, axis=(1, 2))
    height, width = x.shape[1:]
    down, right = np.mgrid[:height, :width]
    centre = np.exp(-((down - height / 2) ** 2 + (right - width / 2) ** 2) / (2 * (height / 4) ** 2))
    return {"edges": np.sqrt(sum(slope**2 for slope in slopes)).sum(axis=0), "centre": centre}


def judged(model: onnxlrp.Model, x: Array) -> dict[str, tuple[float, float]]:
    """Return ABPC, and the negative share of relevance, of every map of one picture."""
    target = int(model.outputs(x[None])["logits"].argmax())
    maps = controls(x)
    for label, (method, options) in METHODS.items():
        maps[label] = model.explain(x[None], target, method=method, **options).relevance[0].sum(axis=0)
    fill, found = blurred(x), {}
    for label, heat in maps.items():
        order = np.argsort(patches(heat), kind="stable")
        least, most = (area(model, x, fill, ranked, target) for ranked in (order, order[::-1]))
        found[label] = (least - most, float(-np.minimum(heat, 0).sum() / np.abs(heat).sum()))
    return found


def main() -> None:
    """Judge every method on every picture, and write means, paired differences and their intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    model = onnxlrp.load(args.model)
    paths = [p for p in sorted(args.pictures.iterdir()) if p.suffix in (".jpg", ".png") and "mask" not in p.stem]
    every = [judged(model, model.read(path).values[0]) for path in paths]
    values = {label: np.array([one[label] for one in every]) for label in every[0]}
    base, rng, table = values["epsilon_plus_flat"][:, 0], np.random.default_rng(0), {}
    for label, found in values.items():
        difference = found[:, 0] - base
        means = [rng.choice(difference, len(difference)).mean() for _ in range(10_000)]
        low, high = np.percentile(means, [2.5, 97.5])
        table[label] = {
            "abpc": round(float(found[:, 0].mean()), 3),
            "difference": [round(float(v), 3) for v in (difference.mean(), low, high)],
            "better_on": int((difference > 0).sum()),
            "negative_share": round(float(found[:, 1].mean()), 3),
        }
        print(f"{label:30} {table[label]}")
    about = {
        "date": str(date.today()),
        "model": args.model.name,
        "pictures": len(paths),
        "onnxlrp": onnxlrp.__version__,
    }
    args.out.write_text(json.dumps({**about, "methods": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
