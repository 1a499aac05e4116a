"""The heatmaps that a test once gave, in a file beside it, and how those of now differ."""

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
    """Pooled `maps` [M, h, w] of M heatmaps, each divided by its largest magnitude, and the class `target` [M] that
    each explains; `model` and `method` are hashes, `said` is the method in words."""

    maps: Array
    target: Array
    model: str
    method: str
    said: str


def place(module: Path, test: str, which: str = "") -> Path:
    """The file of a test's baseline: FOLDER/MODULE/TEST.npz."""
    stem = re.sub(r"[^\w.-]+", "_", f"{test}.{which}" if which else test).strip("_.") or "test"
    if len(stem) > 100:  # parameters may be long; two that begin alike stay two
        stem = f"{stem[:80]}-{hashlib.sha256(f'{test}.{which}'.encode()).hexdigest()[:12]}"
    return module.parent / module.stem / f"{stem}.npz"


def of(explanation: Explanation, heat: Array) -> Stored:
    """What is kept of an explanation and its heatmaps [M, H, W]. Raises InputError for what is not finite."""
    if not np.isfinite(heat).all():
        raise InputError("the relevance is not finite", "no baseline can be of it: onnxlrp check names the cause")
    pooled = maps.pooled(heat)
    top = np.abs(pooled).max(axis=(1, 2), keepdims=True)
    about = explanation.provenance
    asked = {name: about[name] for name in _METHOD if about.get(name)}
    text = json.dumps(asked, sort_keys=True, default=str)
    return Stored(
        (pooled / np.where(top == 0, 1, top)).astype(np.float16),
        explanation.target.reshape(-1).astype(np.int64),
        str(about.get("sha256", "")),
        hashlib.sha256(text.encode()).hexdigest(),
        text,
    )


def differences(here: Stored, then: Stored, cosine: float) -> list[str]:
    """What is not as it was, in words; nothing where the heatmaps are alike."""
    if here.method != then.method:
        return [f"the baseline was made with {then.said}; now it is {here.said}"]
    if here.maps.shape != then.maps.shape:
        return [f"heatmaps {here.maps.shape}, the baseline has {then.maps.shape}"]
    same = "" if here.model == then.model else ", by another model file"
    found = maps.cosine(here.maps, then.maps)
    lines = []
    for n, value in enumerate(found):
        if not value >= cosine:
            turned = here.target[n] != then.target[n]
            what = f"; class {here.target[n]} is explained, it was {then.target[n]}" if turned else ""
            lines.append(f"heatmap {n} has cosine {value:.4f} with the baseline's, below {cosine:g}{what}{same}")
    return lines


def write(stored: Stored, path: Path) -> Path:
    """Write a baseline, whole or not at all; the file. Raises InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made ({files.reason(error)})", "rename what is there") from None
    about = {"schema": SCHEMA, "model": stored.model, "method": stored.method, "said": stored.said}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), maps=stored.maps, target=stored.target)
    return files.replace(path, buffer.getvalue())


def read(path: Path) -> Stored:
    """The baseline of a file. Raises InputError for a damaged one, and for one of another version."""
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            about: Mapping[str, Any] = json.loads(str(stored["about"]))
            heat, target = stored["maps"], stored["target"]
        if about["schema"] != SCHEMA:
            raise InputError(f"{path}: a baseline of version {about['schema']}, not {SCHEMA}", _UPDATE)
        if heat.ndim != 3 or heat.dtype.kind != "f" or target.shape != heat.shape[:1]:
            raise ValueError("its parts do not fit")
        return Stored(heat, target, str(about["model"]), str(about["method"]), str(about["said"]))
    except InputError:
        raise
    except Exception as error:  # zipfile, numpy and json raise anything from BadZipFile to KeyError on a damaged file
        raise InputError(f"{path}: a damaged baseline ({files.reason(error)})", _UPDATE) from None
