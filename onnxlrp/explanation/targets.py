"""Targets: the class explained, by id, by label, or the best of the model's own scores; and where it is scored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError, did_you_mean, listed
from ..graph.outputs import places
from ..graph.outputs.places import Place
from ..preprocessing.labels import short

Ids = npt.NDArray[np.int64]

_TOP = re.compile(r"top(\d{1,6})", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d+")
_QUOTED = re.compile(r"'.+'|\".+\"", re.DOTALL)  # a label that would be read as an id, such as '3'


@dataclass(frozen=True)
class Target:
    """One class to explain.

    Attributes:
        kind: "id" for a class id, "label" for a class name, "top" for the best classes of each sample.
        id: The class id.
        label: The class name.
        k: How many of the best classes.
        place: Where it is scored, of an output with many positions; None where the target does not say.
    """

    kind: Literal["id", "label", "top"]
    id: int = 0
    label: str = ""
    k: int = 1
    place: Place | None = None

    def __str__(self) -> str:
        text = {"id": str(self.id), "label": self.label, "top": f"top{self.k}"}[self.kind]
        if self.place is None:
            return text
        if self.place.kind == "box":
            return str(self.place) + ("" if (self.kind, self.k) == ("top", 1) else f":{text}")
        return f"{text}@{self.place}"


TOP1 = Target("top")


def parse(text: str | int) -> Target:
    """Parse a target.

    `281`, `top1`, `top3`, else a label, which may stand in quotes (`'3'`).

    `CLASS@PLACE` is a class at a place of an output with many positions: at a position (`7@3`, `7@-1`), a point
    (`dog@40,25`), in a box (`dog@10,10,50,60`), in a mask (`dog@mask.png`), where it is predicted (`dog@predicted`), or
    everywhere (`dog@all`). `box:N` and `box@Y,X` are boxes of a detector: their best class, with `:CLASS` another, with
    `:x`, `:y`, `:w`, `:h` or `:size` a coordinate.

    Args:
        text: The target.

    Raises:
        UsageError: It is none.
    """
    word = str(text).strip()
    if (boxed := places.box(word)) is not None:
        return replace(_parse_class(boxed[1] or "top1"), place=boxed[0])
    cuts = ((word[:n], places.parse(word[n + 1 :])) for n, letter in enumerate(word) if letter == "@")
    name, place = next((cut for cut in cuts if cut[1] is not None), (word, None))
    return replace(_parse_class(name if place is None else name or "top1"), place=place)


def _parse_class(word: str) -> Target:
    word = word.strip()
    if _INTEGER.fullmatch(word):
        if word.startswith("-") or len(word) > 18:
            raise UsageError(f"target {word}: class ids count from 0", "give a class id, a label, top1 or top3")
        return Target("id", id=int(word))
    top = _TOP.fullmatch(word)
    if top:
        if int(top[1]) < 1:
            raise UsageError(f"target {word}: top0 names no class", "give top1, or top3 for the three best")
        return Target("top", k=int(top[1]))
    if not word:
        raise UsageError("the target is empty", "give a class id, a label, top1 or top3")
    return Target("label", label=word)


def resolve(target: Target, labels: Sequence[str] | None, n_classes: int, place: Place | None = None) -> int | None:
    """Resolve a target to a class id; labels match as they are written, else by any synonym, upper or lower case.

    Args:
        target: The target.
        labels: Class names, None where the model has none.
        n_classes: The number of classes.
        place: Where the scores are read, of an output with many positions.

    Returns:
        The class id, None where the scores decide ("top").

    Raises:
        UsageError: An id is out of range, a label unknown or ambiguous, there are fewer classes than asked for, or the
            target is of another place.
    """
    if target.place not in (None, place) and str(target.place) != str(place):  # a default has more of itself to say
        raise _elsewhere(target, place)
    if target.kind == "top":
        if target.k > n_classes:
            raise UsageError(f"target {target}: the model has {n_classes} classes", f"ask for top{n_classes} at most")
        return None
    if target.kind == "id":
        if not 0 <= target.id < n_classes:
            raise UsageError(
                f"target {target.id}: the model has no such class", f"give an id from 0 to {n_classes - 1}"
            )
        return target.id
    return _find(target.label, labels, n_classes)


def for_samples(
    target: Any, labels: Sequence[str] | None, n_classes: int, n_samples: int, place: Place | None = None
) -> Ids | Target:
    """Resolve the targets of samples.

    Args:
        target: A Target, an int, a str, or a sequence or integer array with one id or label for each sample.
        labels: Class names, None where the model has none.
        n_classes: The number of classes.
        n_samples: N, the number of samples.
        place: Where the scores are read, as of `resolve`.

    Returns:
        Class ids [N], or the "top" Target that the scores decide.

    Raises:
        UsageError: A target does not exist, or a sequence has another length.
    """
    single = at_position(target) if place is not None and is_pair(target) else _one(target)
    if single is not None:
        class_id = resolve(single, labels, n_classes, place)
        return single if class_id is None else np.full(n_samples, class_id, dtype=np.int64)
    items = list(target) if np.ndim(target) == 1 else None
    if items is None:
        raise UsageError(
            f"a target of type {type(target).__name__}", "give a class id, a label, top1, or a list of ids"
        )
    if len(items) != n_samples:
        raise UsageError(
            f"{len(items)} targets for {n_samples} samples",
            "give one target for each sample; several targets of every sample are asked for by targets=[…]",
        )
    ids = []
    for item in items:
        single = _one(item)
        class_id = None if single is None else resolve(single, labels, n_classes, place)
        if class_id is None:
            raise UsageError(f"target {item!r} within a list", "a list holds class ids or labels; give top1 alone")
        ids.append(class_id)
    return np.array(ids, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Wanted:
    """The targets of a run.

    Attributes:
        mode: "index" for class ids, "top" for the best classes of each sample.
        count: The length T of the target axis, None without one.
        ids: Class ids [N] or [T, N] of mode "index".
    """

    mode: str
    count: int | None = None
    ids: Ids | None = None


def wanted(
    target: Any,
    several: Sequence[int | str] | None,
    labels: Sequence[str] | None,
    n_classes: int,
    n_samples: int,
    place: Place | None = None,
) -> Wanted:
    """Resolve the targets of a run.

    Args:
        target: The target of each sample, as of `for_samples`.
        several: Several targets of every sample, in place of it.
        labels: Class names, None where the model has none.
        n_classes: The number of classes.
        n_samples: The number of samples.
        place: Where the scores are read, as of `resolve`.

    Raises:
        UsageError: A target does not exist.
    """
    if several is not None:
        ids = [resolve(parse(t), labels, n_classes, place) for t in several]
        if not ids or None in ids:
            raise UsageError(f"targets={list(several)!r}", "list class ids or labels; top3 is target='top3'")
        return Wanted("index", len(ids), np.repeat(np.asarray(ids, np.int64)[:, None], n_samples, axis=1))
    found = for_samples(target, labels, n_classes, n_samples, place)
    if isinstance(found, Target):
        return Wanted("top", None if found.k == 1 else found.k)
    return Wanted("index", None, found)


def place_of(target: Any, several: Sequence[Any] | None = None) -> Place | None:
    """Return the place that targets name; None where they name none.

    Args:
        target: The target of each sample, as of `for_samples`.
        several: Several targets of every sample, in place of it.

    Raises:
        UsageError: They name different places.
    """
    if several is None:
        several = [target] if isinstance(target, (str, Target)) or is_pair(target) else target
    if not isinstance(several, (list, tuple)):
        return None
    found = dict.fromkeys(one.place for item in several if (one := _placed(item)) is not None)
    if len(found) > 1:
        words = " and ".join("no place" if place is None else str(place) for place in found)
        raise UsageError(f"targets at {words}", "explain one place at a time")
    return next(iter(found), None)


def is_pair(target: Any) -> bool:
    """Return whether a target is a pair (position, class) of an output with scores at many positions.

    Of an output with one score for each class, the same pair is the targets of two samples.
    """
    if not (isinstance(target, tuple) and len(target) == 2):
        return False
    at, word = target
    return isinstance(word, (str, int, np.integer)) and (
        isinstance(at, (int, np.integer)) or (isinstance(at, tuple) and all(isinstance(i, int) for i in at))
    )


def at_position(pair: tuple[Any, Any]) -> Target:
    """Return the target of a pair (position, class), where position is a number or one for each axis."""
    at, word = pair
    numbers = tuple(int(i) for i in at) if isinstance(at, tuple) else (int(at),)
    return replace(parse(word), place=Place("at", numbers))


def _placed(item: Any) -> Target | None:
    if is_pair(item):
        return at_position(item)
    return parse(item) if isinstance(item, str) else item if isinstance(item, Target) else None


def from_scores(target: Target, scores: npt.ArrayLike) -> Ids:
    """Return the k best class ids of scores [N, K], best first: [N] for k = 1, else [k, N]; the first wins ties."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), axis=1, kind="stable")[:, : target.k].T
    return np.ascontiguousarray(order[0] if target.k == 1 else order, dtype=np.int64)


