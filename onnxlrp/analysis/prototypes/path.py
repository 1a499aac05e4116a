"""The path of a picture through a model beside that of real pictures, layer by layer (Geirhos et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import OnnxLrpError
from ...explanation import targets
from ...graph.outputs import units
from ..ascent.optimize import Array

if TYPE_CHECKING:
    from ...graph.outputs.units import Unit
    from ..ascent.domain import Domain

_NOISE = 8  # pictures of noise
_LAYERS = 24  # at most, evenly over the depth
_CHANNELS = 8  # at least: a correlation over fewer says nothing
_GAP = 0.05  # the smallest difference between real pictures that is divided by
_AT_ONCE = 16


@dataclass(frozen=True, eq=False)
class Path:
    """Two curves over layers; None at layers where real pictures have no gap.

    Attributes:
        layers: The names of the layers, in order.
        separation: (ρ(made, own) - ρ(made, others)) / (ρ(own, own') - ρ(own, others)): 1 as real pictures of the class.
        likeness: (ρ(made, real) - ρ(noise, real)) / (ρ(real, real') - ρ(noise, real)): 0 as noise, 1 as real pictures.
        own: The number of real pictures of the class.
        others: The number of real pictures of other classes.
        labelled: Where the classes of real pictures come from, in words.
    """

    layers: Sequence[str]
    separation: Sequence[float | None]
    likeness: Sequence[float | None]
    own: int
    others: int
    labelled: str

    def to_dict(self) -> dict[str, Any]:
        """Return the curves in JSON's types."""
        return dict(vars(self))


def measure(
    model: Any, where: Domain, x: Array, id: int, real: Array, folders: Sequence[str] | None, seed: int = 0
) -> Path | str:
    """Compare the pooled activations of pictures with those of real ones.

    ρ is the mean Spearman correlation over channels of activations averaged over space.

    Args:
        model: The model.
        where: The domain of its input.
        x: Inputs that were made [n, …].
        id: Their class.
        real: Real inputs [N, …].
        folders: The folder of each real picture, where they lie in several: the class, if it is named so.
        seed: The seed of the noise.

    Returns:
        The path, or why there is none.
    """
    classes, labelled = _classes(model, real, folders)
    own = classes == id
    if own.sum() < 2 or (~own).sum() < 2:
        return f"{int(own.sum())} real pictures of the class and {int((~own).sum())} of others: two of each are needed"
    shape = (_NOISE, *where.shape)
    noise = where.to_input(np.random.default_rng(seed).random(shape, np.float32))
    names, separation, likeness = [], [], []
    for unit, pooled in _pooled(model, np.concatenate([x, noise, real])):
        ranks = _ranks(pooled)
        made, blank, seen = ranks[: len(x)], ranks[len(x) : len(x) + _NOISE], ranks[len(x) + _NOISE :]
        names.append(unit.label)
        within, across = _among(seen[own]), _between(seen[own], seen[~own])
        gap = _between(made, seen[own]) - _between(made, seen[~own])
        separation.append(_share(gap, within - across))
        floor = _between(blank, seen)
        likeness.append(_share(_between(made, seen) - floor, _among(seen) - floor))
    if not names:
        return f"no layer has {_CHANNELS} channels"
    return Path(names, separation, likeness, int(own.sum()), int((~own).sum()), labelled)


def _classes(model: Any, real: Array, folders: Sequence[str] | None) -> tuple[Array, str]:
    """The class of each real picture: by its folder's name, else the model's best."""
    try:
        known = {name: targets.resolve(targets.parse(name), model.labels, model.classes) for name in set(folders or ())}
    except OnnxLrpError:
        known = {}
    if known and folders is not None:
        return np.array([known[name] for name in folders]), "the names of folders"
    logits = model.outputs(real, batch_size=_AT_ONCE)["logits"].reshape(len(real), -1)
    return logits.argmax(axis=1), "the model's best class of each"


def _pooled(model: Any, x: Array) -> Iterator[tuple[Unit, Array]]:
    """Yield the activations of layers averaged over space [N, C], in the order of the layers."""
    found = [one for one in units.layers(model.graph, ".*") if one.channels >= _CHANNELS]
    keep = evenly(len(found), _LAYERS)
    chosen = [found[n] for n in keep]
    rows: list[list[Array]] = [[] for _ in chosen]
    for start in range(0, len(x), _AT_ONCE):
        given = model.outputs(x[start : start + _AT_ONCE], activations=chosen)
        for row, unit in zip(rows, chosen, strict=True):
            values = given[f"activation/{unit.label}"]
            row.append(np.moveaxis(values, 1 + unit.axis, 1).reshape(len(values), unit.channels, -1).mean(axis=2))
    for unit, row in zip(chosen, rows, strict=True):
        yield unit, np.concatenate(row)


def evenly(count: int, most: int) -> list[int]:
    """Return at most so many of `count` places, evenly, the first and the last among them."""
    return sorted({round(n) for n in np.linspace(0, count - 1, min(most, count)).tolist()}) if count else []


def _ranks(values: Array) -> Array:
    """Return ranks of each row [N, C], ties at their mean, centred and of norm 1: products are Spearman's ρ."""
    order = np.sort(values, axis=1)
    found = np.stack(
        [
            np.searchsorted(line, row, "left") + np.searchsorted(line, row, "right")
            for line, row in zip(order, values, strict=True)
        ]
    ).astype(np.float64)
    found -= found.mean(axis=1, keepdims=True)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def _between(a: Array, b: Array) -> float:
    return float((a @ b.T).mean())


def _among(a: Array) -> float:
    """The mean over pairs of different rows."""
    n = len(a)
    return float(((a @ a.T).sum() - (a * a).sum()) / (n * (n - 1)))


def _share(part: float, whole: float) -> float | None:
    return None if whole < _GAP else round(part / whole, 4)
