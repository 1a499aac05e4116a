"""External weights: onnxruntime gets them outside of the model, without a copy and without protobuf's limit of 2 GB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..program.program import Array


def hand_over(options: Any, weights: Mapping[str, Array]) -> Mapping[str, Any]:
    """Add weights that a model only names to a session's options.

    Args:
        options: onnxruntime's session options.
        weights: The arrays, by name.

    Returns:
        onnxruntime's values of them, which must live as long as the session.
    """
    import onnxruntime

    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    return values
