"""External weights: onnxruntime gets them outside of the model, without a copy and without protobuf's limit of 2 GB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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

    # onnxruntime copies what is no contiguous block (a slice of a weight, a constant by broadcasting), and refuses to
    # read initialisers from copies of its own.
    blocks = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(block) for name, block in blocks.items()}
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    return values
