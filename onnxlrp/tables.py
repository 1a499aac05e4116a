"""Tables of the registries in Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .checks.registry import CHECKS, thresholds
from .engines import ENGINES
from .evaluation.metrics.registry import METRICS
from .graph.decomposition import dynamic_quantization, fused, integer
from .layers import LAYERS
from .methods.registry import METHODS
from .program.op import KINDS
from .registry import options_of, summary
from .rules import RULES


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def methods() -> str:
    """Return the methods, composites first: a sentence and paper, the cost in passes for each sample, their options."""
    rows = [[f"`{name}`", entry.summary, entry.passes, _listed(entry.options)] for name, entry in METHODS.items()]
    return _table(("method", "what it does", "passes", "options"), rows)


def _listed(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def all_rules() -> str:
    """Return the rules: a sentence and their options."""
    return _table(
        ("rule", "what it does", "options"),
        ([f"`{name}`", summary(RULES[name]), _listed(options_of(RULES[name]))] for name in sorted(RULES)),
    )


def operators() -> str:
    """Return the ONNX operators that have a rule, by kind, and those that are read as others."""
    by_kind = {kind: sorted(name for name, row in LAYERS.items() if row.kind == kind) for kind in KINDS}
    rows = [(f"`{kind}`", KINDS[kind], ops) for kind, ops in by_kind.items() if ops]
    quantised = {*integer.RULES, *dynamic_quantization.RULES} - {*LAYERS}
    optimised = {*fused.RULES} - quantised - {*LAYERS}
    rows.append(("", "on integers: read as the same on floats, between rounding and rounding", sorted(quantised)))
    rows.append(("", "fused by onnxruntime's optimiser: read as what they were", sorted(optimised)))
    return _table(
        ("kind", "what it is", "ONNX operators"),
        ([kind, what, ", ".join(f"`{op}`" for op in ops)] for kind, what, ops in rows),
    )


def metrics() -> str:
    """Return the metrics of `evaluate`: a sentence and paper, the better direction, what they need, their options."""
    rows = [
        [
            f"`{name}`",
            entry.summary,
            entry.better,
            ", ".join(word for word, needed in (("masks", entry.masks), ("ledger", entry.ledger)) if needed),
            _listed(entry.options),
        ]
        for name, entry in METRICS.items()
    ]
    return _table(("metric", "what it measures", "better", "needs", "options"), rows)


def checks() -> str:
    """Return the checks in the order in which they run: a sentence, the severity, thresholds with their defaults."""
    rows = [
        [f"`{id}`", entry.summary, entry.severity, _listed(f"{key}={value}" for key, value in thresholds(id).items())]
        for id, entry in CHECKS.items()
    ]
    return _table(("check", "what it says", "severity", "thresholds"), rows)


def engines() -> str:
    """Return the engines: a sentence and their options."""
    rows = [[f"`{name}`", summary(make), _listed(options_of(make))] for name, make in ENGINES.items()]
    return _table(("engine", "what it is", "options"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "methods": methods,
    "rules": all_rules,
    "operators": operators,
    "metrics": metrics,
    "checks": checks,
    "engines": engines,
}
