"""The baseline of a model: what it said and why, small enough to be kept in a repository, in one file."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import CheckFailed, InputError
from ..explanation import maps
from .case import Case

Array = npt.NDArray[Any]

SCHEMA = 1
FILE = "baseline.npz"
UPDATE = "re-baseline: onnxlrp check … --update-baseline, once the change is meant"


@dataclass(frozen=True, eq=False)
class Baseline:
    """Of N samples: `names`, `samples` (a hash of each), `logits` [N, K], the class explained `target` [N], and pooled
    `maps` [N, h, w], at most 56 x 56 (float16 in the file, where each is divided by its largest magnitude).

    `hashes` are SHA-256 of the "model", of its "preprocessing" and of the "method" with all that it was asked; `said`
    are the latter two in words.
    """

    hashes: Mapping[str, str]
    names: tuple[str, ...]
    samples: tuple[str, ...]
    logits: Array
    target: Array
    maps: Array
    said: Mapping[str, str]

    def row(self, name: str) -> int | None:
        """Where a sample is."""
        return self.names.index(name) if name in self.names else None


def of(case: Case) -> Baseline:
    """The baseline that a case would have. Raises CheckFailed for what is not finite: it could only be failed."""
    logits, pooled = case.logits, maps.pooled(case.maps)
    for n, name in enumerate(case.samples.names):
        if not (np.isfinite(logits[n]).all() and np.isfinite(pooled[n]).all()):
            raise CheckFailed(f"{name}: logits or relevance are not finite", "mend that first: onnxlrp check names it")
    return Baseline(
        hashes(case),
        tuple(case.samples.names),
        tuple(sample_hash(case, n) for n in range(len(case.samples))),
        logits.astype(np.float32),
        case.targets.astype(np.int64),
        pooled,
        said(case),
    )


def said(case: Case) -> dict[str, str]:
    """The preprocessing and the method in words."""
    asked = case.settings.asked
    more = {name: value for name, value in asked.items() if value and name not in ("method", "target")}
    words = [str(asked["method"]), f"target {asked['target']}", *(f"{name} {value}" for name, value in more.items())]
    prep = case.model.preprocessing.describe() if case.samples.pictures else "arrays as they are"
    return {"preprocessing": prep, "method": ", ".join(words)}


def hashes(case: Case) -> dict[str, str]:
    """What an explanation depends on beside the sample."""
    prep = {"input": "array"}
    if case.samples.pictures:
        stated = case.model.preprocessing
        prep = {**stated.to_dict(), "dtype": stated.dtype}
    return {
        "model": case.model.graph.sha256,
        "preprocessing": hashlib.sha256(json.dumps(prep, sort_keys=True).encode()).hexdigest(),
        "method": case.settings.method_hash,
    }


def sample_hash(case: Case, index: int) -> str:
    """A hash of a picture's own pixels, of an array's values: whatever the preprocessing makes of them."""
    original = case.samples.originals[index]
    values = case.samples.values[index] if original is None else np.asarray(original)
    return hashlib.sha256(repr((values.shape, values.dtype.str)).encode() + values.tobytes()).hexdigest()[:16]


def write(baseline: Baseline, folder: Path) -> Path:
    """Write a baseline into a folder, at once or not at all; the file. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({files.reason(error)})", "choose another folder") from None
    scale = np.abs(baseline.maps).max(axis=(1, 2))
    unit = baseline.maps / np.where(scale == 0, 1, scale)[:, None, None]
    about = {
        "schema": SCHEMA,
        "hashes": dict(baseline.hashes),
        "said": dict(baseline.said),
        "names": baseline.names,
        "samples": baseline.samples,
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        about=np.array(json.dumps(about)),
        logits=baseline.logits.astype(np.float32),
        target=baseline.target.astype(np.int64),
        maps=unit.astype(np.float16),
        scale=scale,
    )
    return files.replace(folder / FILE, buffer.getvalue())


def read(folder: Path) -> Baseline:
    """The baseline of a folder. Raises InputError for a damaged one, and for one of another version."""
    path = folder / FILE
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about["schema"] != SCHEMA:
                raise InputError(f"{path}: a baseline of version {about['schema']}, not {SCHEMA}", UPDATE)
            found = Baseline(
                {str(k): str(v) for k, v in about["hashes"].items()},
                _texts(about["names"]),
                _texts(about["samples"]),
                stored["logits"],
                stored["target"],
                stored["maps"].astype(np.float64) * stored["scale"][:, None, None],
                {str(k): str(v) for k, v in about["said"].items()},
            )
    except InputError:
        raise
    except Exception as error:  # zipfile, numpy and json raise anything from BadZipFile to KeyError on a damaged file
        raise InputError(f"{path}: a damaged baseline ({files.reason(error)})", UPDATE) from None
    n = len(found.names)
    if not n == len(found.samples) == len(found.logits) == len(found.target) == len(found.maps):
        raise InputError(f"{path}: a damaged baseline (its parts differ in length)", UPDATE)
    return found


def _texts(items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(item) for item in items)
