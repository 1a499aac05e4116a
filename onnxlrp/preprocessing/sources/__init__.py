"""Sources of preprocessing, in the order of trust.

Flags, `model.prep.toml`, `onnxlrp.prep` in the metadata, Ultralytics, Hugging Face, timm, WinML, the labels of a
classifier, lists of names in the metadata, the graph. Each field comes from the first source that states it;
contradictions of later ones are reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..fields import FORMULA, Conflict, Source, format_value, per_channel
from . import classifier, explicit, graph, huggingface, timm, ultralytics, winml
from .fit import fit_to_model
from .statement import SourceContext, Statement

SOURCES: tuple[Callable[[SourceContext], Iterator[Statement]], ...] = (
    explicit.from_flags,
    explicit.from_sidecar,
    explicit.from_metadata,
    ultralytics.metadata,
    huggingface.processor,
    timm.pretrained_cfg,
    winml.image_keys,
    classifier.classlabels,
    classifier.class_list,
    graph.pixels,
)

FieldSources = dict[str, tuple[Any, Source]]


class StatedFields(NamedTuple):
    """The fields that sources state.

    Attributes:
        stated: The value and the first source of each field.
        conflicts: Fields that sources state differently.
        notes: Steps that sources state and that are not done here.
    """

    stated: FieldSources
    conflicts: tuple[Conflict, ...] = ()
    notes: tuple[str, ...] = ()


def read(context: SourceContext, n_outputs: int | None = None) -> StatedFields:
    """Read every source.

    Args:
        context: What sources know of the model.
        n_outputs: The number of classes, to check class names; None where it is not known.

    Raises:
        UsageError: A flag is wrong.
        InputError: `model.prep.toml` or `onnxlrp.prep` is wrong.
    """
    stated: FieldSources = {}
    conflicts: list[Conflict] = []
    notes: list[str] = []
    context = replace(context, classes=n_outputs)
    for reader in SOURCES:
        for statement in reader(context):
            if statement.source.foreign and statement.source.name != graph.NAME:
                size, source = stated.get("size", (context.fixed, None))
                by = source.name if source else f"the {graph.NAME}"
                statement, other = fit_to_model(statement, context, size, by, n_outputs)
                conflicts += other
            notes += statement.notes
            conflicts += _conflicts(stated, statement)
            for key, value in statement.fields.items():
                stated.setdefault(key, (value, statement.source))
    return StatedFields(stated, tuple(conflicts), tuple(dict.fromkeys(notes)))


def _conflicts(stated: FieldSources, statement: Statement) -> Iterator[Conflict]:
    """Yield contradictions between a statement and earlier ones."""
    one_formula = _line({key: stated[key][0] for key in FORMULA if key in stated})
    same_formula = one_formula is not None and _close(one_formula, _line(statement.fields))
    for key, other in statement.fields.items():
        if key not in stated or (key in FORMULA and same_formula):
            continue
        value, source = stated[key]
        if not _close(value, other):
            used, second = (
                _first_difference(value, other)
                if key == "labels"
                else (format_value(key, value), format_value(key, other))
            )
            yield Conflict(key, used, source.name, second, statement.source.name)


def _line(fields: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return slope and shift of y = (x * scale - mean) / std by channel, None where a part of it is not stated."""
    if not all(key in fields for key in FORMULA):
        return None
    mean, std = per_channel(fields["mean"], 3), per_channel(fields["std"], 3)
    return (*(fields["scale"] * 255 / s for s in std), *(m / s for m, s in zip(mean, std, strict=True)))


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple) and {float, int} >= {type(v) for v in (*one, *other)}:
        count = max(len(one), len(other))
        pairs = zip(per_channel(one, count), per_channel(other, count), strict=False)
        return bool(one and other) and all(_close(a, b) for a, b in pairs)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)
    return bool(one == other)


def _first_difference(names: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, str]:
    """Describe two lists of class names by the first class that differs."""
    for n, (name, other) in enumerate(zip(names, others, strict=False)):
        if name != other:
            return f"class {n} is {name[:40]!r}", f"{other[:40]!r}"
    return f"{len(names)} names", f"{len(others)} names"
