"""Scores of classes at a place, as an output of a model with scores at many positions, which every method can explain.

Such outputs are segmentations [K, H, W], scores of the next token [T, V], one value at each pixel [1, H, W].
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import InputError, UnsupportedError, UsageError
from .. import facts, operators
from ..axes.channels import channel_axes
from ..axes.tracing import full_axis
from ..graph import Array, Graph, Head
from .places import DEFAULT, LAST, LAST_INPUT, PREDICTED, Place
from .scores import SEPARATE

if TYPE_CHECKING:
    from .detectors import Detector
    from .ends import End

_END = Place("at", (-1,))


class TokensOf(NamedTuple):
    """What tells tokens from padding inside a graph.

    Attributes:
        tensor: An input: a mask, over what is before the tokens too, or the token ids.
        padding: The id that fills up texts, of ids; None of a mask.
    """

    tensor: str
    padding: int | None = None


AXES = {1: ("position",), 2: ("y", "x"), 3: ("z", "y", "x")}


class Placed(NamedTuple):
    """A place in an output, found.

    Attributes:
        place: What was asked for, or the default.
        tensor: The tensor with the logits at every position.
        shape: Its shape per sample.
        axis: Its axis of classes; None where each position has one value.
        size: How many positions are in the place; 0 where that differs between samples.
        input: The further input of the graph that says for each sample where the place is; "" without one.
        separate: That input has a mask for each class, not the class of each position.
        asked: The user named the place.
        detector: How boxes are read, of a place that is one; that input then says which box is meant.
        kind: How scores are made of the logits, as `Head.kind`.
    """

    place: Place
    tensor: str
    shape: tuple[int, ...]
    axis: int | None
    size: int = 0
    input: str = ""
    separate: bool = False
    asked: bool = True
    detector: Detector | None = None
    kind: str = ""

    @property
    def space(self) -> tuple[int, ...]:
        """The lengths of the axes of positions."""
        return tuple(n for i, n in enumerate(self.shape) if i != self.axis)

    def describe(self) -> str:
        """Return the place in words: `the point 3,4 of 64 x 64 positions`."""
        if self.detector is not None:
            return self.detector.describe()
        of, kind = f"of {sizes(self.space)} positions", self.place.kind
        if kind == "predicted":
            alone = self.separate or self.axis is None or self.shape[self.axis] == 1
            other = ", or the highest score where no class is" if alone and not self.asked else ""
            return f"the mean over the positions, of {sizes(self.space)}, where the class is predicted{other}"
        if kind == "last":
            return f"the last token that is no padding, {of}"
        if kind == "peak":
            left = self.place.numbers and self.place.numbers[0] >= 0
            none = f"; class {self.place.numbers[0]} means no label, and is left out of the best" if left else ""
            return f"the position, {of}, where the score of the class is best{none}"
        if kind == "all":
            return f"the mean over all {sizes(self.space)} positions"
        if self.size == 1:
            return f"{'the position' if len(self.space) == 1 else 'the point'} {self.place} {of}"
        what = "the mask" if kind == "mask" else "the region"
        return f"{what} {self.place}, the mean over {self.size} {of}"

    def positions(self, logits: Array, seen: Array | None = None) -> Array:
        """Return what the input says: the predicted class of each position, −1 for none; or masks of the classes.

        Of classes with a score each, none of which is predicted anywhere, it is the one with the highest score at its
        position, unless the user asked for where classes are predicted.

        Args:
            logits: The logits [N, *shape].
            seen: Positions [N, T] that a peak may be at, such as tokens that are no padding; None for all.

        Returns:
            Class ids [N, *space], int64; or whether the class is predicted, [N, *shape].
        """
        if self.place.kind == "peak":
            from .peaks import peaks

            return peaks(logits, self.axis, self.kind, seen)
        if self.axis is not None and self.shape[self.axis] > 1 and not self.separate:
            return np.asarray(logits.argmax(axis=1 + self.axis), np.int64)
        inside = np.asarray(logits > 0)
        if not self.asked:
            for row, values in zip(inside, logits, strict=True):
                if not row.any():  # what is explained where nobody names a place
                    row.flat[np.nanargmax(values) if np.isfinite(values).any() else 0] = True
        if self.separate:
            return inside
        found = np.where(inside, 0, -1)
        return np.asarray(found if self.axis is None else found.squeeze(1 + self.axis), np.int64)

    def at(self, positions: Array, ids: Array) -> tuple[Array, ...]:
        """Return where the peaks of classes are: the numbers along each axis of positions, each in the shape of `ids`.

        Args:
            positions: What `positions` returns of a peak, [N, *shape].
            ids: Class ids [N] or [T, N].
        """
        rows = positions[:, np.newaxis] if self.axis is None else np.moveaxis(positions, 1 + self.axis, 1)
        flat = rows.reshape(*rows.shape[:2], -1).argmax(axis=2)
        return np.unravel_index(flat[np.arange(ids.shape[-1]), ids], self.space)

    def areas(self, positions: Array) -> Array:
        """Return how many positions are predicted as each class, [N, K].

        Args:
            positions: What `positions` returns.
        """
        classes = 1 if self.axis is None else self.shape[self.axis]
        if self.separate:
            assert self.axis is not None
            return np.asarray(np.moveaxis(positions, 1 + self.axis, 1).reshape(len(positions), classes, -1).sum(axis=2))
        rows = [np.bincount(row.reshape(-1) + 1, minlength=classes + 1)[1 : classes + 1] for row in positions]
        return np.asarray(rows, np.int64).reshape(len(positions), classes)


def is_map(graph: Graph, head: Head) -> bool:
    """Return whether an output has scores at many positions: more than one axis is longer than 1."""
    return sum(n != 1 for n in graph.shapes.get(head.logits, ())) > 1


def with_place(
    graph: Graph,
    head: Head,
    place: Place = DEFAULT,
    mask: Array | None = None,
    computed: bool = False,
    tokens: TokensOf | None = None,
) -> tuple[Graph, Head, Placed]:
    """Return the graph with a further output, the mean score of each class over a place, and the head of that output.

    s_k = Σ_p m_p z_kp / Σ_p m_p, where z are the logits, and m is 1 in the place. Relevance starts at the logits
    (`Head.unit`), so that their sum is s_k. Of a place that is "predicted" m_p is 1 where k is the class with the best
    logit (of separate logits: where that of k is above 0); it is an input of the graph, for it stays where it is while
    parts of the sample are hidden.

    Args:
        graph: The graph.
        head: The head of an output with scores at many positions.
        place: The place; "default" is the last of the positions of tokens, all of values, else "predicted"; positions
            [T, K] are of tokens where no convolution reads a picture or a signal. "last" is
            a default too: the last token of each sample that is no padding, an input of the graph, where "default" is
            the last position; elsewhere it is "default".
        mask: The mask of a place that is one, of the shape of the positions.
        computed: Compute "predicted" and "last" inside the graph, from the same sample, in the place of an input.
        tokens: What tells "last" from padding then; None for the very last position.

    Raises:
        UsageError: The place is none of this output.
        InputError: The mask does not fit it, or is empty.
    """
    shape = graph.shapes[head.logits]
    axis = class_axis(graph, head)
    asked = place.kind not in ("default", "last") and not (place.kind == "peak" and place.numbers)
    if not asked and place.kind != "peak":
        own = default_place(graph, head, axis)
        place = LAST if place.kind == "last" and own == _END and not (computed and tokens is None) else own
    found = Placed(place, head.logits, shape, axis, asked=asked)
    from .ends import End

    end = End(graph, head.logits, f"{head.logits}@{place}")
    spatial = [i for i in range(len(shape)) if i != axis]
    kind = head.kind
    if place.kind == "predicted":
        classes = 1 if axis is None else shape[axis]
        if head.kind == "Values" or (classes == 1 and head.kind not in SEPARATE):
            what = "values" if classes > 1 else "one value"
            raise UsageError(
                f"target @predicted: the output has {what} at each of {sizes(found.space)} positions, and no classes",
                f"name a place: @{','.join('0' * len(spatial))}, @all or @mask.png",
            )
        found = _predicted(end, head, found, computed)
        kind = head.kind if head.kind in SEPARATE else "Scores"
    elif place.kind == "peak":
        if computed:
            raise UnsupportedError(
                "the peak of a class is at another position of each sample, and an exported file does not look for it",
                f"name a place: -t input@{','.join('0' * len(spatial))}, input@predicted or input@all",
            )
        return _peak(end, head, found)
    elif place.kind == "last":
        found = _last(end, found, computed, tokens)
    elif (point := _point(place, found.space)) is not None:
        for i, at in zip(spatial, point, strict=True):
            end.pick(i, at)
        _sum(end, found)
        found = found._replace(size=1)
    else:
        inside = _inside(found, mask)
        weights = (inside / inside.sum()).astype(np.float64)
        dtype = np.dtype(end.dtype) if end.dtype.startswith("float") else np.dtype(np.float32)
        end.add("Mul", shape, (weights if axis is None else np.expand_dims(weights, axis)).astype(dtype))
        _sum(end, found)
        found = found._replace(size=int(inside.sum()))
    logits = end.renamed(f"{head.logits}@{place}")
    functions = append_scores(end, kind)
    if end.shape == (1,) and kind == "Scores":
        kind = "Values"
    made = end.with_output()
    if place == LAST and found.input:
        made = replace(made, metadata={**made.metadata, LAST_INPUT: found.input})
    scores = end.tensor
    known = head.stated or bool(functions or head.functions)
    return made, Head(logits, scores, kind, functions, stated=known, unit=head.logits), found


def append_scores(end: End, kind: str) -> tuple[str, ...]:
    """Append what makes scores of logits [K], as the model does; return its functions.

    Args:
        end: The layers behind the model.
        kind: The kind of the head (`Head.kind`).
    """
    if kind not in operators.SCORINGS:
        return ()
    if kind in SEPARATE:
        end.add("Sigmoid", end.shape)
    else:
        end.add(kind, end.shape, axis=1)
    return (kind,)


def class_axis(graph: Graph, head: Head) -> int | None:
    """Return the axis of classes of the logits of an output with many positions; None where each has one value.

    That of the Softmax or ArgMax behind the logits, else that of their channels.

    Args:
        graph: The graph.
        head: The head of the output.
    """
    shape = graph.shapes[head.logits]
    for layer in graph.consumers(head.logits):
        if layer.op in operators.SCORINGS - {"Sigmoid"} or layer.op == "ArgMax":
            default = 0 if layer.op == "ArgMax" else -1
            return full_axis(int(layer.attributes.get("axis", default)), len(shape))
    axis = channel_axes(graph)[head.logits]
    tensor = head.logits
    picked = graph.producer(tensor)
    if picked is not None and picked.op == "Gather" and len(graph.shapes.get(picked.inputs[0], ())) == len(shape) + 1:
        before = graph.shapes[picked.inputs[0]]
        if full_axis(int(picked.attributes.get("axis", 0)), len(before)) == channel_axes(graph)[picked.inputs[0]]:
            return None  # one channel was picked
    while (layer_before := graph.producer(tensor)) is not None and layer_before.op in operators.BEHIND_HEADS:
        before = graph.shapes.get(layer_before.inputs[0], ())
        if tuple(n for n in before if n != 1) != tuple(n for n in shape if n != 1):
            break
        if len(before) > len(shape) and before[channel_axes(graph)[layer_before.inputs[0]]] == 1:
            return None  # the axis of one channel was dropped
        tensor = layer_before.inputs[0]
    return axis


def default_place(graph: Graph, head: Head, axis: int | None) -> Place:
    """Return the place that is explained where none is named."""
    shape = graph.shapes[head.logits]
    if axis is not None and axis == len(shape) - 1 == 1 and not _along_a_sample(graph, head):
        return _END  # [T, V]: what comes after the last token
    classes = 1 if axis is None else shape[axis]
    if head.kind == "Values" or (classes == 1 and head.kind not in SEPARATE):
        return Place("all")
    return PREDICTED


def _along_a_sample(graph: Graph, head: Head) -> bool:
    """Return whether positions [T, K] lie along a picture or a signal, which convolutions read, and no ids."""
    leading = [tensor for tensor in graph.inputs if facts.relevant(graph, (tensor.name,), head.logits)]
    return all(t.dtype.startswith("float") for t in leading) and any(layer.op == "Conv" for layer in graph.layers)


def sizes(shape: tuple[int, ...]) -> str:
    """Return lengths as text: `64 x 64`."""
    return " x ".join(map(str, shape)) or "1"


def _point(place: Place, space: tuple[int, ...]) -> tuple[int, ...] | None:
    """The point of a place, counted from the beginning; None for a region. Raises UsageError where there is none."""
    if place.kind != "at" or len(place.numbers) == 2 * len(space):
        return None
    last = ",".join(str(n - 1) for n in space)
    names = ",".join(AXES.get(len(space), ("i",) * len(space)))
    if len(place.numbers) != len(space):
        ends = ",".join(f"{name}{n}" for n in (0, 1) for name in names.split(","))
        raise UsageError(
            f"@{place}: {len(place.numbers)} numbers; the output has {sizes(space)} positions",
            f"give a point {names}, up to {last}, or a region {ends}",
        )
    if any(not -n <= i < n for i, n in zip(place.numbers, space, strict=True)):
        what = "position" if len(space) == 1 else "point"
        raise UsageError(
            f"@{place}: the {what} is outside of the output, which has {sizes(space)} positions",
            f"give {names} from {','.join('0' * len(space))} to {last}",
        )
    return tuple(i % n for i, n in zip(place.numbers, space, strict=True))


def _inside(found: Placed, mask: Array | None) -> Array:
    """Whether each position is in a region, a mask, or all of them."""
    place, space = found.place, found.space
    if place.kind == "all":
        return np.ones(space, bool)
    if place.kind == "mask":
        if mask is None or mask.shape != space:
            has = "no mask was read" if mask is None else f"the mask has {sizes(mask.shape)} pixels"
            raise InputError(
                f"{place.path}: {has}, the output {sizes(space)} positions",
                f"give a mask of {sizes(space)}, white where the class is scored",
            )
        if not mask.any():
            raise InputError(f"{place.path}: the mask is empty", "give a mask that is white where the class is scored")
        return np.asarray(mask, bool)
    low, high = place.numbers[: len(space)], place.numbers[len(space) :]
    if any(not 0 <= a < b <= n for a, b, n in zip(low, high, space, strict=True)):
        raise UsageError(
            f"@{place}: no region of the output, which has {sizes(space)} positions",
            f"give a region up to, not including, its end: @{','.join('0' * len(space))},{','.join(map(str, space))} "
            "is all of it",
        )
    inside = np.zeros(space, bool)
    inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return inside


def _sum(end: End, found: Placed) -> None:
    """Append the sum over the positions: [K], or [1] of one value at each."""
    spatial = [i for i in range(len(found.shape)) if i != found.axis]
    if found.axis is None:
        end.sum(spatial[:-1], keep=False)
        end.sum([0], keep=True)
    else:
        end.sum(spatial, keep=False)


def _predicted(end: End, head: Head, found: Placed, computed: bool) -> Placed:
    """Append the mean of each class's logits over the positions where it is predicted; 0 where it is at none."""
    z, axis, shape = head.logits, found.axis, found.shape
    classes = 1 if axis is None else shape[axis]
    separate = classes > 1 and head.kind in SEPARATE
    real = end.dtype
    if separate:
        if computed:
            end.add("Greater", shape, np.zeros((), real), dtype="bool")
        else:
            found = found._replace(input=end.add_input("place", shape, "bool"))
    elif computed and classes > 1:
        assert axis is not None
        end.add("ArgMax", tuple(1 if i == axis else n for i, n in enumerate(shape)), dtype="int64", axis=1 + axis,
                keepdims=1)  # fmt: skip
        end.add("Equal", shape, _along(np.arange(classes), axis, len(shape)), dtype="bool")
    elif computed:
        end.add("Greater", shape, np.zeros((), real), dtype="bool")
    else:
        found = found._replace(input=end.add_input("place", found.space, "int64"))
        if axis is not None:
            kept = tuple(1 if i == axis else n for i, n in enumerate(shape))
            end.add("Unsqueeze", kept, np.array([1 + axis], np.int64))
        end.add("Equal", shape, _along(np.arange(classes), axis, len(shape)), dtype="bool")
    mask = end.add("Cast", shape, dtype=real, to=_CODES[real])
    _sum(end, found)
    count = end.add("Max", end.shape, np.ones((1,), real))
    end.tensor = z
    end.add("Mul", shape, mask)
    _sum(end, found)
    end.add("Div", end.shape, count)
    return found._replace(separate=separate)


