"""Checks of an exported model, as CI runs them: `run(model, samples, settings) -> Findings`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lazy

if TYPE_CHECKING:
    from ..findings.finding import Finding, Findings
    from .settings import Settings
    from .suite import run

__all__ = ["Finding", "Findings", "Settings", "run"]

_FINDINGS = "..findings.finding"
# The pytest plugin imports this package in runs that check nothing: it must cost nothing.
__getattr__ = lazy.names(
    __name__, {"run": ".suite", "Settings": ".settings", "Finding": _FINDINGS, "Findings": _FINDINGS}
)
