"""Peaks: of each class the position with its best score, where a mean over positions means nothing.

So are labels of tokens read, and maps of a detector or of keypoints, which mark a place.
"""

from __future__ import annotations

import re

import numpy as np

from .. import facts
from ..graph import Array, Graph, Head
from .heads import head_of
from .scores import SEPARATE

_HEAT = re.compile(r"(?i)heat_?maps?|(^|[^a-z])hm([^a-z]|$)|centerness|key_?points?_?maps?")


def has_peaks(graph: Graph, head: Head, axis: int | None) -> bool:
    """Return whether an output marks places: labels of tokens, or a map of a detector or of keypoints.

    Labels of tokens [T, C] stand at the tokens of a text, and are fewer than half of its words; scores of words are
    those of the next token. A map is one of a detector or of keypoints by its name (heatmap, hm), or where a Sigmoid
    gives it and another output of its height and width has 2 numbers, or 4 for each of several boxes, at each place.

    Args:
        graph: All of the model.
        head: The head of the output.
        axis: Its axis of classes.
    """
    shape = graph.shapes[head.logits]
    if head.kind == "Values" or axis is None:
        return False
    if axis == len(shape) - 1 == 1:
        words = [
            graph.constant_shape(layer.inputs[0])[0]
            for layer in graph.layers
            for name in (facts.looked_up(graph, layer),)
            if name and _shape_of(graph, name) == shape[:1]
        ]
        return bool(words) and 1 < shape[1] < max(words) / 2
    if len(shape) != len("CHW") or axis != 0:
        return False
    return bool(_HEAT.search(head.scores)) or (head.kind in SEPARATE and _is_beside_boxes(graph, head, shape))


def _is_beside_boxes(graph: Graph, head: Head, shape: tuple[int, ...]) -> bool:
    """Whether another output of the same height and width has sizes, offsets or boxes at each place."""
    for tensor in graph.outputs:
        other = head_of(graph, tensor.name)
        at = graph.shapes.get(tensor.name, ())
        alike = tensor.name != head.scores and len(at) == len(shape) and at[1:] == shape[1:]
        if alike and not other.functions and (at[0] == 2 or at[0] % 4 == 0):
            return True
    return False


def _shape_of(graph: Graph, name: str) -> tuple[int, ...]:
    return next((tensor.shape for tensor in graph.inputs if tensor.name == name), ())


def peaks(logits: Array, axis: int | None, kind: str, seen: Array | None = None) -> Array:
    """Return the position of the best score of each class, as a mask of 1 position of each, bool [N, *shape].

    Args:
        logits: The logits [N, *shape].
        axis: The axis of classes, of a sample; None for one value at each position.
        kind: How scores are made of them, as `Head.kind`: classes that share a Softmax are compared by its results.
        seen: Positions [N, T] that count, such as tokens that are no padding; None for all.
    """
    scores = np.asarray(logits, np.float64)
    if axis is not None and shares(kind, logits.shape[1 + axis]):
        scores = scores - scores.max(axis=1 + axis, keepdims=True)
        scores = scores - np.log(np.exp(scores).sum(axis=1 + axis, keepdims=True))
    rows = scores[:, np.newaxis] if axis is None else np.moveaxis(scores, 1 + axis, 1)
    flat = rows.reshape(*rows.shape[:2], -1)
    if seen is not None:
        flat = np.where(np.asarray(seen, bool).reshape(len(flat), 1, -1), flat, -np.inf)
    made = (np.arange(flat.shape[2]) == flat.argmax(axis=2)[..., np.newaxis]).reshape(rows.shape)
    return np.asarray(made[:, 0] if axis is None else np.moveaxis(made, 1, 1 + axis))


def shares(kind: str, classes: int) -> bool:
    """Return whether the classes of a position share a Softmax."""
    return classes > 1 and kind in ("", "Softmax", "LogSoftmax")
