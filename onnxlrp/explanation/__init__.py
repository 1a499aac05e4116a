"""What an explanation holds, and the files and sheets that are made of it."""

from .explanation import Explanation

__all__ = ["Explanation"]
