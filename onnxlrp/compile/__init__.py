"""Compiler: from a graph and a composite to a program.

Its modules are imported when they are asked for: a program that comes from the cache needs none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import lazy as _lazy

if TYPE_CHECKING:
    from .compiler import compile, forward
    from .layer_rules import WeightedLayer, rules_of, weighted_layers
    from .recording import REDUCTIONS
    from .start_form import StartForm

__all__ = ["REDUCTIONS", "StartForm", "WeightedLayer", "compile", "forward", "rules_of", "weighted_layers"]

__getattr__ = _lazy.names(
    __name__,
    {
        "REDUCTIONS": ".recording",
        "StartForm": ".start_form",
        "WeightedLayer": ".layer_rules",
        "compile": ".compiler",
        "forward": ".compiler",
        "rules_of": ".layer_rules",
        "weighted_layers": ".layer_rules",
    },
)
