"""Weights that a model only names, given to onnxruntime beside it: nothing is copied, no message grows over 2 GB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..program.program import Array


def hand_over(options: Any, weights: Mapping[str, Array]) -> Mapping[str, Any]:
    """Give a session's options the weights that its model only names; the session reads what is returned."""
    import onnxruntime

    held = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}
    if held:
        options.add_external_initializers(list(held), list(held.values()))
    return held
