"""Preprocessing of pictures: its sources, its assumptions, and the samples that it makes."""

from .transform import Preprocessing

__all__ = ["Preprocessing"]
