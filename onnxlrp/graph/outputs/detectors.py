"""Detectors: which numbers of a model's outputs are coordinates of boxes, and which are scores of classes.

One output [4 + C, A] or [5 + C, A], or transposed, with a row of numbers for each of A boxes (YOLO v5 to v11, YOLOX);
or an output of boxes [A, 4] beside one of scores [A, C] (SSD, RetinaNet, DETR).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ...errors import UsageError
from .. import operators
from ..graph import SUPPRESSION, Graph, Head, Layer
from .heads import head_of
from .places import BoxOptions

_NO_OBJECT = 1  # a class more than there are names
_BOXES = re.compile(r"(?i)box|coord|(^|[^a-z])loc")
_SCORES = re.compile(r"(?i)score|logit|conf|cls|class|prob|label")
_SHARED = ("Softmax", "LogSoftmax")
_KINDS = {"sigmoid": "Sigmoid", "softmax": "", "as-is": "Scores"}  # of a head, by the word for its function
_YXYX = re.compile(r"(?i)detection_boxes|tf2onnx|tensorflow")


class Detector(NamedTuple):
    """How the outputs of a detector are read.

    Attributes:
        boxes: The tensor with the coordinates.
        box_axis: Its axis of coordinates, whose first four numbers they are.
        scores: The tensor with the scores of classes: their logits, where these are found.
        class_axis: Its axis of classes.
        first: Where on it the classes begin.
        classes: The number of classes, C.
        anchors: The number of boxes, A.
        kind: How scores are made of that tensor, as `Head.kind`; "Scores" where it holds them.
        objectness: Where on the axis of classes the score of any object is, which is a factor of all; None without.
        background: The class that stands for no object; None without.
        format: "cxcywh" (centre and size), "xyxy" or "yxyx" (corners); "offsets" of anchors that the file has not.
        score: Boxes below this score are left out.
        iou: Of two boxes of a class that overlap by more, the better one stays.
        guesses: What was decided without evidence of the structure or the user, in words.
        shown: Whether the graph itself shows boxes: coordinates are joined with scores that a Sigmoid gives; or stand
            beside scores, and a name, the Sigmoid before them or the Softmax of the scores tells which they are.
    """

    boxes: str
    box_axis: int
    scores: str
    class_axis: int
    first: int
    classes: int
    anchors: int
    kind: str
    objectness: int | None
    background: int | None
    format: str
    score: float = 0.25
    iou: float = 0.45
    guesses: tuple[str, ...] = ()
    shown: bool = False

    def describe(self) -> str:
        """Return how the outputs are read, in words."""
        above = f"scores above {self.score:g}, overlaps up to {self.iou:g}"
        parts = f"{self.boxes}: {self.anchors} boxes of {self.format}, {above}"
        scored = f"{self.classes} classes" + (" and objectness" if self.objectness is not None else "")
        behind = "" if self.scores == self.boxes else f" of {self.scores}"
        none = "" if self.background is None else f", class {self.background} stands for no object"
        return f"{parts}, {scored}{behind}{none}"


class _Rows(NamedTuple):
    """What the numbers of a box are: four coordinates, perhaps objectness, scores of classes, perhaps others."""

    objectness: bool
    classes: int


def find(graph: Graph, how: BoxOptions, output: str | None = None, names: int | None = None) -> Detector:
    """Find the boxes and scores of a model.

    Args:
        graph: All of the model.
        how: What the user states.
        output: The output that is asked for; None for any.
        names: The number of class names that the model states; None where it states none.

    Raises:
        UsageError: The outputs are none of a detector, or do not tell how they are to be read.
    """
    stated = json.loads(graph.metadata.get(SUPPRESSION, "{}"))
    how = how._replace(**{key: value for key, value in stated.items() if getattr(how, key) in ("", None)})
    pair = _pair(graph, how)
    found = _of_pair(graph, *pair, how, names) if pair else _of_one(graph, how, output, names)
    if how.background is not None:
        found = found._replace(background=None if how.background == "none" else _class(how.background, found.classes))
    thresholds = {key: value for key in ("score", "iou") if (value := getattr(how, key)) is not None}
    found = found._replace(**thresholds)
    if how.activation:
        found = found._replace(kind=_KINDS[how.activation])
    return found


def evidence(graph: Graph, how: BoxOptions, names: int | None = None) -> Literal["certain", "possible", "none"]:
    """Return whether a model is a detector, where nobody says so.

    Certain is what the graph shows (`Detector.shown`), a NonMaxSuppression at its end, and outputs that fit while the
    user states how boxes are read. Four numbers beside others by their shapes alone, and numbers of boxes that the
    count of class names tells, are possible: they may mean something else. A detector takes a picture.

    Args:
        graph: All of the model.
        how: What the user states.
        names: The number of class names that the model states; None where it states none.
    """
    if SUPPRESSION in graph.metadata:
        return "certain"
    if graph.opaque is not None or not any(len(tensor.shape) == len("CHW") for tensor in graph.inputs):
        return "none"
    try:
        found = find(graph, how, None, names)
    except UsageError:
        fits = how == BoxOptions() and len(_fits(graph, how)) > 1  # not known which of them are boxes
        return "possible" if fits else "none"
    return "certain" if found.shown or how != BoxOptions() else "possible"


def _class(word: str, classes: int) -> int:
    number = int(word)
    if not -classes <= number < classes:
        raise UsageError(f"--boxes background={word}: there are {classes} classes", "give none, or a class id")
    return number % classes


# -- boxes beside scores


def _pair(graph: Graph, how: BoxOptions) -> tuple[str, str] | None:
    """The outputs of boxes and of scores; None where there are not two of them."""
    names = [t.name for t in graph.outputs]
    for option, name in (("boxes", how.boxes), ("scores", how.scores)):
        if name and name not in names:
            raise UsageError(f'--boxes {option}={name}: no output is called "{name}"', f"outputs: {', '.join(names)}")
    fits = _fits(graph, how)
    if len(fits) > 1:
        words = [f"boxes={b},scores={s}" for b, s in fits]
        raise UsageError("several outputs may be boxes and scores", f"say which: --boxes {' or --boxes '.join(words)}")
    return fits[0] if fits else None


def _fits(graph: Graph, how: BoxOptions) -> list[tuple[str, str]]:
    """The pairs of outputs that may be boxes and scores."""
    names = [t.name for t in graph.outputs]
    real = [n for n in names if graph.dtypes.get(n, "float32").startswith("float")]
    boxes = [how.boxes] if how.boxes else [n for n in real if 4 in _lengths(graph, n) and len(_lengths(graph, n)) == 2]
    scores = [how.scores] if how.scores else [n for n in real if len(_lengths(graph, n)) <= 2]
    fits = [(b, s) for b in boxes for s in scores if b != s and _anchors(graph, b) in _lengths(graph, s)]
    fits = [(b, s) for b, s in fits if _BOXES.search(b) and not _BOXES.search(s)] or fits
    fits = [(b, s) for b, s in fits if _SCORES.search(s) and not _SCORES.search(b)] or fits
    shared = [(b, s) for b, s in fits if _is_shared(graph, s) and not _is_shared(graph, b)]
    return shared if len(fits) > 1 and shared else fits


def _is_shared(graph: Graph, output: str) -> bool:
    """Whether a Softmax gives an output: scores of classes, no boxes."""
    return head_of(graph, output).kind in _SHARED


def _of_pair(graph: Graph, boxes: str, scores: str, how: BoxOptions, names: int | None) -> Detector:
    head = head_of(graph, scores)
    anchors, shape = _anchors(graph, boxes), graph.shapes[head.logits]
    if sorted(_lengths(graph, head.logits)) != sorted(_lengths(graph, scores)):
        head, shape = Head(scores, scores, "Scores"), graph.shapes[scores]
    axes = [axis for axis, n in enumerate(shape) if n != 1]
    class_axis = next((axis for axis in reversed(axes) if shape[axis] != anchors), None)
    if class_axis is None:
        ones = [axis for axis, n in enumerate(shape) if n == 1]
        class_axis = axes[-1] if len(axes) > 1 else ones[-1] if ones else len(shape) - 1
    box_shape = graph.shapes[boxes]
    box_axis = max(axis for axis, n in enumerate(box_shape) if n == 4)
    guesses: list[str] = []
    squashed = _is_squashed(graph, boxes)
    form = how.format
    if not form:
        producer = graph.metadata.get("onnxlrp.producer", "")
        form = "cxcywh" if squashed else "yxyx" if _YXYX.search(f"{boxes} {producer}") else "xyxy"
        if not squashed:
            guesses.append(f"format={form}")
    classes, kind, background = shape[class_axis], head.kind, None
    if how.activation:
        kind = _KINDS[how.activation]
    elif kind == "":
        kind = "" if names is not None and classes == names + _NO_OBJECT else "Sigmoid"
        guesses.append("activation=" + ("softmax" if kind == "" else "sigmoid"))
    if kind in ("", *_SHARED) and how.background is None:
        background = classes - 1 if squashed else 0
        guesses.append(f"background={background}")
    return Detector(
        boxes, box_axis, head.logits, class_axis, 0, classes, anchors, kind, None, background, form,
        guesses=tuple(guesses),
        shown=squashed or bool(_BOXES.search(boxes)) or (head.kind in _SHARED and classes > 1),
    )  # fmt: skip


def _is_squashed(graph: Graph, tensor: str) -> bool:
    """Whether a Sigmoid gives a tensor: centres and sizes as shares of the picture, as DETR has them."""
    layer = graph.producer(tensor)
    while layer is not None and layer.op in operators.COPIES | operators.RESHAPES:
        layer = graph.producer(layer.inputs[0])
    return layer is not None and layer.op == "Sigmoid"


# -- one output


def _of_one(graph: Graph, how: BoxOptions, output: str | None, names: int | None) -> Detector:
    fits = [
        t.name
        for t in graph.outputs
        if (output in (None, t.name)) and len(_lengths(graph, t.name)) == 2 and min(_lengths(graph, t.name)) >= 5
    ]
    if len(fits) != 1:
        raise UsageError(
            "no boxes were found: the outputs are " + ", ".join(f"{t.name} {list(t.shape)}" for t in graph.outputs),
            "boxes are an output [4 + classes, boxes] or [boxes, 5 + classes], or one of boxes [boxes, 4] beside "
            "one of scores [boxes, classes]" + (": say which by --output NAME" if fits else ""),
        )
    tensor = fits[0]
    shape = graph.shapes[tensor]
    axes = [axis for axis, n in enumerate(shape) if n != 1]
    joined = list(_concatenations(graph, tensor, shape))
    found = next(((axis, layer, r) for axis, layer in joined if (r := _rows(graph, layer)) is not None), None)
    axis = found[0] if found else min(axes, key=lambda a: shape[a])
    length, anchors = shape[axis], math.prod(shape) // shape[axis]
    rows = _said(found and found[2], how, length, names)
    if rows is None:
        raise UsageError(
            f"no boxes were found: {tensor} {list(shape)} may hold some, and the graph does not tell how",
            "if it does, say how: --boxes layout=4+C, or layout=5+C where objectness comes before the classes",
        )
    first = 5 if rows.objectness else 4
    if rows.classes < 1:
        raise UsageError(f"{tensor}: {length} numbers a box leave none for classes", "--boxes layout=4+C")
    whole = Detector(
        tensor, axis, tensor, axis, first, rows.classes, anchors, "Scores", 4 if rows.objectness else None, None,
        how.format or "cxcywh", shown=found is not None and _ends_in_shares(graph, found[1]),
    )  # fmt: skip
    before = _logits(graph, found[1]) if found and not rows.objectness else None
    return whole if before is None else whole._replace(scores=before[0], class_axis=before[1], first=0, kind="Sigmoid")


def _said(found: _Rows | None, how: BoxOptions, length: int, names: int | None) -> _Rows | None:
    """What the numbers are: as the user says, the structure, or the number of names; None where nothing tells."""
    if how.layout:
        objectness = how.layout == "5+C"
        same = found is not None and found.objectness == objectness
        return found if found is not None and same else _Rows(objectness, length - 4 - objectness)
    if names is not None and found is not None and found.classes + found.objectness - names in (0, 1):
        return _Rows(found.classes + found.objectness > names, names)
    if found is not None:
        return found
    if names is not None and length - names in (4, 5):
        return _Rows(length - names == 5, names)
    return None


def _concatenations(graph: Graph, tensor: str, shape: tuple[int, ...]) -> Iterator[tuple[int, Layer]]:
    """Yield the Concats that an output is made of, each with the axis of the output that its parts lie along.

    Transposes, copies and reshapes that join axes are passed; of parts of the boxes the first is followed.
    """
    order = list(range(len(shape)))  # the axis of the output that each axis of the tensor is
    while (layer := graph.producer(tensor)) is not None:
        before = graph.shapes.get(layer.inputs[0])
        if before is None:
            return
        if layer.op == "Transpose":
            perm = [axis - 1 for axis in layer.attributes["perm"][1:]]
            if sorted(perm) != list(range(len(perm))):
                return
            order = [order[perm.index(axis)] for axis in range(len(perm))]
        elif layer.op == "Concat":
            axis = int(layer.attributes["axis"])
            yield order[axis - 1 if axis >= 0 else axis + len(before)], layer
        elif layer.op in operators.RESHAPES:
            moved = _through(graph.shapes[tensor], before, order)
            if moved is None:
                return
            order = moved
        elif layer.op not in operators.COPIES:
            return
        tensor = layer.inputs[0]


def _through(after: tuple[int, ...], before: tuple[int, ...], order: list[int]) -> list[int] | None:
    """The axes of a tensor before a reshape, each as the axis of the output that it is part of; None where unclear."""
    made: list[int] = []
    left = list(before)
    for axis, n in enumerate(after):
        whole = 1
        while left and (whole < n or (whole == n and left[0] == 1)):
            whole *= left.pop(0)
            made.append(order[axis])
        if whole != n:
            return None
    made += [order[-1]] * len(left)
    return made if math.prod(left) == 1 and len(made) == len(before) else None


def _rows(graph: Graph, layer: Layer) -> _Rows | None:
    """What the parts of a Concat tell: 4 | C, 2 | 2 | C, 2 | 2 | 1 + C or 4 | 1 | C; None where nothing."""
    full = int(layer.attributes["axis"])
    lengths = []
    for name in layer.inputs:
        shape = graph.shapes.get(name) or (graph.constants[name].shape[1:] if name in graph.constants else ())
        if not shape:
            return None
        lengths.append(shape[full - 1 if full >= 0 else full + len(shape)])
    if len(lengths) == 2 and lengths[0] == 4:
        return _Rows(False, lengths[1])
    if len(lengths) == 3 and lengths[:2] == [2, 2]:  # centre, size, and the rest, of which objectness may be one
        rest = graph.producer(layer.inputs[2])
        if rest is not None and rest.op == "Sigmoid":  # on its own: the classes
            return _Rows(False, lengths[2])
        return _Rows(True, lengths[2] - 1)  # cut from what centre and size are cut from
    if lengths[:2] == [4, 1] or lengths[:3] == [2, 2, 1]:
        return _Rows(True, lengths[-1])
    return None


def _ends_in_shares(graph: Graph, layer: Layer) -> bool:
    """Whether a Sigmoid gives the last part of a Concat, perhaps cut out of more: scores, no coordinates."""
    before = graph.producer(layer.inputs[-1])
    while before is not None and (before.op in operators.COPIES | operators.ROUTES or before.op == "Concat"):
        before = graph.producer(before.inputs[0])
    return before is not None and before.op == "Sigmoid"


def _logits(graph: Graph, layer: Layer) -> tuple[str, int] | None:
    """The tensor of the classes before its Sigmoid, and its axis of classes; None where it is not one tensor."""
    name = layer.inputs[-1]
    before = graph.producer(name)
    if before is None or before.op != "Sigmoid":
        return None
    full, rank = int(layer.attributes["axis"]), len(graph.shapes[name])
    return before.inputs[0], full - 1 if full >= 0 else full + rank


def _lengths(graph: Graph, tensor: str) -> tuple[int, ...]:
    return tuple(n for n in graph.shapes.get(tensor, ()) if n != 1)


def _anchors(graph: Graph, boxes: str) -> int:
    return math.prod(graph.shapes[boxes]) // 4
