"""The deployable explainer: forward pass and program as one ONNX file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...engines import Forward
from ...engines.emit.explainer import explainer
from ...files import replace as write
from ...program.passes import dead_code
from ...program.program import Array, Program

_LARGEST = (1 << 31) - (1 << 26)  # a protobuf message stays below 2 GiB; the nodes take their part


def save(
    forward: Forward,
    program: Program,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    provenance: Mapping[str, Any],
    changes: Iterable[Callable[[Any], Any]] = (),
    halved: bool = False,
) -> Path:
    """Write the graph that the `ort` engine runs, for any runtime; its outputs are scores, relevance, and any ledger.

    Args:
        forward: The forward pass.
        program: The program.
        path: The file; over 2 GB, the weights lie beside it in a file that is named by its content, and those of the
            file that it replaces are removed.
        metadata: The model's own metadata, which stays.
        provenance: Kept under "onnxlrp.explainer" as JSON.
        changes: Applied to the ONNX model before it is written, in order: they may add inputs, outputs and nodes.
        halved: Weights are stored in half precision (`half_weights`).

    Returns:
        The path.

    Raises:
        InputError: A file that cannot be written.
    """
    given = (
        "scores",
        "relevance",
        *(name for name in program.outputs if name.startswith("ledger/") and not name.endswith("/scale")),
    )
    outputs = {name: program.outputs[name] for name in given}
    made = explainer(forward, dead_code(replace(program, outputs=outputs)), portable=True)
    model = made.model
    for change in changes:
        model = change(model)
    kept = {k: v for k, v in metadata.items() if not k.startswith("onnxlrp.") or k == "onnxlrp.prep"}
    said = {"onnxlrp.explainer": json.dumps(provenance, default=lambda a: np.asarray(a).tolist())}
    for key, value in {**kept, **said}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    weights = made.weights
    if halved:
        from .half_weights import halve

        weights = halve(model, weights)
    return _write(model, weights, Path(path))


def _write(model: Any, weights: Mapping[str, Array], path: Path) -> Path:
    """One file; over 2 GB, which no ONNX file can be, the weights beside it."""
    held = [tensor for tensor in model.graph.initializer if tensor.name in weights]
    for tensor in held:
        del tensor.external_data[:]
    if sum(array.nbytes for array in weights.values()) < _LARGEST:
        for tensor in held:
            tensor.ClearField("data_location")
            tensor.raw_data = weights[tensor.name].tobytes()
        return write(path, model.SerializeToString())
    blocks = [np.ascontiguousarray(weights[tensor.name]).data.cast("B") for tensor in held]
    content = hashlib.sha256()
    for block in blocks:
        content.update(block)
    # A name of its own: another model's data stay, and whenever the writing stops, each file has the data it names.
    data, offset = path.with_name(f"{path.name}.{content.hexdigest()[:16]}.data"), 0
    for tensor, block in zip(held, blocks, strict=True):
        for key, value in (("location", data.name), ("offset", offset), ("length", block.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        offset += block.nbytes
    write(data, blocks)
    write(path, model.SerializeToString())
    for old in _unused_data(path):
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def _unused_data(path: Path) -> Iterator[Path]:
    """The data that explainers of this name had, and that no model in the folder names."""
    own = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.data")
    for data in [file for file in path.parent.iterdir() if own.fullmatch(file.name)]:
        if not any(_names(model, data.name) for model in path.parent.glob("*.onnx")):
            yield data


def _names(model: Path, name: str) -> bool:
    import mmap

    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(name.encode()) >= 0
    except (OSError, ValueError):  # it cannot be read, or is empty
        return False