def _last(end: End, found: Placed, computed: bool, tokens: TokensOf | None) -> Placed:
    """Append the logits at the position that an input marks, or that is computed: the last token of each sample."""
    z, real = end.tensor, end.dtype
    if computed and tokens is not None:
        mark_last(end, found.space[0], real, tokens)
        found = found._replace(size=1)
    else:
        found = found._replace(input=end.add_input("place", found.space, "bool"), size=1)
    assert found.axis is not None
    end.add("Unsqueeze", (*found.space, 1), np.array([1 + found.axis], np.int64))
    mask = end.add("Cast", (*found.space, 1), dtype=real, to=_CODES[real])
    end.tensor = z
    end.add("Mul", found.shape, mask)
    _sum(end, found)
    return found


def mark_last(end: End, length: int, real: str, tokens: TokensOf) -> None:
    """Append whether each position is the last token that is no padding, [T]; of nothing but padding the very last.

    With f_t = 1 for tokens, it is the one at L = max_t (t + 1) f_t. A mask has above 0 for tokens, or is added to
    scores: then what is hidden is below 0.

    Args:
        end: Where the layers are put.
        length: The number of positions, T.
        real: The type to compute in.
        tokens: What tells tokens from padding.
    """
    end.tensor = tokens.tensor
    end.add("Cast", end.shape, dtype=real, to=_CODES[real])
    if tokens.padding is not None:
        end.add("Sub", end.shape, np.array(tokens.padding, real))
        end.add("Abs", end.shape)
        lowest: str | Array = np.zeros((), real)
    else:
        if end.shape[0] != length:  # those before the tokens
            end.add("Gather", (length,), np.arange(end.shape[0] - length, end.shape[0]), axis=1)
        signs = end.add("Sign", end.shape)
        end.add("ReduceMin", (1,), np.array([1], np.int64), keepdims=1)
        lowest = end.add("Min", (1,), np.zeros((1,), real))
        end.tensor = signs
    end.add("Greater", (length,), lowest, dtype="bool")
    end.add("Cast", (length,), dtype=real, to=_CODES[real])
    places = np.arange(1, length + 1)[np.newaxis].astype(real)
    end.add("Mul", (length,), places)
    last_one = end.add("ReduceMax", (1,), np.array([1], np.int64), keepdims=1)
    end.add("Equal", (1,), np.zeros((1,), real), dtype="bool")
    end.add("Cast", (1,), dtype=real, to=_CODES[real])
    end.add("Mul", (1,), np.full((1,), length, real))
    end.add("Add", (1,), last_one)
    end.add("Equal", (length,), places, dtype="bool")


