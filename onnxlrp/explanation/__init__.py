"""Explanations: relevance with its provenance, and the files and pictures made of it."""

from .explanation import Explanation

__all__ = ["Explanation"]
