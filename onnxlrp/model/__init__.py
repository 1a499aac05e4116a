"""The public model: a graph, an engine, and what lies between a call and a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lazy

if TYPE_CHECKING:
    from .loading import load
    from .model import Model
    from .options.explain import DEFAULT, ExplainOptions

__all__ = ["DEFAULT", "ExplainOptions", "Model", "load"]

# The declaration of the options is read for --help, without numpy.
__getattr__ = lazy.names(
    __name__,
    {"load": ".loading", "Model": ".model", "DEFAULT": ".options.explain", "ExplainOptions": ".options.explain"},
)
