"""Write preprocessing: the sidecar `model.prep.toml`, or a copy of the model with it in its metadata."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, UnsupportedError, UsageError
from ..preprocessing import Preprocessing
from ..preprocessing.sources.explicit import METADATA_KEY, sidecar_of


def write_sidecar(prep: Preprocessing, model: Path) -> Path:
    """Write `model.prep.toml` beside the model; an existing one that differs is kept. Raises UsageError."""
    path, text = sidecar_of(model), sidecar(prep, model.name).encode()
    if path.exists() and path.read_bytes() != text:
        raise UsageError(f"{path}: exists already and differs", f"remove it first: rm '{path}'")
    return files.replace(path, text)


def sidecar(prep: Preprocessing, name: str) -> str:
    """Return the text of the sidecar; assumed fields are comments, so that they stay assumptions."""
    lines = [f"# Preprocessing of pictures for {json.dumps(name)[1:-1]}."]
    stated = prep.to_dict()
    if prep.labels and not prep.labels_assumed:
        stated["labels"] = list(prep.labels)
    for key, value in stated.items():
        line = f"{key} = {_toml(key, value)}"
        lines.append(line if key not in prep.assumed else f"# {line}  # ASSUMED: uncomment it if it is right")
    return "\n".join(lines) + "\n"


def embed(prep: Preprocessing, model: Path, out: Path) -> Path:
    """Write a copy of the model with `onnxlrp.prep` in its metadata; the model itself stays as it is.

    Raises UnsupportedError where a piece is assumed, UsageError for the model's own name, InputError for weights in
    other files that the copy would not find.
    """
    import onnx

    from ..graph.reading.tensors import is_external, tensors

    if prep.assumed:
        raise UnsupportedError(
            f"{model.name}: its {', '.join(prep.assumed)} is assumed, and an assumption is not embedded",
            f"state it: {prep.flags()}",
        )
    if out.exists() and out.samefile(model):
        raise UsageError(f"--embed {out}: the model itself, which is never changed", "name another file")
    made = onnx.ModelProto.FromString(model.read_bytes())
    if any(map(is_external, tensors(made))) and out.absolute().parent != model.absolute().parent:
        raise InputError(
            f"{model.name} keeps weights in other files, and a copy in {out.parent} would not find them",
            f"write it beside the model: --embed '{model.with_name(out.name)}'",
        )
    kept = [(entry.key, entry.value) for entry in made.metadata_props if entry.key != METADATA_KEY]
    del made.metadata_props[:]
    for key, value in (*kept, (METADATA_KEY, prep.to_metadata())):
        made.metadata_props.add(key=key, value=value)
    return files.replace(out, made.SerializeToString())


def _toml(key: str, value: Any) -> str:
    """A value in TOML, whose strings are JSON's."""
    if key == "scale" and math.isclose(value, 1 / 255, rel_tol=1e-12):
        return '"1/255"'
    if key == "labels":
        return "[\n" + "".join(f"  {json.dumps(name, ensure_ascii=False)},\n" for name in value) + "]"
    return json.dumps(value)
