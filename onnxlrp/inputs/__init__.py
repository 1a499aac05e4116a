"""The kind of the explained input: an image, a signal, a volume, tokens or a vector."""

from .decision import decide
from .kind import InputKind

__all__ = ["InputKind", "decide"]