def _peak(end: End, head: Head, found: Placed) -> tuple[Graph, Head, Placed]:
    """Append the logit of each class at the position that an input marks, and its score there."""
    from .peaks import shares

    z, real, axis, kind = end.tensor, end.dtype, found.axis, head.kind
    classes = 1 if axis is None else found.shape[axis]
    found = found._replace(input=end.add_input("place", found.shape, "bool"), separate=True, size=1, kind=kind)
    mask = end.add("Cast", found.shape, dtype=real, to=_CODES[real])
    end.tensor = z
    end.add("Mul", found.shape, mask)
    _sum(end, found)
    logits = end.renamed(f"{head.logits}@{found.place}")
    functions: tuple[str, ...] = ()
    if axis is not None and shares(kind, classes):  # over the classes of its own position
        end.tensor = z
        end.add("Softmax", found.shape, axis=1 + axis)
        end.add("Mul", found.shape, mask)
        _sum(end, found)
        kind = "Scores"
    else:
        functions = append_scores(end, kind)
    scores = end.tensor
    ranking = scores if kind == "Scores" and classes > 1 else ""
    if found.place.numbers and 0 <= found.place.numbers[0] < classes > 1:
        best = np.zeros(classes)
        best[found.place.numbers[0]] = -_LEFT_OUT
        ranking = end.add("Add", end.shape, best.astype(real))
        end.tensor = scores
    if end.shape == (1,) and kind == "Scores":
        kind = "Values"
    made = end.with_output()
    known = head.stated or bool(functions or head.functions)
    return made, Head(logits, scores, kind, functions, stated=known, unit=head.logits, ranking=ranking), found


_LEFT_OUT = 1e4  # more than scores are apart, and finite in half precision
_CODES = {"float32": 1, "float16": 10, "float64": 11, "bfloat16": 16}  # of onnx.TensorProto


def _along(ids: Array, axis: int | None, rank: int) -> Array:
    shape = [1] * rank
    if axis is not None:
        shape[axis] = -1
    return np.asarray(ids, np.int64).reshape([1, *shape])


def share_of(place: Placed, areas: Array) -> Array:
    """Return the areas of classes as shares of all positions."""
    return np.asarray(areas / max(1, math.prod(place.space)))
