"""The public model: a graph, an engine, and what lies between a call and a run."""

from .model import DEFAULT, Model, load

__all__ = ["DEFAULT", "Model", "load"]
