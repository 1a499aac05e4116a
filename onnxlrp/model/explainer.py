"""The deployable explainer: forward pass and program as one ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..engines import Forward
from ..engines.emit.explainer import explainer
from ..files import replace as write
from ..program.passes import dead_code
from ..program.program import Array, Program

_LARGEST = (1 << 31) - (1 << 26)  # a protobuf message stays below 2 GiB; the nodes take their part


def save(
    forward: Forward,
    program: Program,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> Path:
    """Write the graph that the `ort` engine runs, with scores and relevance as outputs.

    Args:
        forward: The forward pass.
        program: The program.
        path: The file; over 2 GB, the weights lie in PATH.data beside it.
        metadata: The model's own metadata, which stays.
        provenance: Kept under "onnxlrp.explainer" as JSON.

    Returns:
        The path.

    Raises:
        InputError: A file that cannot be written.
    """
    outputs = {name: program.outputs[name] for name in ("scores", "relevance")}
    made = explainer(forward, dead_code(replace(program, outputs=outputs)))
    model = made.model
    kept = {k: v for k, v in metadata.items() if not k.startswith("onnxlrp.") or k == "onnxlrp.prep"}
    said = {"onnxlrp.explainer": json.dumps(provenance, default=lambda a: np.asarray(a).tolist())}
    for key, value in {**kept, **said}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return _write(model, made.weights, Path(path))


def _write(model: Any, weights: Mapping[str, Array], path: Path) -> Path:
    """One file; over 2 GB, which no ONNX file can be, the weights in PATH.data beside it."""
    aside = sum(array.nbytes for array in weights.values()) >= _LARGEST
    data = path.with_name(path.name + ".data")
    offset = 0
    for tensor in model.graph.initializer:
        array = weights.get(tensor.name)
        if array is None:
            continue
        del tensor.external_data[:]
        if not aside:
            tensor.ClearField("data_location")
            tensor.raw_data = array.tobytes()
            continue
        for key, value in (("location", data.name), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        offset += array.nbytes
    if aside:
        arrays = [weights[tensor.name] for tensor in model.graph.initializer if tensor.name in weights]
        write(data, (np.ascontiguousarray(array).data.cast("B") for array in arrays))
    return write(path, model.SerializeToString())
