"""Refusal of explanations that are not numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsupportedError
from ..explanation import Explanation

if TYPE_CHECKING:
    from ..preprocessing.samples import Samples
    from .compiled import CompiledModel


class NotFiniteError(UnsupportedError):
    """Relevance, or the score that it explains, is NaN or infinite.

    Attributes:
        explanation: The explanation, for those who count what is wrong with it.
    """

    def __init__(self, message: str, fix: str, explanation: Explanation) -> None:
        super().__init__(message, fix)
        self.explanation = explanation


def refuse_not_finite(model: CompiledModel, samples: Samples, made: Explanation) -> None:
    """Refuse an explanation whose relevance or explained score is NaN or infinite, with the layer where it starts.

    Raises:
        NotFiniteError: It is.
    """
    assert made.logit is not None
    score, relevance = np.isfinite(made.logit), np.isfinite(made.relevance)
    if score.all() and relevance.all():
        return
    first = _first_layer(model, samples)
    if first:
        what, fix = first, "clean the inputs, or export the model in float32; a float16 model may overflow"
    elif not score.all():
        what, fix = f"the score of the class is {made.logit[~score].flat[0]}", "explain another class: --target"
    else:
        bad = int((~relevance).sum())
        what = f"{bad} of {relevance.size} values of the relevance of {made.method} are NaN or infinite"
        fix = "explain by another method, such as --method gradient; --engine reference computes in float64"
    raise NotFiniteError(what, fix, made)


def _first_layer(model: CompiledModel, samples: Samples) -> str:
    """Name the first layer whose results are not finite numbers while all that it reads are; "" for none."""
    from ..graph.outputs.units import of_tensor

    graph = model.graph
    names = [name for layer in graph.layers for name in layer.outputs if graph.dtypes.get(name, "").startswith("float")]
    values: dict[str, Any] = model.outputs(samples.values, activations=[of_tensor(graph, name) for name in names])
    for layer in graph.layers:
        for name in layer.outputs:
            array = values.get(f"activation/{name}")
            if array is not None and not np.isfinite(array).all():
                bad = int((~np.isfinite(array)).sum())
                return f"{bad} of {array.size} results of the {layer.op} node {layer.label} are NaN or infinite"
    return ""
