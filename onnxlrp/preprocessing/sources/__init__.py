"""The ladder of sources: who states how a picture becomes the model's input, in the order of trust.

Flags, `model.prep.toml`, `onnxlrp.prep` in the metadata, Ultralytics, Hugging Face, timm, WinML, the graph. Each piece
comes from the first that states it; where a later one contradicts it, both are reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..fields import FORMULA, Conflict, Source, told, wide
from . import explicit, graph, huggingface, timm, ultralytics, winml
from .fit import fitting
from .statement import SourceContext, Statement

LADDER: tuple[Callable[[SourceContext], Iterator[Statement]], ...] = (
    explicit.by_hand,
    explicit.sidecar,
    explicit.stored,
    ultralytics.metadata,
    huggingface.processor,
    timm.pretrained_cfg,
    winml.image_keys,
    graph.pixels,
)

Stated = dict[str, tuple[Any, Source]]


@dataclass(frozen=True)
class Found:
    """Every piece that is stated with the first rung that states it, contradictions, and what is not done here."""

    stated: Stated
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()


def read(place: SourceContext, n_outputs: int | None = None) -> Found:
    """Ask every source. Raises UsageError (flags) and InputError (sidecar, own metadata)."""
    stated: Stated = {}
    conflicts: list[Conflict] = []
    notes: list[str] = []
    for source in LADDER:
        for statement in source(place):
            if statement.rung.foreign and statement.rung.name != graph.NAME:
                size, rung = stated.get("size", (place.fixed, None))
                by = rung.name if rung else f"the {graph.NAME}"
                statement, other = fitting(statement, place, size, by, n_outputs)
                conflicts += other
            notes += statement.notes
            conflicts += _conflicts(stated, statement)
            for key, value in statement.pieces.items():
                stated.setdefault(key, (value, statement.rung))
    return Found(stated, tuple(conflicts), tuple(dict.fromkeys(notes)))


def _conflicts(stated: Stated, statement: Statement) -> Iterator[Conflict]:
    """Where a statement contradicts what is stated already."""
    one_formula = _line({key: stated[key][0] for key in FORMULA if key in stated})
    same_formula = one_formula is not None and _close(one_formula, _line(statement.pieces))
    for key, other in statement.pieces.items():
        if key not in stated or (key in FORMULA and same_formula):
            continue
        value, rung = stated[key]
        if not _close(value, other):
            used, second = _told_apart(value, other) if key == "labels" else (told(key, value), told(key, other))
            yield Conflict(key, used, rung.name, second, statement.rung.name)


def _line(pieces: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Slope and shift of y = (x * scale - mean) / std for each channel; None where one of the three is not stated."""
    if not all(key in pieces for key in FORMULA):
        return None
    mean, std = wide(pieces["mean"], 3), wide(pieces["std"], 3)
    return (*(pieces["scale"] * 255 / s for s in std), *(m / s for m, s in zip(mean, std, strict=True)))


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and {float, int} >= {type(v) for v in (*one, *other)}:
        count = max(len(one), len(other))
        pairs = zip(wide(one, count), wide(other, count), strict=False)
        return bool(one and other) and all(_close(a, b) for a, b in pairs)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return bool(one == other)


def _told_apart(names: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, str]:
    """Two lists of class names by the first class that differs."""
    for n, (name, other) in enumerate(zip(names, others, strict=False)):
        if name != other:
            return f"class {n} is {name[:40]!r}", f"{other[:40]!r}"
    return f"{len(names)} names", f"{len(others)} names"
