"""Baselines: logits and pooled heatmaps of a model, in one file small enough for a repository."""

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
from .context import CheckContext

Array = npt.NDArray[Any]

SCHEMA = 1
FILE = "baseline.npz"
UPDATE = "re-baseline: onnxlrp check … --update-baseline, once the change is meant"


@dataclass(frozen=True, eq=False)
class Baseline:
    """Logits and heatmaps of N samples, with hashes of what they depend on.

    Attributes:
        hashes: SHA-256 of the "model", of its "preprocessing", and of the "method" with its options.
        names: Names of the samples.
        samples: A hash of each sample.
        logits: Logits [N, K].
        target: The class explained of each sample [N].
        maps: Heatmaps [N, h, w], pooled to at most 56 x 56. The file holds each divided by its largest magnitude, in
            float16.
        descriptions: "preprocessing" and "method" in words.
    """

    hashes: Mapping[str, str]
    names: tuple[str, ...]
    samples: tuple[str, ...]
    logits: Array
    target: Array
    maps: Array
    descriptions: Mapping[str, str]

    def row(self, name: str) -> int | None:
        """Return the row of a sample, None where the baseline lacks it."""
        return self.names.index(name) if name in self.names else None


def capture(context: CheckContext) -> Baseline:
    """Make the baseline of a model and its samples.

    Raises:
        CheckFailed: Logits or relevance are not finite: no later run could pass.
        InputError: The heatmaps of several sizes are of several even when they are pooled.
    """
    logits, each = context.logits, context.in_order(lambda part: list(maps.pooled(part.maps)))
    if len(shapes := {one.shape for one in each}) > 1:
        said = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
        raise InputError(
            f"a baseline has heatmaps of one size, and samples have {said}",
            "bring them to one size: --size 224x224; or a baseline for each size",
        )
    pooled = np.stack(each)
    for n, name in enumerate(context.names):
        if not (np.isfinite(logits[n]).all() and np.isfinite(pooled[n]).all()):
            raise CheckFailed(
                f"{name}: logits or relevance are not finite", "fix that first: onnxlrp check names the cause"
            )
    return Baseline(
        hashes(context),
        tuple(context.names),
        tuple(sample_hashes(context)),
        logits.astype(np.float32),
        context.targets.astype(np.int64),
        pooled,
        describe(context),
    )


def describe(context: CheckContext) -> dict[str, str]:
    """Describe the preprocessing and the method in words."""
    requested = context.settings.requested
    more = {name: value for name, value in requested.items() if value and name not in ("method", "target")}
    words = [
        str(requested["method"]),
        f"target {requested['target']}",
        *(f"{name} {value}" for name, value in more.items()),
    ]
    prep = context.model.preprocessing.describe() if context.are_pictures else "arrays as they are"
    return {"preprocessing": prep, "method": ", ".join(words)}


def hashes(context: CheckContext) -> dict[str, str]:
    """Hash what an explanation depends on besides the sample: model, preprocessing, method."""
    prep = {"input": "array"}
    if context.are_pictures:
        stated = context.model.preprocessing
        prep = {**stated.to_dict(), "dtype": stated.dtype}
    return {
        "model": context.model.graph.sha256,
        "preprocessing": hashlib.sha256(json.dumps(prep, sort_keys=True).encode()).hexdigest(),
        "method": context.settings.method_hash,
    }


def sample_hashes(context: CheckContext) -> list[str]:
    """Hash every sample."""
    return context.in_order(lambda part: [sample_hash(part, n) for n in range(len(part.samples))])


def sample_hash(context: CheckContext, index: int) -> str:
    """Hash the pixels of a picture or the values of an array, before preprocessing."""
    original = context.samples.originals[index]
    values = context.samples.values[index] if original is None else np.asarray(original)
    return hashlib.sha256(repr((values.shape, values.dtype.str)).encode() + values.tobytes()).hexdigest()[:16]


def write(baseline: Baseline, folder: Path) -> Path:
    """Write a baseline into a folder, whole or not at all.

    Returns:
        The file.

    Raises:
        InputError: The folder or the file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be created ({files.reason(error)})", "choose another folder") from None
    scale = np.abs(baseline.maps).max(axis=(1, 2))
    unit = baseline.maps / np.where(scale == 0, 1, scale)[:, None, None]
    about = {
        "schema": SCHEMA,
        "hashes": dict(baseline.hashes),
        "said": dict(baseline.descriptions),
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
    """Read the baseline of a folder.

    Raises:
        InputError: It is damaged, or of another version.
    """
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
