"""Checks of an exported model, as CI runs them: `run(model, samples, settings) -> Findings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..findings.finding import Finding, Findings
    from .settings import Settings
    from .suite import run

__all__ = ["Finding", "Findings", "Settings", "run"]

_HOMES = {"run": ".suite", "Settings": ".settings", "Finding": "..findings.finding", "Findings": "..findings.finding"}


def __getattr__(name: str) -> Any:
    # The pytest plugin imports this package in runs that check nothing: it must cost nothing.
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxlrp.checks' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name], __name__), name)
