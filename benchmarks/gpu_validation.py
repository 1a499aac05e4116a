"""Validation of the engine on this machine, before benchmarks/gpu.py times anything."""

from __future__ import annotations

from pathlib import Path

import contenders
import numpy as np
from contenders import Array, Case
from gpu_findings import Session
from records import Record

from onnxlrp.program.program import SEED

MODELS = Path(__file__).parents[1] / "models"
# Relative L2 to onnxruntime or the float64 reference, end to end, of methods with the epsilon rule in them. On a GPU a
# fast forward pass is TF32 too, and epsilon's denominators near 0 lose digits by it: up to 5e-2.
BOUNDS = {"plain": 1e-3, "exact": 1e-3, "fast": 5e-2}


def distance(ours: Array, other: Array) -> Record:
    """Relative L2, largest error relative to max|other|, and the cosine."""
    a, b = ours.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return {
        "l2": float(np.linalg.norm(a - b) / np.linalg.norm(b)),
        "max": float(np.abs(a - b).max() / np.abs(b).max()),
        "cosine": float(a @ b) / norms if norms else 0.0,
    }


def validate(session: Session, case: Case, precision: str, deep: bool) -> Record:
    """Against onnxruntime on the CPU, or with `deep` the float64 reference; the same bits again, a row by itself."""
    x = case.inputs(2)
    name = case.graph.inputs[0].name
    contender = contenders.reference if deep else contenders.ours
    with contenders.forward(case) as forward:
        ids = np.asarray(forward(x, x).reshape(2, -1).argmax(1), np.int64)
    with contender(case) as other:
        found = other(x, ids)
        wanted = found if deep else found["relevance"]
    run = session.run(case, precision)
    outputs = [run({name: x, SEED: ids})["relevance"] for _ in range(3)]  # launched, captured, replayed
    alone = run({name: x[:1], SEED: ids[:1]})["relevance"]
    apart = distance(outputs[0], wanted)
    record = {
        "network": case.label,
        "preset": case.preset,
        "precision": precision,
        "against": "reference, float64" if deep else "ort on the CPU, float32",
        **apart,
        "bound": BOUNDS[precision],
        "same bits": all(np.array_equal(outputs[0], one) for one in outputs[1:]),
        "row alone": distance(outputs[0][:1], alone)["l2"],
    }
    good = record["same bits"] and record["row alone"] < BOUNDS[precision] and apart["l2"] <= BOUNDS[precision]
    return record | {"ok": bool(good)}


def small() -> list[Case]:
    """The models of this repository, under every preset: the float64 reference takes seconds."""
    return [Case(MODELS / f"{n}.onnx", preset) for n in ("digits", "shapes") for preset in contenders.PRESETS]


def check(session: Session, case: Case, precision: str, deep: bool) -> None:
    """Validate a case at a precision, and print the result."""
    label = f"{case.label} {case.preset} {precision}"
    record = session.step(f"validate {label}", lambda: validate(session, case, precision, deep))
    if record:
        session.valid.append(record)
        verdict = "valid" if record["ok"] else "NOT VALID"
        bits = "same bits" if record["same bits"] else "OTHER BITS"
        print(f"{verdict}: {label}: l2 {record['l2']:.1e} to {record['against']}, {bits}", flush=True)
