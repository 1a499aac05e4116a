"""Tables of the registries in Markdown, for the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from . import rules
from .composites import PRESETS, options_of
from .graph.decomposition import dynamic_quantization, integer
from .graph.decomposition.fused import RULES
from .layers import registry
from .methods import registry as method
from .program.op import KINDS

PROPAGATION = "1 + 1 propagation"  # what every composite costs


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def summary(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((thing.__doc__ or "").split("\n\n")[0].split())


def methods() -> str:
    """Every method, its sentence and paper, what it costs in passes for each sample, its options; composites first."""
    rows = [[f"`{name}`", summary(make), PROPAGATION, _listed(options_of(name))] for name, make in PRESETS.items()]
    for name, entry in method.registry().items():
        text = f"{summary(entry.make).rstrip('.:')} ({entry.paper})."
        rows.append([f"`{name}`", text, entry.passes, _listed(method.options_of(name))])
    return _table(("method", "what it does", "passes", "options"), rows)


def _listed(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def all_rules() -> str:
    """Every rule, its sentence, its options."""
    found = rules.registry()
    return _table(
        ("rule", "what it does", "options"),
        (
            [f"`{name}`", summary(found[name]), " ".join(f"`{f.name}`" for f in dataclasses.fields(found[name]))]
            for name in sorted(found)
        ),
    )


def operators() -> str:
    """Every ONNX operator that has a rule, by kind, and those that are read as others."""
    by_kind: dict[str, list[str]] = {}
    for name, row in registry().items():
        by_kind.setdefault(row.kind, []).append(name)
    rows = [(f"`{kind}`", KINDS[kind], sorted(ops)) for kind, ops in by_kind.items()]
    quantised = {*integer.RULES, *dynamic_quantization.RULES} - {*registry()}
    fused = {*RULES} - quantised - {*registry()}
    rows.append(("", "on integers: read as the same on floats, between rounding and rounding", sorted(quantised)))
    rows.append(("", "fused by onnxruntime's optimiser: read as what they were", sorted(fused)))
    return _table(
        ("kind", "what it is", "ONNX operators"),
        ([kind, what, ", ".join(f"`{op}`" for op in ops)] for kind, what, ops in rows),
    )


TABLES: dict[str, Callable[[], str]] = {"methods": methods, "rules": all_rules, "operators": operators}
