"""The composite that a method's name and options stand for, on one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..composites import PRESETS, Composite, Match, options_of, preset
from ..errors import UsageError
from ..graph.graph import Array, Graph
from ..methods.registry import Method, asked, name_of
from ..rules import Rule
from .align_bounds import align_bounds

Box = tuple[Array, Array]


def composed(
    graph: Graph,
    method: str | Composite | Method,
    entries: Sequence[tuple[Match, Rule]],
    box: Callable[[], Box | None],
    on_unsupported: str,
    options: dict[str, Any],
) -> Composite:
    """The composite, its own rules behind `entries`; `box` is asked for the bounds of zBox that no option gives.

    Raises UsageError.
    """
    if (chosen := asked(method, options)) is not None:
        fix = "take a composite: " + ", ".join(PRESETS)
        raise UsageError(f"{name_of(chosen)} is no composite: it gives layers no rules", fix)
    if isinstance(method, Composite):
        if options:
            raise UsageError("options belong to methods named by a word", "set them in the composite's rules")
        return _completed(method, entries, on_unsupported)
    assert isinstance(method, str)
    known = options_of(method)
    given = dict(options)
    if "low" in known and not {"low", "high"} <= given.keys():
        stated = box()
        if stated is not None:
            given = {"low": stated[0], "high": stated[1], **given}
    given |= {name: align_bounds(graph, given[name]) for name in ("low", "high") if given.get(name) is not None}
    return _completed(preset(method, **given), entries, on_unsupported)


def _completed(composite: Composite, entries: Sequence[tuple[Match, Rule]], on_unsupported: str) -> Composite:
    composite = composite.with_rules(entries) if entries else composite
    return composite if on_unsupported == "error" else composite.with_fallback(on_unsupported)
