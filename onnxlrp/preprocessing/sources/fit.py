"""What of a foreign source fits the model; what does not is left out and said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..fields import FORMULA, Conflict, Pieces, told
from .statement import SourceContext, Statement


def fitting(
    statement: Statement, place: SourceContext, size: tuple[int, int] | None, by: str, n_outputs: int | None
) -> tuple[Statement, list[Conflict]]:
    """The statement without what contradicts the model; `size` is the input's, below 1 where it is open, `by` whom."""
    pieces, stated = dict(statement.pieces), statement.pieces
    notes: list[str] = []
    for gone, why in (_names(stated, n_outputs), _channels(stated, place), _bytes(stated, place)):
        if gone:
            pieces = {key: value for key, value in pieces.items() if key not in gone}
            notes.append(f"{statement.rung.name}: {why}: not used")
    if place.channels == 1:
        pieces |= {key: pieces[key][:1] for key in FORMULA[1:] if key in pieces}
    pieces, conflicts = _sized(pieces, statement.rung.name, size, by)
    crop, needed = pieces.get("crop"), pieces.get("size", size)
    if isinstance(crop, tuple) and needed and any(map(int.__lt__, crop, needed if len(crop) == 2 else [min(needed)])):
        notes.append(f"{statement.rung.name}: resize_to {told('crop', crop)} is below the input's size: not used")
        del pieces["crop"]
    return replace(statement, pieces=pieces, notes=(*statement.notes, *notes)), conflicts


Gone = tuple[tuple[str, ...], str]


def _names(pieces: Pieces, n_outputs: int | None) -> Gone:
    names = pieces.get("labels")
    if names is None or n_outputs is None or len(names) == n_outputs:
        return (), ""
    return ("labels",), f"{len(names)} class names for {n_outputs} outputs"


def _channels(pieces: Pieces, place: SourceContext) -> Gone:
    color = pieces.get("color")
    if place.channels == 3 and color == "grey":
        return ("color",), "grey for an input of 3 channels"
    several = any(len(set(pieces.get(key, ()))) > 1 for key in FORMULA[1:])
    if place.channels == 1 and (several or color not in (None, "grey")):
        return ("color", *FORMULA), "colour and formula are of 3 channels, the input has 1"
    return (), ""


def _bytes(pieces: Pieces, place: SourceContext) -> Gone:
    if place.dtype not in ("uint8", "int8") or not any(key in pieces for key in FORMULA):
        return (), ""
    formula = ", ".join(f"{key} {told(key, pieces[key])}" for key in FORMULA if key in pieces)
    return FORMULA, f"{formula} for an input that takes pixels as {place.dtype}"


def _sized(
    pieces: Mapping[str, object], name: str, size: tuple[int, int] | None, by: str
) -> tuple[Pieces, list[Conflict]]:
    """Of a source for another size, what it resizes to keeps its share."""
    kept, own = dict(pieces), pieces.get("size")
    if not isinstance(own, tuple) or size is None or all(n < 1 or n == o for n, o in zip(size, own, strict=True)):
        return kept, []
    del kept["size"]
    crop = kept.get("crop")
    if isinstance(crop, tuple):
        kept["crop"] = min(1.0, min(own) / min(crop))
    used = "x".join(str(n) if n > 0 else "*" for n in size)
    return kept, [Conflict("size", used, by, told("size", own), name)]
