"""Run all checks on one model and its samples."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import NoneType
from typing import Any

from ..errors import InputError, OnnxLrpError, UsageError, of_type
from ..findings.finding import Finding, Findings, MissingData, skipped
from ..methods.registry import METHODS
from ..model import Model
from ..model.options.explain import is_default
from ..streaming import collect
from .context import CheckContext, open_model
from .loading import unreadable
from .registry import CHECKS, configured
from .registry import severity as severity_of
from .settings import OFF, Settings

Progress = Callable[[int, int, str], None]  # (done, total, next)


def quiet(done: int, total: int, name: str) -> None:
    """Show no progress."""


def run(
    model: Model | str | Path | None = None,
    samples: Any = None,
    settings: Settings | None = None,
    progress: Progress = quiet,
) -> Findings:
    """Run every check, in the order of the registry.

    A check whose data is missing gives a finding "skipped" with the reason; a file that is no readable model gives a
    failed check "load".

    Args:
        model: A loaded model, a path, or None for that of the settings.
        samples: Anything that `Model.explain` takes, or None for those of the settings.
        settings: The settings; None for the defaults.
        progress: Called with the checks done, their number, and the id of the next.

    Returns:
        The findings of all checks.

    Raises:
        UsageError: The settings name something that does not exist.
        InputError: The file of the model does not exist, or samples cannot be read.
    """
    of_type((Model, str, os.PathLike, NoneType), "a model, or the path of one", model=model)
    settings = settings or Settings()
    try:
        found = open_context(model, samples, settings)
    except Unreadable as error:
        failed = replace(unreadable(error, error.path.name), check="load", severity=_severity(settings, "load"))
        rest = [_skipped(id, settings, "the model cannot be read") for id in CHECKS if id != "load"]
        return Findings([failed, *rest], {"model": str(error.path), **_versions()}, _summaries())
    seconds: dict[str, float] = {}
    return Findings(list(_findings(found, progress, seconds)), run_metadata(found), _summaries(), seconds)


def open_context(model: Model | str | Path | None, samples: Any, settings: Settings) -> CheckContext:
    """Load the model and read its samples; arguments as of `run`.

    Raises:
        Unreadable: The file is no readable model.
        UsageError: The settings name something that does not exist.
    """
    if not is_default(settings) and settings.method not in METHODS:
        raise METHODS.unknown(str(settings.method))
    if not isinstance(model, Model):
        model = _opened(_path(model, settings), settings)
    settings = model.decided(settings)
    words = samples if isinstance(samples, list | tuple) else [samples]
    are_files = bool(words) and all(isinstance(word, str | Path) for word in words)
    read: Any = samples
    if samples is None or are_files:
        source = settings.source(None if samples is None else [str(word) for word in words])
        read = None if source is None else collect.samples(model, source)
    return CheckContext.of(model, settings, read)


class Unreadable(InputError):
    """A file exists and is no readable model, which the check "load" reports."""

    def __init__(self, path: Path, error: OnnxLrpError) -> None:
        super().__init__(error.message, error.fix)
        self.path = path


def _path(model: str | Path | None, settings: Settings) -> Path:
    if model is None and settings.model is None:
        raise UsageError("no model is given", 'onnxlrp check model.onnx, or model = "model.onnx" in the settings')
    path = Path(model) if model is not None else settings.path(settings.model or "")
    if os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        found = next(iter(sorted(path.glob("*.onnx"))), path / "model.onnx")
        raise InputError(f"{path}: a folder, not a model", f"name the model in it: {found}")
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file", "check the path of the model")
    return path


def _opened(path: Path, settings: Settings) -> Model:
    try:
        return open_model(path, settings)
    except UsageError:
        raise
    except OnnxLrpError as error:
        raise Unreadable(path, error) from None


def _findings(context: CheckContext, progress: Progress, seconds: dict[str, float]) -> Iterator[Finding]:
    for done, id in enumerate(CHECKS):
        progress(done, len(CHECKS), id)
        severity = severity_of(id, context.settings)
        if severity == OFF:
            yield _skipped(id, context.settings, "switched off in the settings")
            continue
        check, began = configured(id, context.settings), time.perf_counter()
        try:
            found = list(check(context))
        except MissingData as error:
            found = [skipped(error.message, fix=error.fix)]
        seconds[id] = time.perf_counter() - began
        yield from (replace(finding, check=id, severity=severity) for finding in found)
    progress(len(CHECKS), len(CHECKS), "")


def are_reordered(context: CheckContext) -> bool:
    """Return whether columns of a table of samples stood in another order than the model's features."""
    return context.has_samples and any(part.samples.reordered for part in context.parts)


def run_metadata(context: CheckContext) -> dict[str, Any]:
    """Return what was checked (model, versions, settings), in JSON's types."""
    graph, settings = context.model.graph, context.settings
    thresholds = {id: dict(vars(configured(id, settings))) for id in CHECKS}
    return {
        "model": str(context.model.path or graph.source),
        "sha256": graph.sha256,
        "samples": len(context.names) if context.has_samples else 0,
        "columns_reordered": are_reordered(context),
        "engine": context.model.engine.name,
        **settings.requested,
        "thresholds": thresholds,
        "severities": {id: severity_of(id, settings) for id in CHECKS},
        **_versions(),
    }


def _skipped(id: str, settings: Settings, reason: str) -> Finding:
    return replace(skipped(reason), check=id, severity=_severity(settings, id))


def _severity(settings: Settings, id: str) -> str:
    severity = severity_of(id, settings)
    return "note" if severity == OFF else severity


def _summaries() -> dict[str, str]:
    return {id: entry.summary for id, entry in CHECKS.items()}


def _versions() -> dict[str, Any]:
    from ..version import __version__

    found = {"onnxlrp": __version__, "python": platform.python_version()}
    for name in ("onnx", "onnxruntime", "onnxruntime-gpu", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"versions": found}
