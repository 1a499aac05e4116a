"""Localisation by the methods: pointing game and energy in mask on rendered scenes whose masks are exact.

    python benchmarks/judging.py                       # models/shapes.onnx, 200 held-out scenes; five minutes
    python benchmarks/judging.py --scenes 50 --methods epsilon_plus_flat,rise -o rise.json

Each method explains the true class's logit with its own defaults. The table gives means over the scenes with 95 %
bootstrap intervals, and the difference to sensitivity over the same scenes (paired). The results file is resumed: what
it holds of the same question is not computed again. "random" is a map of noise: what knowing nothing gets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onnxlrp.errors import OnnxLrpError
from onnxlrp.evaluation.evaluate import evaluate
from onnxlrp.evaluation.results import Cell, Evaluation, summary
from onnxlrp.model import Model, load

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
METRICS = ("pointing_game", "energy_in_mask")
AGAINST = "sensitivity"
METHODS = (
    "epsilon_plus_flat", "epsilon_plus", "epsilon_gamma_box", "epsilon_alpha2_beta1_flat", "epsilon_alpha2_beta1",
    "gamma", "epsilon", "zplus", "deep_taylor", "deep_taylor_bounded", "excitation_backprop", "gradient",
    "gradient_x_input", "guided_backprop", "deconvnet", "grad_cam", "layer_cam", "contrastive", "integrated_gradients",
    "smooth_grad",
)  # fmt: skip


def scenes(count: int) -> tuple[list[Image.Image], list[Any], list[int]]:
    """Pictures, masks and classes of the first held-out scenes."""
    sys.path.insert(0, str(MODELS))
    from scenes import HELD_OUT, render

    drawn = [render(seed) for seed in range(HELD_OUT, HELD_OUT + count)]
    return [Image.fromarray(image) for image, _, _ in drawn], [mask for _, mask, _ in drawn], [k for *_, k in drawn]


def noise(model: Model, x: Any, ids: Any) -> Any:
    """Relevance that knows nothing."""
    return np.random.default_rng(0).normal(size=x.shape)


def compared(found: Evaluation, method: str, metric: str) -> str:
    """The mean difference to sensitivity over the same scenes, with its interval."""
    mine, other = (found.cell(name, metric) for name in (method, AGAINST))
    if mine.mean is None or other.mean is None or method == AGAINST:
        return ""
    apart = np.array(mine.values, np.float64) - np.array(other.values, np.float64)
    mean, low, high = summary(apart, seed=0)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def table(found: Evaluation) -> str:
    """Markdown, the best pointing first."""

    def place(method: str) -> tuple[float, ...]:
        return tuple(-(found.cell(method, metric).mean or 0.0) for metric in METRICS)

    head = [word for metric in METRICS for word in (metric.replace("_", " "), f"against {AGAINST}")]
    rows = [["method", *head], ["---", *["---:"] * len(head)]]
    for method in sorted(dict.fromkeys(cell.method for cell in found.cells), key=place):
        cells = [
            word for metric in METRICS for word in (said(found.cell(method, metric)), compared(found, method, metric))
        ]
        rows.append([f"`{method}`", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def said(cell: Cell) -> str:
    """The mean and its interval."""
    return "refused" if cell.mean is None else f"{cell.mean:.3f} [{cell.low:.3f}, {cell.high:.3f}]"


def main(words: Sequence[str] | None = None) -> int:
    """Evaluate methods, and write the records as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", type=Path, default=MODELS / "shapes.onnx")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--methods", default=",".join(METHODS), help="comma-separated; sensitivity always")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "judging.json")
    given = parser.parse_args(words)
    methods = {AGAINST: AGAINST, **{name: name for name in given.methods.split(",")}, "random": noise}

    def progress(done: int, total: int, name: str) -> None:
        print(f"{done}/{total} {name}", file=sys.stderr, flush=True)

    try:
        pictures, masks, classes = scenes(given.scenes)
        model = load(given.model)
        how: dict[str, Any] = {"target": classes, "masks": masks, "out": given.output, "progress": progress}
        found = evaluate(model, pictures, methods, METRICS, **how)
    except OnnxLrpError as error:
        print(f"error   {error.message}\nfix     {error.fix}", file=sys.stderr)
        return error.code
    print(table(found))
    for cell in found.cells:
        if cell.note:
            print(f"{cell.method} {cell.metric}: {cell.note}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
