"""Fit the statement of a foreign source to the model: fields that contradict it are dropped with a note."""

from __future__ import annotations

from collections.abc import Mapping

from ..fields import FORMULA, Conflict, Fields, format_value
from .statement import SourceContext, Statement


def fit_to_model(
    statement: Statement, context: SourceContext, size: tuple[int, int] | None, by: str, n_outputs: int | None
) -> tuple[Statement, list[Conflict]]:
    """Drop the fields of a statement that contradict the model.

    Args:
        statement: The statement of a foreign source.
        context: What sources know of the model.
        size: (height, width) of the input, below 1 where it is open; None where it is not known.
        by: The source of that size.
        n_outputs: The number of classes, None where it is not known.

    Returns:
        The statement without these fields, and conflicts about the size.
    """
    fields, stated = dict(statement.fields), statement.fields
    notes: list[str] = []
    for dropped, why in (_names(stated, n_outputs), _channels(stated, context), _bytes(stated, context)):
        if dropped:
            fields = {key: value for key, value in fields.items() if key not in dropped}
            notes.append(f"{statement.source.name}: {why}: not used")
    if context.channels == 1:
        fields |= {key: fields[key][:1] for key in FORMULA[1:] if key in fields}
    fields, conflicts = _sized(fields, statement.source.name, size, by)
    crop, needed = fields.get("crop"), fields.get("size", size)
    if isinstance(crop, tuple) and needed and any(map(int.__lt__, crop, needed if len(crop) == 2 else [min(needed)])):
        notes.append(
            f"{statement.source.name}: resize_to {format_value('crop', crop)} is below the input's size: not used"
        )
        del fields["crop"]
    return statement._replace(fields=fields, notes=(*statement.notes, *notes)), conflicts


Dropped = tuple[tuple[str, ...], str]


def _names(fields: Fields, n_outputs: int | None) -> Dropped:
    names = fields.get("labels")
    if names is None or n_outputs is None or len(names) == n_outputs:
        return (), ""
    return ("labels",), f"{len(names)} class names for {n_outputs} outputs"


def _channels(fields: Fields, context: SourceContext) -> Dropped:
    color = fields.get("color")
    if context.channels == 3 and color == "grey":
        return ("color",), "grey for an input of 3 channels"
    several = any(len(set(fields.get(key, ()))) > 1 for key in FORMULA[1:])
    if context.channels == 1 and (several or color not in (None, "grey")):
        return ("color", *FORMULA), "colour and formula are for 3 channels, the input has 1"
    return (), ""


def _bytes(fields: Fields, context: SourceContext) -> Dropped:
    if context.dtype not in ("uint8", "int8") or not any(key in fields for key in FORMULA):
        return (), ""
    formula = ", ".join(f"{key} {format_value(key, fields[key])}" for key in FORMULA if key in fields)
    return FORMULA, f"{formula} for an input that takes pixels as {context.dtype}"


def _sized(
    fields: Mapping[str, object], name: str, size: tuple[int, int] | None, by: str
) -> tuple[Fields, list[Conflict]]:
    """Drop another size than the input's; the size to resize to keeps its proportion to it."""
    kept, stated = dict(fields), fields.get("size")
    if not isinstance(stated, tuple) or size is None or all(n < 1 or n == o for n, o in zip(size, stated, strict=True)):
        return kept, []
    del kept["size"]
    crop = kept.get("crop")
    if isinstance(crop, tuple):
        kept["crop"] = min(1.0, min(stated) / min(crop))
    used = "x".join(str(n) if n > 0 else "*" for n in size)
    return kept, [Conflict("size", used, by, format_value("size", stated), name)]
