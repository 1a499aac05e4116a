"""The composite that a method's name and options stand for, on one model."""

from __future__ import annotations

from collections.abc import Callable

from ..composites import Composite
from ..errors import UnsupportedError, UsageError
from ..graph.facts import has_trees
from ..graph.graph import Array, Graph
from ..inputs import InputKind
from ..methods.registry import METHODS, asked, composites, make_composite, name_of
from ..rules import parse
from .align_bounds import align_bounds
from .options.explain import ExplainOptions

Box = tuple[Array, Array]


def resolve_composite(
    graph: Graph, kind: InputKind, asked_for: ExplainOptions, box: Callable[[], Box | None]
) -> Composite:
    """Return the composite, its own rules behind those that are asked for.

    Args:
        graph: What the model computes.
        kind: What its input is.
        asked_for: The method (decided), its options, the rules before its own, and what layers without a rule get.
        box: Asked for the bounds of zBox that no option gives.

    Raises:
        UsageError: No such method or option, or a method that is no composite.
        UnsupportedError: The same of a model of trees, which no composite can explain.
    """
    method, options = asked_for.method, asked_for.options
    if (chosen := asked(method, options)) is not None:
        if has_trees(graph):
            raise UnsupportedError(
                f"{name_of(chosen)} is no composite, and trees have no rules: there is no explainer to export",
                "explain them: onnxlrp explain with -m tree_shap and --background, or -m kernel_shap",
            )
        fix = "take a composite: " + ", ".join(composites())
        raise UsageError(f"{name_of(chosen)} is no composite: it gives layers no rules", fix)
    if isinstance(method, Composite):
        if options:
            raise UsageError("options belong to methods named by a word", "set them in the composite's rules")
        return _completed(method, asked_for)
    assert isinstance(method, str)
    known = METHODS[method].options
    given = dict(options)
    if "low" in known and not {"low", "high"} <= given.keys():
        stated = box()
        if stated is not None:
            given = {"low": stated[0], "high": stated[1], **given}
    given |= {name: align_bounds(graph, kind, given[name]) for name in ("low", "high") if given.get(name) is not None}
    return _completed(make_composite(method, **given), asked_for)


def _completed(composite: Composite, asked_for: ExplainOptions) -> Composite:
    entries = [(match, parse(rule) if isinstance(rule, str) else rule) for match, rule in asked_for.entries]
    composite = composite.with_rules(entries) if entries else composite
    if asked_for.on_unsupported == "error":
        return composite
    return composite.with_fallback(asked_for.on_unsupported)
