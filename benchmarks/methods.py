"""Cost of methods that hide parts of a picture: our RISE, LIME, KernelSHAP and occlusion beside DIANNA's and captum's.

    pip install "onnxlrp[cpu,superpixels]" dianna captum
    python benchmarks/methods.py                                   # models/digits.onnx and models/shapes.onnx
    python benchmarks/methods.py --networks shapes resnet50 --samples 500 --rounds 5

Same model, same picture, as many samples, one process. DIANNA gets the model's file, as its documentation does;
"DIANNA, session kept" gets a function around one onnxruntime session, which spares it a session for each batch.
captum knows torch alone: it gets a function around that session too. Whoever is not installed is left out. First the
maps are compared: captum's occlusion has no chance in it and must agree to 1e-3; the others draw samples of their own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Any

import contenders
import cpu
import numpy as np
from cpu import installed
from records import Record

from inputs import Array, images
from onnxlrp.engines.ort import Ort
from onnxlrp.methods.problem import Problem
from onnxlrp.methods.registry import make
from onnxlrp.methods.segments import segments
from onnxlrp.model import Model, load

HERE = Path(__file__).parent
PICTURES = {"digits": "digit_3.png", "shapes": "scene_star.png"}
FEATURES, WINDOW, STRIDE, CELLS, BATCH = 64, 8, 4, 7, 32
# Least correlation of two maps: samples differ, and shap keeps ten segments of all.
LEAST = {"rise": 0.7, "lime": 0.8, "kernel_shap": 0.5, "occlusion": 0.999}
Run = Callable[[], Array]


@dataclass(frozen=True)
class Case:
    """A model, a picture for it, the class that is explained, and the superpixels that all share."""

    name: str
    path: Path
    model: Model
    x: Array
    target: int
    labels: Array
    samples: int

    @property
    def problem(self) -> Problem:
        """The problem of the one sample."""
        return Problem(self.model, self.x, np.array([self.target]), batch_size=BATCH)

    @property
    def steps(self) -> tuple[int, int]:
        """Window and stride of occlusion, for 64 pixels and in proportion."""
        scale = max(1, self.x.shape[2] // 64)
        return WINDOW * scale, STRIDE * scale


def case(name: str, samples: int, cache: Path) -> Case:
    """A model of models/ on one of its pictures, or a network of networks.py on a synthetic one."""
    engine = Ort(["CPUExecutionProvider"], contenders.session_options())
    if name in PICTURES:
        path = HERE.parent / "models" / f"{name}.onnx"
        model = load(path, engine=engine)
        x = model.read(HERE.parent / "models" / "samples" / PICTURES[name]).values
    else:
        import networks

        networks.export(name, cache)
        path = cache / f"{name}.onnx"
        model, x = load(path, engine=engine), images(1)
    target = int(model.outputs(x)["logits"].reshape(-1).argmax())
    problem = Problem(model, x, np.array([target]))
    kind = "slic" if installed("skimage") else "grid"
    return Case(name, path, model, x, target, segments(problem, kind, FEATURES)[0].labels, samples)


def ours(method: str, case: Case) -> Run:
    """This package's map [h, w] of the logit."""
    side, step = case.steps
    choices: dict[str, dict[str, Any]] = {
        "rise": {"samples": case.samples, "cells": CELLS},
        "lime": {"samples": case.samples, "segments": case.labels, "baseline": "segments"},
        "kernel_shap": {"samples": case.samples, "segments": case.labels, "baseline": "mean"},
        "occlusion": {"window": side, "stride": step, "baseline": "zero"},
    }
    asked, problem = make(method, score="logit", **choices[method]), case.problem
    return lambda: np.asarray(asked(problem).relevance[0].sum(axis=0))


def function(case: Case) -> Callable[[Array], Array]:
    """The logits by one onnxruntime session, at most BATCH pictures at a time."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(case.path), contenders.session_options(), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(x: Array) -> Array:
        x = np.ascontiguousarray(x, np.float32)
        return np.concatenate([session.run(None, {name: x[i : i + BATCH]})[0] for i in range(0, len(x), BATCH)])

    return run


def dianna(method: str, case: Case, kept: bool) -> Run:
    """DIANNA's map; `kept` where it may get a function instead of a file."""
    model: Any = function(case) if kept else str(case.path)
    x, labels, axes = case.x[0], [case.target], {0: "channels", 1: "height", 2: "width"}
    if method == "rise":
        from dianna.methods.rise_image import RISEImage

        rise = RISEImage(case.samples, CELLS, 0.5, axis_labels=axes)
        return lambda: np.asarray(rise.explain(model, x, labels, batch_size=BATCH)[0])
    if method == "lime":
        from dianna.methods.lime_image import LIMEImage

        options = {"segmentation_fn": lambda picture: case.labels, "num_features": case.labels.max() + 1}
        lime = LIMEImage(kernel_width=0.25, axis_labels=axes, random_state=0)
        return lambda: np.asarray(
            lime.explain(model, x, labels, num_samples=case.samples, return_masks=False, batch_size=BATCH, **options)[0]
        )
    from dianna.methods.kernelshap_image import KERNELSHAPImage

    class Given(KERNELSHAPImage):  # type: ignore[misc, unused-ignore]
        """On the superpixels that all share: its own start at 1, where it looks for 0."""

        _segment_image = staticmethod(lambda *_, **__: case.labels)

    def kernel_shap() -> Array:
        drawn = np.asarray(Given(axis_labels=axes).explain(model, x, labels, nsamples=case.samples)[0])
        # It hides superpixel j for feature j and draws feature j in superpixel j + 1: back to where it was hidden.
        first = np.unique(case.labels, return_index=True)[1]
        return np.roll(drawn.ravel()[first], -1)[case.labels]

    return kernel_shap


