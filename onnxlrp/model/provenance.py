"""Provenance of an explanation: model, method, options and engine, kept with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..composites import Composite
from ..engines import Engine
from ..graph.graph import Array, Graph
from ..program.program import Program
from .interface.extra_inputs import summary
from .interface.io_selection import Choice


def provenance(
    graph: Graph,
    engine: Engine,
    choice: Choice | None,
    given: Mapping[str, Array],
    method: str,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what was explained, of which model, by which method on which engine.

    Args:
        graph: The graph between the explained input and output.
        engine: What ran it.
        choice: The choice of output and input.
        given: Values of other inputs.
        method: The method's name.
        options: The method's options.
    """
    from ..version import __version__

    made: dict[str, Any] = {
        "onnxlrp": __version__,
        "model": graph.source,
        "sha256": graph.sha256,
        "method": method,
        "options": dict(options),
        "engine": engine.name,
        "output": choice.output if choice else graph.outputs[0].name,
        "input": graph.inputs[0].name,
    }
    if choice and choice.head.meaning:
        made["explained"] = choice.head.meaning
    if choice and choice.placed:
        made["place"] = str(choice.placed.place)
        given = {name: array for name, array in given.items() if name != choice.placed.input}
    if choice and choice.seeded and choice.seeded.input in given:
        word = {} if choice.seeded.kind == "seed" else {"similarity": choice.seeded.kind}
        made["put_in"] = {"at": choice.seeded.tensor, **word, **described(given[choice.seeded.input])}
        given = {name: array for name, array in given.items() if name != choice.seeded.input}
    if given:
        made["given"] = {name: summary(array) for name, array in given.items()}
    return made


def described(array: Array) -> dict[str, Any]:
    """Return the shape of an array, its sum, and a hash of its float32 values."""
    plain = np.ascontiguousarray(array, np.float32)
    return {
        "shape": list(plain.shape),
        "sum": float(plain.sum(dtype=np.float64)),
        "sha256": hashlib.sha256(plain.tobytes()).hexdigest(),
    }


def precision_of(engine: Engine) -> dict[str, Any]:
    """Return the precision of an engine that has several."""
    precision = getattr(engine, "precision", None)
    return {} if precision is None else {"precision": precision}


def resolved(composite: Composite, program: Program) -> dict[str, Any]:
    """Return how a composite was resolved: its seed, if not the logit, and the layers that --on-unsupported decided."""
    made: dict[str, Any] = {} if composite.seed == "logit" else {"seed": composite.seed}
    layers = program.notes.get("unsupported")
    if layers:
        made["on_unsupported"] = [{"layer": layer, "op": op, "rule": rule} for layer, op, rule in layers]
    return made
