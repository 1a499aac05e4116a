"""Results: relevance and scores for a class of each sample, with their provenance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from ..graph.outputs.scores import are_probabilities, shown
from ..inputs import InputKind, decide
from ..preprocessing import labels
from .ledger import LedgerRow

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..inputs.counted import CountedText
    from ..preprocessing import Preprocessing
    from .boxes import Boxes

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Result:
    """The relevance of every input value for one class of each of N samples.

    Attributes:
        relevance: R, in the input's shape [N, …]; with several targets of every sample [T, N, …].
        output: The model's scores, [N, K].
        target: The class ids that are explained, [N] or [T, N].
        ledger: Rows with the balance of each layer, from output to input; None where it was not asked for.
        provenance: Model, method, options, engine and versions that the relevance comes from.
        labels: Names of the K classes, None where no source states them.
        layers: Relevance of the layers that `record` names, by path, [N, …] or [T, N, …].
        images: The pictures as the model saw them, one for each sample; None for arrays.
        preprocessing: How pictures became the input; None for arrays.
        logit: The score that was propagated, before a final Softmax or Sigmoid, [N] or [T, N]; taken from `output`
            where it is not given.
        names: File stems of the samples, where they were files.
        originals: The pictures as they were before preprocessing.
        head: How the scores were made of the logits, as of `Head.kind`: "Softmax", "LogSoftmax", "Sigmoid",
            "LogSigmoid", "" for logits themselves, "Scores" or "Values"; None where it is not known.
        notes: Further results of the method by name; an array of the target's shape has one for each.
        inputs: The samples [N, …] as the model takes them, for drawings; NaN where a value is missing, words of columns
            of them (then it has objects). None where they are not kept.
        feature_names: Names of the features of a vector or the channels of a signal, or the words of token ids.
        shares: Which share of the positions is predicted as each class, [N, K], where classes are explained where they
            are predicted; else None.
        boxes: The boxes of each sample, and which of them is explained, of a detector; else None.
        texts: The texts that the counts of the samples are of, with the places of their n-grams; None for others.
        kind: The kind of the input and its axes; where it is not given, as preprocessing and shape say.
    """

    relevance: Array
    output: Array
    target: Array
    ledger: Sequence[LedgerRow] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    layers: Mapping[str, Array] = field(default_factory=dict)
    images: Sequence[Image | None] | None = None
    preprocessing: Preprocessing | None = None
    logit: Array | None = None
    names: Sequence[str] | None = None
    originals: Sequence[Image | None] | None = None
    head: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    inputs: Array | None = None
    feature_names: Sequence[str] | None = None
    shares: Array | None = None
    boxes: Sequence[Boxes] | None = None
    texts: Sequence[CountedText | None] | None = None
    kind: InputKind = None  # type: ignore[assignment]  # set below

    def __post_init__(self) -> None:
        for name in ("relevance", "output", "target"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        if self.kind is None:
            prep = self.preprocessing
            shape = self.relevance.shape[self.target.ndim :]
            kind = decide(shape, stated=None if prep is None else (prep.source, prep.layout))
            object.__setattr__(self, "kind", kind)
        output = self.output.reshape(len(self.output), -1)
        logit = np.take_along_axis(output.T, np.atleast_2d(self.target), axis=0) if self.logit is None else self.logit
        object.__setattr__(self, "logit", np.asarray(logit).reshape(self.target.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self.relevance.dtype:
            if copy is False:
                raise ValueError(f"relevance is {self.relevance.dtype}, {np.dtype(dtype)} of it is a copy")
            return self.relevance.astype(dtype)
        return self.relevance.copy() if copy else self.relevance

    def __len__(self) -> int:
        return len(self.output)

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice) -> Self:
        """Return one sample or a slice of them, with the batch axis kept.

        Args:
            index: Index or slice of samples.

        Raises:
            IndexError: There is no such sample.
        """
        keep = np.arange(len(self))[index]  # raises IndexError, which ends an iteration
        keep = np.atleast_1d(keep)
        several = self.target.ndim == 2

        def cut(values: Array) -> Array:
            return values[:, keep] if several else values[keep]

        def pick(items: Sequence[Any] | None) -> list[Any] | None:
            return None if items is None else [items[i] for i in keep]

        return replace(
            self,
            relevance=cut(self.relevance),
            output=self.output[keep],
            target=cut(self.target),
            ledger=None if self.ledger is None else [row.select(keep) for row in self.ledger],
            layers={path: cut(values) for path, values in self.layers.items()},
            images=pick(self.images),
            inputs=None if self.inputs is None else self.inputs[keep],
            shares=None if self.shares is None else self.shares[keep],
            logit=None if self.logit is None else cut(self.logit),
            names=pick(self.names),
            boxes=pick(self.boxes),
            texts=pick(self.texts),
            originals=pick(self.originals),
            notes={
                name: cut(value) if np.shape(value)[: self.target.ndim] == self.target.shape else value
                for name, value in self.notes.items()
            },
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} × {label(self, 0)}, {self.method}, relevance {self.relevance.shape})"

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.provenance.get("method", ""))

    @property
    def is_value(self) -> bool:
        """Whether the model gives numbers that are not scores of classes: regression."""
        return self.head == "Values" or (self.head == "" and self.output.size == len(self))

    @property
    def total(self) -> Array:
        """ΣR of each sample in float64, [N] or [T, N]; compare with `logit`."""
        total: Array = self.relevance.sum(axis=tuple(range(self.target.ndim, self.relevance.ndim)), dtype=np.float64)
        return total

    @property
    def probabilities(self) -> Array:
        """The scores as shown, [N, K].

        What the model says: probabilities, values and scores as they are (of a Sigmoid one probability for each class),
        log-probabilities as probabilities. Logits of classes become their softmax, unless they are probabilities
        already.
        """
        return shown(self.output.reshape(len(self), -1).astype(np.float64), self.head)

    @property
    def quantity(self) -> str:
        """What is shown: "probability", "score" of a class, "distance" to it, its "share" of positions, or "value"."""
        if self.shares is not None:
            return "share"
        if self.is_value:
            return "value"
        if self.head == "Distances":
            return "distance"
        return (
            "score" if self.head in ("Scores", "Pairs") and not are_probabilities(self.probabilities) else "probability"
        )

    def top(self, k: int = 3) -> list[list[tuple[int, str, float]]]:
        """Return the best classes of each sample, best first, as (id, short label or id, probability).

        Where classes are explained where they are predicted, the number is their share of the positions.

        Args:
            k: How many classes of each sample.
        """
        sign = 1 if self.head == "Distances" else -1
        return [
            [
                (int(i), labels.name(self.labels, int(i)), float(row[i]))
                for i in np.argsort(sign * row, kind="stable")[:k]
            ]
            for row in (self.probabilities if self.shares is None else self.shares)
        ]

    def title(self, sample: int = 0, target: int = 0) -> str:
        """Return the class that is explained and the model's probability of it, such as `zebra · 0.94`.

        Args:
            sample: Index of the sample.
            target: Index of the target, where several are explained.
        """
        place = self.provenance.get("place", "")
        name = label(self, sample, target) + (f" @{os.path.basename(place)}" if place else "")
        return " · ".join(filter(None, (name, _shown(self, sample, target))))


def target_count(result: Result) -> int:
    """Return how many classes of every sample are explained."""
    return len(result.target) if result.target.ndim == 2 else 1


def assumed(result: Result) -> tuple[str, ...]:
    """Return the fields of the preprocessing that no source states."""
    return result.preprocessing.assumed if result.preprocessing else ()


def class_id(result: Result, sample: int, target: int = 0) -> int:
    """Return the id of the explained class."""
    return int(result.target[target, sample] if result.target.ndim == 2 else result.target[sample])


def label(result: Result, sample: int, target: int = 0) -> str:
    """Return the label of the explained class."""
    return labels.name(result.labels, class_id(result, sample, target))


def _shown(result: Result, sample: int, target: int) -> str:
    score = (result.probabilities if result.shares is None else result.shares)[sample, class_id(result, sample, target)]
    if result.quantity == "share":
        return f"{score:.1%} of positions"
    return f"{score:.2f}" if result.quantity == "probability" else f"{score:.4g}"


def has_tokens(result: Result, sample: int) -> bool:
    """Return whether a sample is a row of tokens, or a text whose n-grams the model counts."""
    return result.kind.name == "tokens" or bool(result.texts and result.texts[sample] is not None)
