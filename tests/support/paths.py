"""Folders of this checkout, and the models that it ships."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
DATA = ROOT.parent / "shared" / "data"
"""Public models and published relevance, where they are beside this checkout."""
