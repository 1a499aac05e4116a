"""What a prototype is evidence of: its scores under transformations, when read again, and beside real pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...graph.outputs.heads import head_of
from ...graph.outputs.scores import are_probabilities, probabilities
from ...preprocessing.images import listing
from ...preprocessing.samples import Samples
from ..ascent.domain import Domain
from ..ascent.objectives import Score
from ..ascent.optimize import Array
from ..ascent.transformations import Affine
from . import path

TRANSFORMATIONS = 20
DISTURBANCE = Affine(12 / 224, (0.9, 1.1), 10)
"""Shifts by 5 % of a side, scales of .9 to 1.1, turns by 10 degrees: what a picture of a thing survives."""
_SHOWN = 6  # layers of a curve in a line
_SEED = 1 << 61  # of these transformations, no step's


@dataclass(frozen=True, eq=False)
class Reference:
    """The user's pictures.

    Attributes:
        samples: The pictures as the model takes them.
        folders: The folder that each comes from, where they lie in several; else None.
    """

    samples: Samples
    folders: Sequence[str] | None = None


def read(model: Any, images: Any) -> Reference:
    """Read the pictures of a folder, or of its subfolders, one a class; or samples, as `Model.read` takes them.

    Raises:
        InputError: The folder cannot be listed, or a picture not be read.
        NothingToDo: There are none.
    """
    if not isinstance(images, str | os.PathLike) or Path(images).is_file():
        return Reference(model.read(images))
    folder = Path(images)
    try:
        inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        raise InputError(f"{folder}: not a folder that can be listed", "give a folder of pictures") from None
    if not inner:
        return Reference(model.read(listing(folder)))
    files = {path.name: listing(path) for path in inner}
    samples = model.read([file for found in files.values() for file in found])
    return Reference(samples, [name for name, found in files.items() for _ in found])


def collect(
    model: Any, where: Domain, score: Score, z: Array, relaxed: Array, images: Reference | None, seed: int
) -> dict[str, Any]:
    """Measure prototypes z [n, C, *space]; `relaxed` are these before they were rounded.

    Returns:
        By name, for each of n: "score" and "probability" of the class; "best", the class of the highest score; under
        "transformed" the means of both and the share of `TRANSFORMATIONS` random transformations whose best class it
        is; "read again", the same of the file as it is read; "relaxed", where the model takes whole numbers, the same
        before rounding, None where its layers take nothing else.
        Under "pictures" the highest score of the user's pictures and how many prototypes are above it; under "path"
        the curves of `analysis.prototypes.path`, or why there are none.
    """
    facts: dict[str, Any] = {"id": score.id, **_scored(model, score, where.to_input(z))}
    if where.space:
        facts["transformed"] = _transformed(model, where, score, z, seed)
    if where.whole_numbers:
        between = model.relaxed()
        facts["relaxed"] = None if between is None else _scored(between, score, where.relaxed(relaxed))
    if where.preprocessing is not None:
        again = model.read([where.picture(one) for one in z])
        facts["read again"] = _scored(model, score, again.values)
    if images is not None:
        real = score.values(images.samples.values)
        at = int(np.argmax(real))
        highest = {"score": float(real[at]), "name": images.samples.names[at], "count": len(real)}
        facts["pictures"] = highest | {"above": int((facts["score"] > real[at]).sum())}
        if "best" in facts:
            x, folders = where.to_input(z), images.folders
            found = path.measure(model, where, x, score.id, images.samples.values, folders, seed)
            facts["path"] = found if isinstance(found, str) else found.to_dict()
    return facts


def _scored(model: Any, score: Score, x: Array) -> dict[str, Array]:
    """Scores [n] and probabilities [n] of the class, and the best class [n]; of one value alone its scores."""
    logits = model.outputs(x, batch_size=score.batch_size)["logits"].reshape(len(x), -1).astype(np.float64)
    if logits.shape[1] == 1:
        return {"score": logits[:, 0]}
    chances = _probabilities(model, logits)
    return {"score": logits[:, score.id], "probability": chances[:, score.id], "best": logits.argmax(axis=1)}


def _probabilities(model: Any, logits: Array) -> Array:
    kind = head_of(model.graph, model.graph.outputs[0].name).kind
    if not kind and (logits.shape[1] == 1 or are_probabilities(logits)):
        kind = "Values"
    return probabilities(logits, kind)


def _transformed(model: Any, where: Domain, score: Score, z: Array, seed: int) -> dict[str, Array]:
    """The mean score and probability under random transformations, and the share whose best class is this one."""
    apply, _ = DISTURBANCE.draw(TRANSFORMATIONS, np.random.default_rng((seed, _SEED)))
    rows = [_scored(model, score, where.to_input(apply(np.repeat(one[None], TRANSFORMATIONS, axis=0)))) for one in z]
    found = {key: np.array([row[key].mean() for row in rows]) for key in rows[0] if key != "best"}
    if "best" in rows[0]:
        found["own class"] = np.array([(row["best"] == score.id).mean() for row in rows])
    return found


def text_of(facts: Mapping[str, Any]) -> str:
    """Return score and probability of the best picture in words."""
    more = f", probability {facts['probability'][0]:.3g}" if "probability" in facts else ""
    return f"score {facts['score'][0]:.4g}{more}"


def lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of the best picture as lines: a key and a text."""
    yield "made", text_of(facts)
    if "relaxed" in facts:
        before = facts["relaxed"]
        yield "not rounded", "the model takes whole numbers alone" if before is None else text_of(before)
    if "transformed" in facts:
        moved, what = facts["transformed"], f"{TRANSFORMATIONS} random shifts, scales and turns"
        if "own class" in moved:
            what = f"best class in {moved['own class'][0]:.0%} of {what}"
        yield "transformed", f"{what}: mean {text_of(moved)}"
    if "read again" in facts:
        yield "read again", text_of(facts["read again"])
    if "pictures" in facts:
        real = facts["pictures"]
        yield "your pictures", f"highest score {real['score']:.4g} ({real['name']}, of {real['count']})"
    if isinstance(facts.get("path"), dict):
        for name, meaning in (("separation", "1: as real ones of the class"), ("likeness", "0 noise, 1 real")):
            yield name, f"{curve(facts['path'], name)}  ({meaning})"


def curve(found: Mapping[str, Any], name: str) -> str:
    """Return a curve over the layers as numbers at about eight of them."""
    values = [(layer, v) for layer, v in zip(found["layers"], found[name], strict=True) if v is not None]
    keep = path.evenly(len(values), _SHOWN)
    return ", ".join(f"{values[n][0]} {values[n][1]:.2f}" for n in keep) or "no layer tells real pictures apart"


def doubts(name: str, facts: Mapping[str, Any], dead: Array) -> Iterator[tuple[str, str]]:
    """Yield what the picture does not show, each with what to do."""
    if dead.any():
        yield (
            f"no gradient reached {int(dead.sum())} of {len(dead)} pictures: they are noise",
            "another start: --seed 1",
        )
    if "best" in facts and facts["best"][0] != facts["id"]:
        yield f"the model's best class of this picture is {facts['best'][0]}, not {name}", "--steps, or another --style"
    elif "own class" in facts.get("transformed", {}) and facts["transformed"]["own class"][0] < 0.5:
        yield "shifted, scaled or turned a little, the picture is mostly of another class", "--style fourier"
    if isinstance(facts.get("path"), str):
        yield (
            f"no path through the layers: {facts['path']}",
            "--images DIR, with several pictures for each class",
        )
    if "pictures" in facts and facts["pictures"]["above"]:
        yield "the score is above that of all your pictures, as optimised ones are: that is no evidence of likeness", ""
