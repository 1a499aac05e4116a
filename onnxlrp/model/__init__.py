"""The public model: a graph, an engine, and what lies between a call and a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loading import load
    from .model import Model
    from .options import DEFAULT, ExplainOptions

__all__ = ["DEFAULT", "ExplainOptions", "Model", "load"]

_HOMES = {"load": "loading", "Model": "model", "DEFAULT": "options", "ExplainOptions": "options"}


def __getattr__(name: str) -> Any:
    # The declaration of the options is read for --help, without numpy.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
