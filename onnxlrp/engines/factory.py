"""Engines by name, with their options."""

from __future__ import annotations

import logging
from typing import Any

from ..errors import UsageError, did_you_mean
from ..registry import options_of
from ..runtime import fix, missing
from . import ENGINES, Engine

log = logging.getLogger("onnxlrp")
AUTO, DEFAULT = "auto", "ort"
WITHOUT_RUNTIME = "reference"  # what auto takes where onnxruntime is missing


def automatic() -> str:
    """Return the engine that "auto" takes here."""
    return WITHOUT_RUNTIME if missing() else DEFAULT


def faster(engine: Engine) -> tuple[str, str] | None:
    """Return why an engine is slow where onnxruntime is missing, and the command that installs it; else None."""
    why = missing() if engine.name == WITHOUT_RUNTIME else ""
    return (f"{why}: the engine reference (numpy, float64) is used, which is slow", fix(why)) if why else None


def make_engine(name: str = AUTO, **options: Any) -> Engine:
    """Return an engine by name.

    Args:
        name: A name in `ENGINES`, or "auto": onnxruntime, on a GPU where it has one, because the kernels of the
            engine "cuda" have not run on hardware; "reference" where onnxruntime is missing.
        options: Options of the engine; None leaves one out. `providers` of "ort" are onnxruntime's execution providers,
            `precision` of "cuda" and "emulator" is "exact" (float32, the default) or "fast" (TF32).

    Raises:
        UsageError: There is no such engine, it has no such option, or its runtime is missing.
    """
    given = {key: value for key, value in options.items() if value is not None}
    # With an option of onnxruntime it is onnxruntime that is meant, and that is said to be missing.
    chosen = name if name != AUTO else DEFAULT if given.keys() & options_of(ENGINES[DEFAULT]) else automatic()
    if chosen not in ENGINES:
        raise UsageError(f'there is no engine "{name}"', did_you_mean(name, (AUTO, *ENGINES)))
    for key, value in given.items():
        if key not in options_of(ENGINES[chosen]):
            having = " or ".join(other for other in ENGINES if key in options_of(ENGINES[other]))
            raise UsageError(
                f"{key} {value!r}: the engine {chosen} has no option {key}",
                f"leave --{key} out" + f", or give --engine {having}" * bool(having),
            )
    if name == AUTO and log.isEnabledFor(logging.INFO):
        log.info("engine %s, by auto: %s", chosen, missing() or _why_not_cuda())
    return ENGINES[chosen](**given)


def _why_not_cuda() -> str:
    from .cuda.runtime.loaders import why_unavailable

    why = why_unavailable()
    if why:
        return f"cuda cannot run here ({why})"
    return "cuda can run here, but only by --engine cuda: its kernels have not run on hardware yet"
