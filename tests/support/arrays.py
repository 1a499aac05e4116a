"""Arrays of any shape and numbers, as types and as results."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def one_output(results: Any) -> Array:
    """The first result of an inference session or an evaluator, whose types allow for other things than arrays."""
    return np.asarray(results[0])
