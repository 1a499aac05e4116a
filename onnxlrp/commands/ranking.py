"""`inspect --probe`: rank preprocessings by the confidence of the model. A hint, never applied."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OnnxLrpError
from ..explanation import targets
from ..files import read_text, reason
from ..model import Model
from ..preprocessing import Preprocessing, images
from ..preprocessing.fields import PRESETS, per_channel
from ..streaming import sources

_LONGEST_FILE = 64 << 20


@dataclass(frozen=True)
class Candidate:
    """A preprocessing, and the confidence of the model in its best class, in the mean over the pictures.

    Attributes:
        flags: The flags that state it.
        contrast: Distance of the best logit from the mean of all, in their standard deviations: unlike `probability`,
            it does not grow with the mere size of the inputs.
        probability: Of the best class.
        accuracy: The share of right answers, where true classes are given.
        current: It is what the model has without those flags.
    """

    flags: str
    contrast: float
    probability: float
    accuracy: float | None
    current: bool


def pictures(given: Sequence[str]) -> list[Path]:
    """Return the pictures that are named, those of folders in their place. Raises InputError."""
    found = sources.pictures([path for word in given for path in sources.expand(word)])
    if not found:
        raise InputError(
            f"--probe {given[0]}: no picture, and arrays, tables and texts have no preprocessing", "name pictures"
        )
    return found


def truth(path: Path, names: Sequence[Path]) -> dict[Path, str] | None:
    """Read the true class of each picture.

    Args:
        path: A file of `PICTURE CLASS` lines (or with a comma), or a JSON object.
        names: The pictures.

    Returns:
        Classes by picture; None for a file that names none of the pictures: then it holds the names of classes.

    Raises:
        InputError: A file that cannot be read.
    """
    try:
        text = read_text(path, _LONGEST_FILE)
        value = json.loads(text) if path.suffix.lower() == ".json" else dict(_rows(text))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path after --labels") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})", "give lines of PICTURE CLASS") from None
    if not isinstance(value, dict):
        return None
    found = {name: value.get(name.name, value.get(name.stem)) for name in names}
    known = {name: str(label) for name, label in found.items() if isinstance(label, (str, int))}
    return known or None


def rank(model: Model, paths: Sequence[Path], true: Mapping[Path, str] | None) -> list[Candidate]:
    """Rank the candidates by accuracy, then by contrast, the best first.

    Args:
        model: The model.
        paths: The pictures.
        true: Their true classes, where these are known.

    Raises:
        InputError: A picture that cannot be read, or a class that does not exist.
        UnsupportedError: An input that is no picture.
    """
    prep = model.preprocessing
    seen = [images.read_image(path) for path in paths]
    ids = _ids(model, paths, true or {})
    rows: list[Candidate] = []
    for flags, one in _candidates(prep):
        values = np.concatenate([one.apply(picture) for picture in seen])
        logits = model.outputs(values, batch_size=8)["logits"].reshape(len(values), -1).astype(np.float64)
        probability = float(_probabilities(logits).max(axis=1).mean())
        right = [int(np.argmax(logits[n])) == wanted for n, wanted in ids.items()]
        accuracy = float(np.mean(right)) if right else None
        rows.append(Candidate(flags, _contrast(logits), probability, accuracy, _same(one, prep)))
    return sorted(rows, key=lambda row: (-(row.accuracy or 0.0), -row.contrast, -row.probability))


def _candidates(prep: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """The presets in every order of colours, and the model's own where that is none of them."""
    colors = ("grey",) if prep.channels == 1 else ("RGB", "BGR")
    made: list[tuple[str, Preprocessing]] = []
    for color in colors:
        if np.dtype(prep.dtype).kind in "iu":
            flipped = color != prep.color
            order = slice(None, None, -1 if flipped else 1)
            made.append((f"--color {color}", replace(prep, color=color, mean=prep.mean[order], std=prep.std[order])))
            continue
        for name, preset in PRESETS.items():
            if prep.channels < len(preset["mean"]):
                continue
            order = slice(None, None, -1 if {color, preset.get("color", color)} == {"RGB", "BGR"} else 1)
            mean, std = (per_channel(preset[key], prep.channels)[order] for key in ("mean", "std"))
            flags = f"--prep {name}" + f" --color {color}" * (preset.get("color") != color)
            made.append((flags, replace(prep, color=color, scale=preset["scale"], mean=mean, std=std)))
    yield from made
    if not any(_same(one, prep) for _, one in made):
        yield "(as it is)", prep


def _same(one: Preprocessing, other: Preprocessing) -> bool:
    low, high = one.bounds(), other.bounds()
    return one.color == other.color and all(np.allclose(a, b, rtol=1e-4) for a, b in zip(low, high, strict=True))


def _ids(model: Model, paths: Sequence[Path], true: Mapping[Path, str]) -> dict[int, int]:
    """The class of each picture, by its number, that has a true one."""
    found: dict[int, Any] = {}
    for n, path in enumerate(paths):
        if path in true:
            try:
                found[n] = targets.resolve(targets.parse(true[path]), model.labels, model.classes)
            except OnnxLrpError as error:
                raise InputError(f"--labels: {path.name}: {error.message}", error.fix) from None
    return found


def _contrast(logits: Any) -> float:
    """The mean of (max z - mean z) / std z; 0 of a single logit."""
    spread = logits.std(axis=1)
    above = logits.max(axis=1) - logits.mean(axis=1)
    return float(np.mean(above / np.where(spread > 0, spread, 1.0)))


def _probabilities(logits: Any) -> Any:
    """Softmax; of a single logit the sigmoid and its rest."""
    if logits.shape[1] == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _rows(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        separator = next((mark for mark in ("\t", ",") if mark in line), None)
        name, _, label = line.strip().partition(separator) if separator else line.strip().partition(" ")
        if name.strip() and label.strip():
            yield Path(name.strip()).name, label.strip()
