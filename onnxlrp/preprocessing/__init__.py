"""How a picture becomes the model's input: who states it, what is assumed, and the samples that come of it."""

from .transform import Preprocessing

__all__ = ["Preprocessing"]
