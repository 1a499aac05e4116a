"""The compiler: a graph and a composite become a program."""

from .compiler import compile, forward
from .layer_rules import Weighted, rules_of, weighted

__all__ = ["Weighted", "compile", "forward", "rules_of", "weighted"]