def captum(method: str, case: Case) -> Run:
    """Return captum's map; its forward pass is the same onnxruntime session."""
    import torch
    from captum import attr

    forward = function(case)

    def model(x: Any) -> Any:
        return torch.from_numpy(forward(x.numpy()))

    x, labels = torch.from_numpy(case.x), torch.from_numpy(case.labels)[None, None]
    options: dict[str, Any] = {"target": case.target, "perturbations_per_eval": BATCH}
    if method == "occlusion":
        side, step = case.steps
        windows: dict[str, Any] = {
            "sliding_window_shapes": (x.shape[1], side, side),
            "strides": (x.shape[1], step, step),
        }
        sliding: Any = attr.Occlusion(model)
        return lambda: np.asarray(sliding.attribute(x, baselines=0, **windows, **options)[0].mean(dim=0))
    made: Any = attr.KernelShap(model)
    hidden = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
    options |= {"feature_mask": labels.expand_as(x), "n_samples": case.samples}
    return lambda: np.asarray(made.attribute(x, baselines=hidden, **options)[0].mean(dim=0))


def runs(method: str, case: Case) -> Iterator[tuple[str, Run]]:
    """Who takes part, ours first."""
    yield "ours", ours(method, case)
    if method != "occlusion" and installed("dianna"):
        yield "DIANNA", dianna(method, case, False)
        if method != "kernel_shap":  # which takes a file alone, and keeps its session
            yield "DIANNA, session kept", dianna(method, case, True)
    if method in ("occlusion", "kernel_shap") and installed("captum"):
        yield "captum", captum(method, case)


def alike(method: str, ours: Array, other: Array, case: Case) -> float:
    """Correlation of two maps; those of segments by segment, for ours are spread over them."""
    if method in ("lime", "kernel_shap"):
        sizes = np.bincount(case.labels.ravel())
        ours = np.bincount(case.labels.ravel(), ours.ravel())
        other = np.bincount(case.labels.ravel(), other.ravel()) / sizes
    return float(np.corrcoef(ours.ravel(), other.ravel())[0, 1])


def measure(method: str, case: Case, rounds: int) -> Record:
    """Maps compared, then the contenders in turns: medians, and medians of the ratios within a round."""
    taking = dict(runs(method, case))
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        maps = {name: run() for name, run in taking.items()}
        likeness = {name: alike(method, maps["ours"], m, case) for name, m in maps.items() if name != "ours"}
        forward = function(case)
        passes = _passes(method, case)
        x = np.repeat(case.x, BATCH, axis=0)
        taken: dict[str, list[float]] = {name: [] for name in ("forward", *taking)}
        for _ in range(rounds):
            for name in taken:
                start = time.perf_counter()
                if name == "forward":
                    for _ in range(-(-passes // BATCH)):
                        forward(x)
                else:
                    taking[name]()
                taken[name].append(time.perf_counter() - start)
    return {
        "network": case.name,
        "method": method,
        "passes": passes,
        "correlation": likeness,
        "ok": all(value >= LEAST[method] for value in likeness.values()),
        "seconds": {name: median(values) for name, values in taken.items()},
        "times ours": {
            name: median(a / b for a, b in zip(values, taken["ours"], strict=True)) for name, values in taken.items()
        },
        "rounds": taken,
    }


def _passes(method: str, case: Case) -> int:
    if method != "occlusion":
        return case.samples
    side, step = case.steps
    return int(((case.x.shape[2] - side) // step + 1) ** 2)


def table(records: list[Record]) -> str:
    """The records as a Markdown table."""
    lines = [
        "| network | method | passes | who | seconds | times ours | correlation |",
        "|---|---|--:|---|--:|--:|--:|",
    ]
    for r in records:
        for name, seconds in r["seconds"].items():
            who = "forward passes alone" if name == "forward" else name
            like = f"{r['correlation'][name]:.3f}" if name in r["correlation"] else ""
            cells = (
                r["network"],
                r["method"],
                r["passes"],
                who,
                f"{seconds:.2f}",
                f"{r['times ours'][name]:.2f}",
                like,
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> int:
    """Time methods, and write the records as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=list(PICTURES), help="digits, shapes, resnet50, vgg16, …")
    parser.add_argument("--methods", nargs="+", default=list(LEAST), choices=list(LEAST))
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "onnxlrp-bench")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "methods.json")
    given = parser.parse_args()
    given.slow_rounds = given.rounds
    records = []
    for network in given.networks:
        asked = case(network, given.samples, given.cache)
        for method in given.methods:
            records.append(measure(method, asked, given.rounds))
            print(f"{network} {method}: {'ok' if records[-1]['ok'] else 'NOT ALIKE'}", file=sys.stderr)
    print(table(records))
    given.json.write_text(json.dumps({"meta": cpu.meta(given), "records": records}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(r["ok"] for r in records) else 1


if __name__ == "__main__":
    sys.exit(main())
