"""The deployable explainer: forward pass and program as one ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .engines import Forward
from .engines.ort import explainer
from .files import replace as write
from .program.passes import dead_code
from .program.program import Program


def save(
    forward: Forward,
    program: Program,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the graph that the `ort` engine runs, with scores and relevance as outputs.

    The model's own metadata stays; `provenance` goes under "onnxlrp.explainer" as JSON.
    """
    outputs = {name: program.outputs[name] for name in ("scores", "relevance")}
    model = explainer(forward, dead_code(replace(program, outputs=outputs))).model
    kept = {k: v for k, v in metadata.items() if not k.startswith("onnxlrp.") or k == "onnxlrp.prep"}
    said = {"onnxlrp.explainer": json.dumps(provenance, default=lambda a: np.asarray(a).tolist())}
    for key, value in {**kept, **said}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return write(Path(path), model.SerializeToString())
