"""What the explained input is: an image, a signal, a volume, tokens or a vector."""

from .kind import InputKind, decide

__all__ = ["InputKind", "decide"]
