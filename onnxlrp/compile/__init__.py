"""Compiler: from a graph and a composite to a program."""

from .compiler import compile, forward
from .layer_rules import WeightedLayer, rules_of, weighted_layers
from .starts import StartForm

__all__ = ["StartForm", "WeightedLayer", "compile", "forward", "rules_of", "weighted_layers"]
