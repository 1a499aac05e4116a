"""What the explained input is: an image, a signal, a volume, tokens or a vector."""

from .decision import decide
from .kind import InputKind

__all__ = ["InputKind", "decide"]
