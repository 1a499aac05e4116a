"""Concept activation vectors: time and spread of FastCAV beside a linear support vector machine.

    python benchmarks/concepts.py benchmarks/results/concepts.json

Both get the activations of 50 stripes (models/textures.py) and 50 scenes (models/scenes.py) at `blocks.2` of
models/shapes.onnx, 12,288 dimensions. Validated first: either vector tells held-out stripes from scenes. The spread is
the mean cosine between the vectors of 20 runs, each with other scenes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from records import environment, save

import onnxlrp
from onnxlrp.analysis.concepts.cav import LinearClassifier, mean_difference
from onnxlrp.analysis.concepts.layer import LayerView

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from scenes import HELD_OUT, render
from textures import texture

Array = npt.NDArray[Any]
MODEL, LAYER = Path(__file__).parents[1] / "models" / "shapes.onnx", "blocks.2"
SAMPLES, RUNS, HELD = 50, 20, 100


def activations() -> tuple[Array, Array]:
    """Compute the activations of stripes and of scenes."""
    model = onnxlrp.load(MODEL)
    view = LayerView.of(model, LAYER)
    count = SAMPLES * RUNS + HELD
    stripes = [texture("stripes", n) for n in range(SAMPLES + HELD)]
    drawn = [render(HELD_OUT + n)[0] for n in range(count)]
    found = []
    for pictures in (stripes, drawn):
        x = ((np.stack(pictures).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25).astype(np.float32)
        found.append(np.concatenate([view.vectors(view.activations(x[n : n + 50])) for n in range(0, len(x), 50)]))
    return found[0], found[1]


def fast_cav(concept: Array, random: Array) -> Array:
    """FastCAV: one pass over the activations."""
    mean = concept.mean(axis=0)
    whole = (mean * len(concept) + random.sum(axis=0)) / (len(concept) + len(random))
    return np.asarray(mean - whole)


def svm(concept: Array, random: Array) -> Array:
    """The usual way: scikit-learn's LinearSVC on the activations as they are."""
    from sklearn.svm import LinearSVC

    labels = np.arange(len(concept) + len(random)) < len(concept)
    fitted = LinearSVC(dual=True, random_state=0).fit(np.concatenate([concept, random]), labels)
    return np.asarray(fitted.coef_[0])


def svm_in_span(concept: Array, random: Array) -> Array:
    """LinearSVC in the span of the samples, as `onnxlrp concepts test --classifier svm` has it."""
    whole = np.concatenate([concept, random]).astype(np.float64)
    whole -= whole.mean(axis=0)
    inside = np.arange(len(whole)) < len(concept)
    return np.asarray(LinearClassifier.of(whole @ whole.T, "svm")(inside) @ whole)


WAYS: dict[str, Callable[[Array, Array], Array]] = {"fastcav": fast_cav, "svm": svm, "svm in the span": svm_in_span}


def cosine(a: Array, b: Array) -> float:
    """The cosine of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def measure() -> dict[str, Any]:
    """Validate, then time each way in turn, run by run."""
    stripes, drawn = activations()
    concept, held = stripes[:SAMPLES], (stripes[SAMPLES:], drawn[:HELD])
    inside = np.arange(2 * SAMPLES) < SAMPLES
    vectors: dict[str, list[Array]] = {name: [] for name in WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    accuracy: dict[str, list[float]] = {name: [] for name in WAYS}
    for run in range(RUNS):
        random = drawn[HELD + run * SAMPLES :][:SAMPLES]
        for name, way in WAYS.items():
            began = time.process_time()
            vector = way(concept, random)
            seconds[name].append(time.process_time() - began)
            vectors[name].append(vector)
            shown, others = (part @ vector for part in held)
            accuracy[name].append(float((shown[:, None] > others[None]).mean()))
        expected = mean_difference(inside) @ np.concatenate([concept, random])
        assert cosine(vectors["fastcav"][-1], expected) > 0.9999
    assert all(min(found) > 0.6 for found in accuracy.values()), accuracy
    ratio = [slow / quick for slow, quick in zip(seconds["svm"], seconds["fastcav"], strict=True)]
    made: dict[str, Any] = {"model": MODEL.name, "layer": LAYER, "dimensions": concept.shape[1]}
    made |= {"samples": 2 * SAMPLES, "runs": RUNS}
    for name, found in vectors.items():
        pairs = [cosine(a, b) for n, a in enumerate(found) for b in found[:n]]
        to_svm = [cosine(a, b) for a, b in zip(found, vectors["svm"], strict=True)]
        made[name] = {
            "cpu_ms": round(1e3 * min(seconds[name]), 3),
            "auc_held_out": round(float(np.mean(accuracy[name])), 4),
            "cosine_between_runs": round(float(np.mean(pairs)), 4),
            "cosine_to_svm": round(float(np.mean(to_svm)), 4),
        }
    made["svm_over_fastcav"] = {"median": round(float(np.median(ratio)), 1), "least": round(min(ratio), 1)}
    return made


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", help="a .json file")
    args = parser.parse_args()
    found = measure()
    print(found)
    if args.out:
        save(Path(args.out), {"environment": environment(["numpy", "scikit-learn"]), **found})


if __name__ == "__main__":
    main()