def _one(target: Any) -> Target | None:
    """Parse a single target, None for anything else. Raises UsageError."""
    if isinstance(target, Target):
        return target
    if isinstance(target, (bool, np.bool_)):
        raise UsageError(f"target {target}: a truth value is no class", "give a class id, a label, top1 or top3")
    if isinstance(target, (str, int)):
        return parse(target)
    if isinstance(target, np.integer) or (
        isinstance(target, np.ndarray) and target.ndim == 0 and target.dtype.kind in "iu"
    ):
        return parse(int(target))
    return None


def _elsewhere(target: Target, place: Place | None) -> UsageError:
    if place is None:
        return UsageError(
            f"target {target}: the explained output has one score for each class, and no places",
            f"leave out the place: {replace(target, place=None)}",
        )
    return UsageError(f"target {target} beside one of {place}", "targets of one run are of one place")


def _find(word: str, labels: Sequence[str] | None, n_classes: int) -> int:
    """Find the class of a label; the displayed name of a class takes precedence over its other synonyms."""
    if not labels:
        raise UsageError(
            f'target "{word}": the model names no classes', f"give an id from 0 to {n_classes - 1}, or --labels FILE"
        )
    for exact in (word, *([word[1:-1]] if _QUOTED.fullmatch(word) else [])):  # of characters, "a" is not "A"
        same = [i for i, label in enumerate(labels[:n_classes]) if exact in (label, short(label))]
        if len(same) == 1:
            return same[0]
    wanted = _plain(word[1:-1] if _QUOTED.fullmatch(word) else word)
    shown = [i for i, label in enumerate(labels[:n_classes]) if wanted in (_plain(label), _plain(short(label)))]
    found = shown or [i for i, label in enumerate(labels[:n_classes]) if wanted in map(_plain, label.split(","))]
    if len(found) > 1:
        raise UsageError(
            f'target "{word}" names classes ' + ", ".join(f"{i} ({labels[i]})" for i in found),
            f"give the id, such as {found[0]}",
        )
    if not found:
        known = {_plain(part): part.strip() for label in labels for part in label.split(",")}
        within = [f"{i} ({label})" for i, label in enumerate(labels[:n_classes]) if wanted in _plain(label).split()]
        within = within or [f"{i} ({label})" for i, label in enumerate(labels[:n_classes]) if wanted in _plain(label)]
        hint = f"did you mean {listed(within, 8)}?" if within and wanted else did_you_mean(wanted, known)
        if len(known) > 20 and hint.startswith("known:"):
            hint = f"give one of the model's {n_classes} class names, or an id from 0 to {n_classes - 1}"
        raise UsageError(f'target "{word}": no class has this name', hint)
    return found[0]


def _plain(text: str) -> str:
    return " ".join(text.casefold().replace("_", " ").split())
