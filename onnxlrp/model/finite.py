"""Refusal of explanations that are not numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsupportedError
from ..explanation import Explanation
from ..graph.graph import Array, Graph, Layer
from ..graph.operators import ELEMENTWISE, RESHAPES, SOFTMAXES

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
        what, fix = first
    elif not score.all():
        what, fix = f"the score of the class is {made.logit[~score].flat[0]}", "explain another class: --target"
    else:
        bad = int((~relevance).sum())
        what = f"{bad} of {relevance.size} values of the relevance of {made.method} are NaN or infinite"
        fix = "explain by another method, such as --method gradient; --engine reference computes in float64"
    raise NotFiniteError(what, fix, made)


def _first_layer(model: CompiledModel, samples: Samples) -> tuple[str, str] | None:
    """Name the first layer whose results are not finite numbers, with what to do; None for none.

    Scores of -inf in front of a softmax are masks, and no fault; a softmax of nothing but these is NaN.
    """
    from ..graph.outputs.units import of_tensor

    graph = model.graph
    names = [name for layer in graph.layers for name in layer.outputs if graph.dtypes.get(name, "").startswith("float")]
    values: dict[str, Any] = model.outputs(samples.values, activations=[of_tensor(graph, name) for name in names])
    for layer in graph.layers:
        for name in layer.outputs:
            array = values.get(f"activation/{name}")
            if array is None or np.isfinite(array).all() or (_masks(graph, layer) and not _is_wrong(array)):
                continue
            scores = values.get(f"activation/{layer.inputs[0]}")
            if layer.op in SOFTMAXES and scores is not None and not _is_wrong(scores):
                axis = int(layer.attributes.get("axis", -1))
                rows = int(np.isneginf(scores).all(axis=axis).sum())
                return (
                    f"{rows} rows of the {layer.op} node {layer.label} are NaN: all of their scores are masked by -inf",
                    "export the model with masks of the lowest finite number, torch.finfo(dtype).min, or give a mask "
                    "that leaves each row a token",
                )
            bad = int((~np.isfinite(array)).sum())
            return (
                f"{bad} of {array.size} results of the {layer.op} node {layer.label} are NaN or infinite",
                "clean the inputs, or export the model in float32; a float16 model may overflow",
            )
    return None


def _masks(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer puts -inf to scores that a softmax reads, or hands such scores on to one."""
    while layer.op not in SOFTMAXES:
        readers = graph.consumers(layer.outputs[0])
        if layer.op not in ELEMENTWISE | RESHAPES | {"Where", "Transpose"} or len(readers) != 1:
            return False
        layer = readers[0]
    return True


def _is_wrong(array: Array) -> bool:
    """Return whether an array has NaN or +inf, which no mask makes."""
    return bool((np.isnan(array) | np.isposinf(array)).any())
