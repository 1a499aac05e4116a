"""Model analysis: what a model has learned. Models are handed over, none is imported."""

from __future__ import annotations

from ..lazy import names

__all__ = ["Atlas", "Cells", "Clusters", "Concept", "Inversion", "Inverted", "Lines", "Prototype"]

# Names alone: a model has methods of this room, and `Clusters` reads samples with what knows models.
_HOMES = {
    "Atlas": ".atlas.build",
    "Cells": ".cells.find",
    "Clusters": ".clusters.find",
    "Concept": ".concepts.tcav",
    "Inversion": ".inversion.search",
    "Inverted": ".inversion.invert",
    "Lines": ".bilrp",
    "Prototype": ".prototypes.search",
}

__getattr__ = names(__name__, _HOMES)
