"""Compiler: from a graph and a composite to a program."""

from .compiler import compile, forward
from .layer_rules import WeightedLayer, rules_of, weighted_layers
from .recording import REDUCTIONS
from .starts import StartForm

__all__ = ["REDUCTIONS", "StartForm", "WeightedLayer", "compile", "forward", "rules_of", "weighted_layers"]
