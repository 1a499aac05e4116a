"""One box of a detector as an output of the graph: the scores of its classes, or its coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UsageError
from ..graph import Graph, Head
from .detectors import Detector
from .ends import End
from .place_output import Placed, append_scores
from .places import OFFSETS, SIZES, Place


def with_box(graph: Graph, detector: Detector, place: Place) -> tuple[Graph, Head, Placed]:
    """Return the graph with the numbers of one box as a further output, and the head of that output.

    Which of the A boxes is meant is an input of the graph, e [A], 1 at that box: s_k = Σ_a e_a z_ka, where z are the
    logits of the classes; of coordinates x, y (centre), w, h and size = √(w h), in the units of the model. Relevance
    starts at z, or at the coordinates (`Head.unit`).

    Args:
        graph: The graph.
        detector: How its outputs are read.
        place: A place of the kind "box".

    Raises:
        UsageError: A coordinate of boxes that are offsets of anchors.
    """
    if place.values and detector.format == OFFSETS:
        raise UsageError(
            f"target {place}: the boxes are offsets of anchors that the file does not hold, and have no size or place",
            f"explain the class, -t {place}; or an offset itself: --output {detector.boxes} -t ID@POSITION",
        )
    tensor, axis = (detector.boxes, detector.box_axis) if place.values else (detector.scores, detector.class_axis)
    shape, end = graph.shapes[tensor], End(graph, tensor, f"{tensor}@{place}")
    which = end.add_input("box", tuple(1 if i == axis else n for i, n in enumerate(shape)), end.dtype)
    end.tensor = tensor
    end.add("Mul", shape, which)
    end.sum([i for i in range(len(shape)) if i != axis], keep=False)
    head: dict[str, Any] = {"stated": True, "unit": tensor}
    if place.values:
        _take(end, 0, 4)
        _coordinates(end, detector.format)
        name = end.renamed(f"{tensor}@{place}")
        kind, scores = "Values", name
        functions: tuple[str, ...] = ()
    else:
        _take(end, detector.first, detector.classes)
        name, kind = end.renamed(f"{detector.scores}@{place}"), detector.kind
        functions = append_scores(end, kind)
        scores = end.tensor
        if kind == "Scores" and detector.classes == 1:
            kind = "Values"
    found = Placed(place, tensor, shape, axis, size=1, input=which, detector=detector)
    return end.with_output(), Head(name, scores, kind, functions, **head), found


def _take(end: End, first: int, count: int) -> None:
    if (first, count) != (0, end.shape[0]):
        end.add("Gather", (count,), np.arange(first, first + count, dtype=np.int64), axis=1)


def _coordinates(end: End, form: str) -> None:
    """Append x, y, w, h and size of four coordinates."""
    if form != "cxcywh":
        made = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])  # of x0, y0, x1, y1
        made = made if form == "xyxy" else made[[1, 0, 3, 2]]
        end.add("MatMul", (4,), made.astype(end.dtype))
    four = end.tensor
    width = end.pick(0, SIZES.index("w"))
    end.tensor = four
    end.pick(0, SIZES.index("h"))
    end.add("Mul", (1,), width)
    size = end.add("Sqrt", (1,))
    end.tensor = four
    end.add("Concat", (len(SIZES),), size, axis=1)
