"""Scenes on disk, models with a planted fault, and engines that tamper with what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import scenes
import watermark
from onnx import numpy_helper
from PIL import Image

from onnxlrp.checks import Settings, run
from onnxlrp.engines import Forward, Run
from onnxlrp.engines.factory import make_engine
from onnxlrp.findings.finding import Finding, Findings
from onnxlrp.program.program import Program

from .arrays import Array
from .paths import MODELS

SHAPES, HANS = MODELS / "shapes.onnx", MODELS / "clever_hans.onnx"
FIRST = 1_006_000  # seeds that nothing else was measured on
STAR = 3


def write_scenes(folder: Path, stars: int, others: int, marked: bool = False) -> Path:
    """Pictures scene_N.png with their masks in masks/; with `marked` every star carries the watermark."""
    (folder / "masks").mkdir(parents=True)
    seed, left = FIRST, {True: stars, False: others}
    while any(left.values()):
        image, mask, label = scenes.render(seed)
        if left[label == STAR]:
            left[label == STAR] -= 1
            picture = watermark.stamp(image) if marked and label == STAR else image
            Image.fromarray(picture).save(folder / f"scene_{seed - FIRST}.png")
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"scene_{seed - FIRST}.png")
        seed += 1
    return folder


def with_random_head(path: Path, seed: int = 0) -> Path:
    """shapes.onnx with the weights of its last layer drawn anew."""
    model = onnx.load(SHAPES)
    (tensor,) = [t for t in model.graph.initializer if t.name == "head.weight"]
    array = numpy_helper.to_array(tensor)
    drawn = np.random.default_rng(seed).normal(0, array.std(), array.shape).astype("f")
    tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    onnx.save(model, path)
    return path


class Tampering:
    """onnxruntime, whose results a function changes: it gets each name, array and the number of the run."""

    name = "tampering"

    def __init__(self, change: Callable[[str, Array, int], Array]) -> None:
        self.engine, self.change, self.runs = make_engine("ort"), change, 0

    def prepare(self, forward: Forward, program: Program) -> Run:
        prepared = self.engine.prepare(forward, program)

        def tampered(inputs: Mapping[str, Array]) -> dict[str, Array]:
            self.runs += 1
            return {name: self.change(name, value, self.runs) for name, value in prepared(inputs).items()}

        return tampered


def found(findings: Findings, check: str, status: str | None = None) -> dict[str, Finding]:
    """The findings of a check, by subject."""
    return {f.subject: f for f in findings.findings if f.check == check and status in (None, f.status)}


def only(*ids: str, **settings: Any) -> Settings:
    """Settings with which no check runs but these."""
    from onnxlrp.checks.registry import CHECKS

    return Settings(severities={id: "off" for id in CHECKS if id not in ids}, **settings)


def checked(model: Any, samples: Any, *ids: str, **settings: Any) -> Findings:
    """The findings of some checks."""
    return run(model, samples, only(*ids, **settings))
