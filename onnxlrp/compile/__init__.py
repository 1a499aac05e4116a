"""The compiler: a graph and a composite become a program."""

from .listing import Weighted, rules_of, weighted
from .tracing import compile, forward

__all__ = ["Weighted", "compile", "forward", "rules_of", "weighted"]
