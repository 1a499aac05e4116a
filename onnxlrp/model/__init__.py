"""The public model: a graph, an engine, and what lies between a call and a run."""

from .loading import load
from .model import DEFAULT, Model

__all__ = ["DEFAULT", "Model", "load"]
