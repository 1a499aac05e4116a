"""A problem: samples, a class of each, and all that a method may ask of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import UsageError, did_you_mean
from ..graph.facts import head_of
from ..preprocessing import Preprocessing
from .registry import Array, Method, make_composite

if TYPE_CHECKING:
    from ..composites import Composite
    from ..graph.graph import Graph
    from ..inputs import InputKind
    from ..preprocessing.samples import Samples

BASELINES = ("black", "white", "grey", "mean", "blur", "noise", "zero")
Progress = Callable[[int, int], bool]  # (done, of) -> whether to go on


def quiet(done: int, total: int) -> bool:
    """No progress is shown."""
    return True


class ModelInterface(Protocol):
    """What a method may ask of a `Model`, which is handed to it: methods do not know where models come from."""

    @property
    def graph(self) -> Graph: ...

    @property
    def classes(self) -> int: ...

    @property
    def kind(self) -> InputKind: ...

    def outputs(
        self,
        x: Array,
        composite: Composite | None = None,
        *,
        ids: Array | None = None,
        seed: Array | None = None,
        record: Sequence[str] = (),
        activations: Sequence[str] = (),
        at: Array | None = None,
        batch_size: int | None = None,
    ) -> dict[str, Array]: ...

    def composite(self, method: str, *, pictures: bool = True) -> Composite: ...


@dataclass(frozen=True, eq=False)
class Problem:
    """x [N, …] in the model's own input, the class `ids` [N] to explain, and the model that is asked.

    `preprocessing` is how pictures became x, None where x is no picture. Every array of samples that is handed over
    has x's shape after its first axis; `at` says for each row which of the N problems it belongs to.
    """

    model: ModelInterface
    x: Array
    ids: Array
    preprocessing: Preprocessing | None = None
    batch_size: int | None = None
    progress: Progress = quiet
    on_unsupported: str = "error"

    # -- what the model says

    def logits(self, x: Array, at: Array) -> Array:
        """The model's logits [n, K] of each row."""
        outputs = self.model.outputs(x, at=at, batch_size=self.batch_size)
        return outputs["logits"].reshape(len(x), -1)

    def scores(self, x: Array, at: Array, probability: bool = False) -> Array:
        """The explained class's logit of each row [n], or its probability: see `probabilities`."""
        logits = self.logits(x, at).astype(np.float64)
        if probability and not self.is_value:
            logits = probabilities(logits, self.separate)
        values: Array = logits[np.arange(len(x)), self.ids[at]]
        return values

    @property
    def is_value(self) -> bool:
        """Whether the output is one number that is no probability: a regression."""
        return self.model.classes == 1 and not self.separate

    @property
    def separate(self) -> bool:
        """Whether each class has a probability of its own: the model ends in a Sigmoid."""
        graph = self.model.graph
        return head_of(graph, graph.outputs[0].name).kind == "Sigmoid"

    def gradient(self, x: Array, at: Array) -> Array:
        """∂logit/∂x of each row, [n, …]."""
        slope: Array = self.propagate(make_composite("gradient"), x, at)["relevance"]
        return slope

    def propagate(
        self,
        composite: Composite,
        x: Array,
        at: Array,
        *,
        seed: Array | None = None,
        record: Sequence[str] = (),
        activations: Sequence[str] = (),
    ) -> dict[str, Array]:
        """Relevance of each row by a composite: "relevance", "logits", "record/PATH", "activation/PATH".

        `seed` [n, K] is the relevance of the logits that is propagated, instead of the explained class's.
        """
        if self.on_unsupported != "error":
            composite = composite.with_fallback(self.on_unsupported)
        ids = None if seed is not None else self.ids[at]
        wanted: dict[str, Any] = {"record": record, "activations": activations}
        return self.model.outputs(x, composite, ids=ids, seed=seed, at=at, **wanted, batch_size=self.batch_size)

    def composite(self, name: str) -> Composite:
        """A preset, bounded by the preprocessing where it needs bounds."""
        return self.model.composite(name, pictures=self.preprocessing is not None)

    # -- the input as places with channels

    @property
    def kind(self) -> InputKind:
        """What the input is: its axes of channels and of space."""
        return self.model.kind

    @property
    def grid(self) -> tuple[int, ...]:
        """What masks are made for: (height, width) of an image, else the shape of a sample (`InputKind.grid`)."""
        return self.kind.grid

    def masked(self, masks: Array, at: Array, baseline: Array) -> Array:
        """x where a mask [n, *grid] is 1, the baseline [N, …] where it is 0, and between them in between."""
        weights = self.kind.expanded(masks)
        # A single sample is broadcast: copies of it would cost as much as the mixing.
        x, hidden = (array if len(array) == 1 else array[at] for array in (self.x, baseline))
        if masks.dtype == bool:
            return np.where(weights, x, cast(hidden, x.dtype))
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
        weights = weights.astype(kind, copy=False)
        return cast(x * weights + hidden.astype(kind) * (1 - weights), x.dtype)

    def on_channels(self, heat: Array) -> Array:
        """A heatmap [N, *grid] as relevance in x's shape, the same share for each channel."""
        return self.kind.shared(heat)

    def baseline(self, name: str, rng: np.random.Generator | None = None) -> Array:
        """The absence of a feature, in x's shape: black, white, grey or mean pixels, blur, noise, or zero of the input.

        Pixels are the preprocessing's; without one a sample's extremes are its black and white. Raises UsageError.
        """
        if name not in BASELINES:
            raise UsageError(f'there is no baseline "{name}"', did_you_mean(name, BASELINES))
        x: Array = self.x.astype(np.float64)
        if name == "zero":
            return np.zeros_like(x)
        if name == "mean":
            return np.broadcast_to(x.mean(axis=self._map_axes, keepdims=True), x.shape).copy()
        if name == "blur":
            return self._blurred(x)
        low, high = (np.broadcast_to(bound, x.shape) for bound in self.bounds())
        if name == "noise":
            share = (rng or np.random.default_rng(0)).random(x.shape[1:])  # the same for every sample
        else:
            share = np.asarray({"black": 0.0, "white": 1.0, "grey": 0.5}[name])
        return np.asarray(low + share * (high - low))

    def bounds(self) -> tuple[Array, Array]:
        """The lowest and highest value of the input, broadcasting over x: of pixels, or of each sample by itself."""
        if self.preprocessing is not None:
            return self.preprocessing.bounds()
        axes = tuple(range(1, self.x.ndim))
        low, high = (f(axis=axes, keepdims=True).astype(np.float64) for f in (self.x.min, self.x.max))
        return low, high

    @property
    def _map_axes(self) -> tuple[int, ...]:
        """The axes of x that masks have."""
        return tuple(1 + axis for axis in self.kind.map_axes)

    def _blurred(self, x: Array) -> Array:
        """A picture without detail: a box of an eighth of each side, three times (nearly a Gaussian)."""
        for axis in self._map_axes * 3:
            x = _box(x, axis, max(1, x.shape[axis] // 8))
        return x

    # -- work that takes long

    def track(self, total: int, step: int = 1) -> Iterator[slice]:
        """Pieces of `total` passes, at most `step` at a time; ends early where the user asks for it."""
        for start in range(0, total, step):
            yield slice(start, min(start + step, total))
            if not self.progress(min(start + step, total), total):
                return

    def rows(self, per_sample: int) -> int:
        """How many passes fit a batch, of `per_sample` rows for each."""
        return max(1, (self.batch_size or 32) // max(1, per_sample))


def solve(
    model: ModelInterface, chosen: Method, samples: Samples, ids: Array, preprocessing: Preprocessing | None, **how: Any
) -> tuple[Array, dict[str, Any]]:
    """(relevance of each sample for class ids [N], or for each row of [T, N] with a leading axis; notes).

    `how` are the problem's batch_size, progress and on_unsupported.
    """
    found = [chosen(Problem(model, samples.values, row, preprocessing, **how)) for row in np.atleast_2d(ids)]
    if ids.ndim == 1:
        return found[0].relevance, dict(found[0].notes)
    notes = {key: np.stack([np.asarray(one.notes[key]) for one in found]) for key in found[0].notes}
    return np.stack([one.relevance for one in found]), notes


def probabilities(logits: Array, separate: bool) -> Array:
    """Softmax of the logits [n, K]; the sigmoid of each where classes are `separate`."""
    if separate:
        return np.asarray(0.5 + 0.5 * np.tanh(logits / 2))
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def cast(x: Array, kind: np.dtype[Any]) -> Array:
    """Numbers in the input's type: the nearest whole ones where it has no others."""
    return np.asarray((x if kind.kind == "f" else np.rint(x)).astype(kind, copy=False))


def _box(x: Array, axis: int, radius: int) -> Array:
    """The mean of 2·radius + 1 neighbours, the edge repeated."""
    pads = [(radius + 1, radius) if i == axis else (0, 0) for i in range(x.ndim)]
    sums = np.cumsum(np.pad(x, pads, mode="edge"), axis=axis)
    width, n = 2 * radius + 1, x.shape[axis]
    upper, lower = (np.take(sums, range(start, start + n), axis=axis) for start in (width, 0))
    return np.asarray((upper - lower) / width)
