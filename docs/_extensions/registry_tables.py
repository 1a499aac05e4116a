"""Tables and lists of what is registered: methods, rules, operators, metrics, checks, engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from result_tables import table

from onnxlrp.checks.registry import CHECKS, thresholds
from onnxlrp.engines import ENGINES
from onnxlrp.evaluation.metrics.registry import METRICS
from onnxlrp.graph.decomposition.decompose import decompositions
from onnxlrp.graph.decomposition.dynamic_quantization import DYNAMIC
from onnxlrp.graph.decomposition.integer import INTEGER
from onnxlrp.graph.lowering.lower import LOWERINGS
from onnxlrp.layers import LAYERS
from onnxlrp.methods.registry import METHODS
from onnxlrp.program.op import KINDS
from onnxlrp.registry import options_of, summary
from onnxlrp.rules import RULES


def methods() -> str:
    """Return every method with its sentence and paper, its cost in passes for each sample, its options."""
    rows = ((_code(name), entry.summary, entry.passes, _listed(entry.options)) for name, entry in METHODS.items())
    return table(("method", "what it does", "passes", "options"), rows)


def rules() -> str:
    """Return every rule with its sentence and options."""
    rows = ((_code(name), summary(RULES[name]), _listed(options_of(RULES[name]))) for name in sorted(RULES))
    return table(("rule", "what it does", "options"), rows)


def operators() -> str:
    """Return every ONNX operator that has a rule, by kind, and those that are read as others."""
    by_kind = {kind: sorted(name for name, row in LAYERS.items() if row.kind == kind) for kind in KINDS}
    rows = [(_code(kind), KINDS[kind], ops) for kind, ops in by_kind.items() if ops]
    quantised = {*INTEGER, *DYNAMIC} - {*LAYERS}
    optimised = {*decompositions()} - quantised - {*LAYERS}
    rows.append(("", "on integers: read as the same on floats, between rounding and rounding", sorted(quantised)))
    rows.append(("", "fused by onnxruntime's optimiser: read as the operators that they stand for", sorted(optimised)))
    lowered = {*LOWERINGS} - {*LAYERS}
    rows.append(("", "written as other operators while the model is loaded", sorted(lowered)))
    return table(
        ("kind", "what it is", "ONNX operators"), ((kind, what, ", ".join(map(_code, ops))) for kind, what, ops in rows)
    )


def metrics() -> str:
    """Return every metric with its sentence and paper, the better direction, what it needs, its options."""
    rows = (
        (
            _code(name),
            entry.summary,
            entry.better,
            ", ".join(word for word, needed in (("masks", entry.masks), ("ledger", entry.ledger)) if needed),
            _listed(entry.options),
        )
        for name, entry in METRICS.items()
    )
    return table(("metric", "what it measures", "better", "needs", "options"), rows)


def checks() -> str:
    """Return every check in the order in which they run, with its sentence, severity and thresholds."""
    rows = (
        (_code(id), entry.summary, entry.severity, _listed(f"{key}={value}" for key, value in thresholds(id).items()))
        for id, entry in CHECKS.items()
    )
    return table(("check", "what it asks", "severity", "thresholds"), rows)


def engines() -> str:
    """Return every engine with its sentence and options."""
    rows = ((_code(name), summary(ENGINES[name]), _listed(options_of(ENGINES[name]))) for name in ENGINES)
    return table(("engine", "what it is", "options"), rows)


def _code(name: str) -> str:
    return f"`{name}`"


def _listed(names: Iterable[str]) -> str:
    return " ".join(map(_code, names))


TABLES: Mapping[str, Callable[[], str]] = {
    "methods": methods,
    "rules": rules,
    "operators": operators,
    "metrics": metrics,
    "checks": checks,
    "engines": engines,
}

# What has a section of its own, from its docstring.
DESCRIBED: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "methods": lambda: {name: entry.make for name, entry in METHODS.items()},
    "rules": lambda: {name: RULES[name] for name in sorted(RULES)},
    "metrics": lambda: {name: entry.make for name, entry in METRICS.items()},
    "checks": lambda: {name: entry.make for name, entry in CHECKS.items()},
}
