"""Heatmap regression of a test: stored heatmaps, and their differences from new ones."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import InputError
from ..explanation import Explanation, maps

Array = npt.NDArray[Any]

SCHEMA = 1
_METHOD = ("method", "options", "seed", "conditions", "on_unsupported", "output", "input", "given")
_UPDATE = "pytest --onnxlrp-update, once the change is meant"


@dataclass(frozen=True, eq=False)
class Stored:
    """The stored heatmaps of one test.

    Attributes:
        maps: Pooled heatmaps [M, h, w], each divided by its largest magnitude.
        target: The class that each explains [M].
        model: SHA-256 of the model's file.
        method: SHA-256 of the method and its options.
        description: The method and its options in words.
    """

    maps: Array
    target: Array
    model: str
    method: str
    description: str


def place(module: Path, test: str, which: str = "") -> Path:
    """Return the file of a test's heatmaps: FOLDER/MODULE/TEST.npz."""
    stem = re.sub(r"[^\w.-]+", "_", f"{test}.{which}" if which else test).strip("_.") or "test"
    if len(stem) > 100:  # parameters may be long; two that begin alike stay two
        stem = f"{stem[:80]}-{hashlib.sha256(f'{test}.{which}'.encode()).hexdigest()[:12]}"
    return module.parent / module.stem / f"{stem}.npz"


def capture(explanation: Explanation, heat: Array) -> Stored:
    """Pool the heatmaps [M, H, W] of an explanation, to store. Raises InputError where they are not finite."""
    if not np.isfinite(heat).all():
        raise InputError("the relevance is not finite", "onnxlrp check names the cause")
    pooled = maps.pooled(heat)
    top = np.abs(pooled).max(axis=(1, 2), keepdims=True)
    about = explanation.provenance
    options = {name: about[name] for name in _METHOD if about.get(name)}
    text = json.dumps(options, sort_keys=True, default=str)
    return Stored(
        (pooled / np.where(top == 0, 1, top)).astype(np.float16),
        explanation.target.reshape(-1).astype(np.int64),
        str(about.get("sha256", "")),
        hashlib.sha256(text.encode()).hexdigest(),
        text,
    )


def differences(here: Stored, then: Stored, cosine: float) -> list[str]:
    """Describe the differences from the stored heatmaps; empty where they agree."""
    if here.method != then.method:
        return [f"the baseline was made with {then.description}; now {here.description}"]
    if here.maps.shape != then.maps.shape:
        return [f"heatmaps {here.maps.shape}, the baseline has {then.maps.shape}"]
    same = "" if here.model == then.model else ", by another model file"
    found = maps.cosine(here.maps, then.maps)
    lines = []
    for n, value in enumerate(found):
        if not value >= cosine:
            turned = here.target[n] != then.target[n]
            what = f"; it explains class {here.target[n]}, before {then.target[n]}" if turned else ""
            lines.append(f"heatmap {n} has a cosine of {value:.4f} with the baseline's, below {cosine:g}{what}{same}")
    return lines


def write(stored: Stored, path: Path) -> Path:
    """Write heatmaps, whole or not at all, and return the file. Raises InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be created ({files.reason(error)})", "rename the file in its place"
        ) from None
    about = {"schema": SCHEMA, "model": stored.model, "method": stored.method, "said": stored.description}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), maps=stored.maps, target=stored.target)
    return files.replace(path, buffer.getvalue())


def read(path: Path) -> Stored:
    """Read stored heatmaps. Raises InputError for a damaged file, and for one of another version."""
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            about: Mapping[str, Any] = json.loads(str(stored["about"]))
            heat, target = stored["maps"], stored["target"]
        if about["schema"] != SCHEMA:
            raise InputError(f"{path}: a baseline of version {about['schema']}, not {SCHEMA}", _UPDATE)
        if heat.ndim != 3 or heat.dtype.kind != "f" or target.shape != heat.shape[:1]:
            raise ValueError("shapes or types do not fit")
        return Stored(heat, target, str(about["model"]), str(about["method"]), str(about["said"]))
    except InputError:
        raise
    except Exception as error:  # zipfile, numpy and json raise anything from BadZipFile to KeyError on a damaged file
        raise InputError(f"{path}: a damaged baseline ({files.reason(error)})", _UPDATE) from None
