"""Shapley values by their definition, the slow oracle of what computes them faster."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def enumerated(f: Callable[[Array], Array], x: Array, background: Array) -> Array:
    """Shapley values of the columns of x, v(S) the mean over the background with x's columns in S."""
    count = x.shape[1]
    found, v = np.zeros(x.shape), {}
    for coalition in itertools.product([False, True], repeat=count):
        rows = np.where(np.array(coalition), x[:, None], background[None]).reshape(-1, count)
        v[coalition] = f(rows.astype(x.dtype)).reshape(len(x), -1).mean(axis=1)
    for i, coalition in itertools.product(range(count), v):
        if not coalition[i]:
            size = sum(coalition)
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            found[:, i] += weight * (v[(*coalition[:i], True, *coalition[i + 1 :])] - v[coalition])
    return found
