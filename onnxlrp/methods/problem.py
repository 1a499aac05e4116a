"""Problems: samples with the class of each, and what methods may compute with the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..errors import UsageError, did_you_mean
from ..graph.outputs.heads import head_of
from ..graph.outputs.scores import AS_THEY_STAND, SEPARATE, are_probabilities, probabilities
from ..preprocessing import Preprocessing
from .registry import Array, Method, make_composite

if TYPE_CHECKING:
    from ..composites import Composite
    from ..graph.graph import Graph
    from ..graph.outputs.units import Start, Unit
    from ..inputs import InputKind
    from ..preprocessing.samples import Samples

BASELINES = ("black", "white", "grey", "mean", "blur", "noise", "zero")
Progress = Callable[[int, int], bool]  # (done, total) -> whether to continue


def quiet(done: int, total: int) -> bool:
    """Show no progress, and continue."""
    return True


class Absent(NamedTuple):
    """What stands in the place of a hidden token.

    Attributes:
        name: What notes call it.
        values: The token for each place [N, …], as an id or an embedding.
    """

    name: str
    values: Array


class ModelInterface(Protocol):
    """The interface of a model that methods use."""

    @property
    def graph(self) -> Graph:
        """The graph of the model."""
        ...

    @property
    def classes(self) -> int:
        """The number of classes."""
        ...

    @property
    def kind(self) -> InputKind:
        """The kind of the input."""
        ...

    def at(self, shape: tuple[int, ...]) -> ModelInterface:
        """Return the model for samples of this shape, where the file leaves sizes open; itself elsewhere."""
        ...

    def feeds(self, x: Array, at: Array | None = None) -> dict[str, Array]:
        """Return the arrays of all inputs, by name; `at` are the rows of the given ones that go with x."""
        ...

    def outputs(
        self,
        x: Array,
        composite: Composite | None = None,
        *,
        ids: Array | None = None,
        seed: Array | None = None,
        starts: Sequence[Start] = (),
        record: Sequence[str | Unit] = (),
        activations: Sequence[str | Unit] = (),
        reduce: Sequence[str] = (),
        at: Array | None = None,
        batch_size: int | None = None,
    ) -> dict[str, Array]:
        """Compute logits, scores, activations and, with a composite, relevance."""
        ...

    def composite(self, method: str, *, pictures: bool = True) -> Composite:
        """Return a composite by its name."""
        ...


@dataclass(frozen=True, eq=False)
class Problem:
    """Samples with the class to explain of each, and the model.

    The arrays of samples that its functions take have x's shape after the first axis; `at` [n] gives for each row which
    of the N samples it belongs to.

    Attributes:
        model: The model.
        x: The samples [N, …] in the model's own layout.
        ids: The class to explain of each [N].
        preprocessing: The preprocessing of pictures, None where x are no pictures.
        batch_size: Samples of a batch.
        progress: Called with the passes done and their number; returns whether to continue.
        on_unsupported: What happens at layers without a rule: "error", "gradient" or "pass".
        absent: Of tokens what stands in the place of one that is hidden.
        columns: The header of the table that the samples come from, in the order of the model's features.
    """

    model: ModelInterface
    x: Array
    ids: Array
    preprocessing: Preprocessing | None = None
    batch_size: int | None = None
    progress: Progress = quiet
    on_unsupported: str = "error"
    absent: Absent | None = None
    columns: tuple[str, ...] | None = None

    # -- outputs of the model

    def logits(self, x: Array, at: Array) -> Array:
        """Compute the logits of each row [n, K]."""
        outputs = self.model.outputs(x, at=at, batch_size=self.batch_size)
        return outputs["logits"].reshape(len(x), -1)

    def scores(self, x: Array, at: Array, probability: bool = False) -> Array:
        """Compute the logit of the explained class for each row [n], or its probability as of `probabilities`."""
        logits = self.logits(x, at).astype(np.float64)
        if probability:
            logits = self.probabilities(logits)
        values: Array = logits[np.arange(len(x)), self.ids[at]]
        return values

    def probabilities(self, logits: Array) -> Array:
        """Compute the probabilities that logits [n, K] stand for; values, and scores of no known kind, as they are."""
        return probabilities(logits, self.score_kind)

    def probability_seed(self, logits: Array, ids: Array) -> Array:
        """Compute ∂p/∂z [n, K] of the probability of a class of each row [n] by the logits [n, K]."""
        p = self.probabilities(logits)
        hot = np.eye(p.shape[1])[ids]
        if self.score_kind in AS_THEY_STAND:
            return hot
        own = p[np.arange(len(p)), ids][:, None]
        return own * (1 - own) * hot if self.score_kind in SEPARATE else own * (hot - p)

    @cached_property
    def score_kind(self) -> str:
        """The kind of the head (`Head.kind`): a single value is a "Values"; logits that are probabilities, "Scores"."""
        graph = self.model.graph
        kind = head_of(graph, graph.outputs[0].name).kind
        if kind:
            return kind
        if self.model.classes == 1:
            return "Values"
        first = self.logits(self.x[:1], np.arange(1)).astype(np.float64)
        return "Scores" if are_probabilities(first) else kind

    def gradient(self, x: Array, at: Array) -> Array:
        """Compute ∂logit/∂x of each row [n, …]."""
        slope: Array = self.propagate(make_composite("gradient"), x, at)["relevance"]
        return slope

    def propagate(
        self,
        composite: Composite,
        x: Array,
        at: Array,
        *,
        seed: Array | None = None,
        record: Sequence[str | Unit] = (),
        activations: Sequence[str | Unit] = (),
    ) -> dict[str, Array]:
        """Propagate relevance by a composite.

        Args:
            composite: The composite.
            x: Rows [n, …].
            at: The sample of each row [n].
            seed: Relevance of the logits [n, K] to start with; None for the logit of the explained class.
            record: Layers whose relevance is returned.
            activations: Layers whose activations are returned.

        Returns:
            Arrays by name: "relevance" [n, …], "logits", "record/PATH", "activation/PATH".
        """
        if self.on_unsupported != "error":
            composite = composite.with_fallback(self.on_unsupported)
        ids = None if seed is not None else self.ids[at]
        wanted: dict[str, Any] = {"record": record, "activations": activations}
        return self.model.outputs(x, composite, ids=ids, seed=seed, at=at, **wanted, batch_size=self.batch_size)

    def composite(self, name: str) -> Composite:
        """Return a composite by its name, with the bounds of the preprocessing where it needs any."""
        return self.model.composite(name, pictures=self.preprocessing is not None)

    # -- words

    @property
    def categories(self) -> Mapping[int, Mapping[str, int]]:
        """The codes of columns of words: column → word → code; 0 for words that the model does not know."""
        found: Mapping[int, Mapping[str, int]] = self.model.graph.categories.get(self.model.graph.inputs[0].name, {})
        return found

    def without_words(self, values: Array) -> Array:
        """Return an array [n, …] with 0 in the columns of words: between two codes is no word."""
        if self.categories:
            values = values.copy()
            values.reshape(len(values), -1)[:, list(self.categories)] = 0
        return values

    # -- axes and masks of the input

    @property
    def kind(self) -> InputKind:
        """The kind of the input: its channel axis and its spatial axes."""
        return self.model.kind

    @property
    def grid(self) -> tuple[int, ...]:
        """The shape of masks: (height, width) of an image, else the shape of a sample (`InputKind.grid`)."""
        return self.kind.grid

    def masked(self, masks: Array, at: Array, baseline: Array) -> Array:
        """Blend samples with a baseline.

        Args:
            masks: Masks [n, *grid]: 1 shows x, 0 the baseline.
            at: The sample of each mask [n].
            baseline: The baseline of each sample [N, …].

        Returns:
            Rows [n, …].
        """
        weights = self.kind.expanded(masks)
        # A single sample is broadcast: copying it would cost as much as blending.
        x, hidden = (array if len(array) == 1 else array[at] for array in (self.x, baseline))
        if masks.dtype == bool:
            return np.where(weights, x, cast(hidden, x.dtype))
        kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
        weights = weights.astype(kind, copy=False)
        made = x * weights + hidden.astype(kind) * (1 - weights)
        if self.kind.name == "vector":  # a missing value is no number that could be blended
            made = np.where(np.isnan(made), np.where(weights >= 0.5, x, hidden), made)
        return cast(made, x.dtype)

    def on_channels(self, heat: Array) -> Array:
        """Spread a heatmap [N, *grid] evenly over the channels, to x's shape."""
        return self.kind.shared(heat)

    def baseline(self, name: str, rng: np.random.Generator | None = None) -> Array:
        """Return the absence of features; of a column of words, no word that the model knows.

        Args:
            name: "black", "white", "grey" or "mean" pixels, "blur", "noise" (uniform), or "zero" of the model's input.
                Without a preprocessing, black and white are the extremes of a sample.
            rng: The generator of the noise.

        Returns:
            The baseline of each sample, in x's shape.

        Raises:
            UsageError: There is no such baseline.
        """
        if name not in BASELINES:
            raise UsageError(f'there is no baseline "{name}"', did_you_mean(name, BASELINES))
        return self.without_words(self._baseline(name, rng))

    def _baseline(self, name: str, rng: np.random.Generator | None) -> Array:
        x: Array = self.x.astype(np.float64)
        if name == "zero":
            return np.zeros_like(x)
        if name == "mean":
            there = ~np.isnan(x)
            total, count = (part.sum(axis=self._map_axes, keepdims=True) for part in (np.where(there, x, 0), there))
            return np.broadcast_to(total / np.maximum(count, 1), x.shape).copy()
        if name == "blur":
            return self._blurred(x)
        low, high = (np.broadcast_to(bound, x.shape) for bound in self.bounds())
        if name == "noise":
            share = (rng or np.random.default_rng(0)).random(x.shape[1:])  # the same for every sample
        else:
            share = np.asarray({"black": 0.0, "white": 1.0, "grey": 0.5}[name])
        return np.asarray(low + share * (high - low))

    def bounds(self) -> tuple[Array, Array]:
        """Return the lowest and highest values of pixels, or else of each sample, broadcasting over x."""
        if self.preprocessing is not None:
            return self.preprocessing.bounds()
        axes = tuple(range(1, self.x.ndim))
        # Of numbers alone: fmin and fmax leave out missing values.
        low, high = (f.reduce(self.x, axis=axes, keepdims=True).astype(np.float64) for f in (np.fmin, np.fmax))
        return low, high

    @property
    def _map_axes(self) -> tuple[int, ...]:
        """The axes of x that masks have too."""
        return tuple(1 + axis for axis in self.kind.map_axes)

    def _blurred(self, x: Array) -> Array:
        """Blur by a box of an eighth of each side, three times (nearly a Gaussian)."""
        for axis in self._map_axes * 3:
            x = _box(x, axis, max(1, x.shape[axis] // 8))
        return x

    # -- long runs

    def track(self, total: int, step: int = 1) -> Iterator[slice]:
        """Yield slices of `total` passes, at most `step` at a time; ends early where `progress` says so."""
        for start in range(0, total, step):
            yield slice(start, min(start + step, total))
            if not self.progress(min(start + step, total), total):
                return

    def rows(self, per_sample: int) -> int:
        """Return how many passes of `per_sample` rows fit into a batch."""
        return max(1, (self.batch_size or 32) // max(1, per_sample))


def solve(
    model: ModelInterface, chosen: Method, samples: Samples, ids: Array, preprocessing: Preprocessing | None, **how: Any
) -> tuple[Array, dict[str, Any]]:
    """Explain samples by a method.

    Args:
        model: The model.
        chosen: The method.
        samples: N samples.
        ids: The class of each [N], or several of every sample [T, N].
        preprocessing: The preprocessing of pictures.
        **how: `batch_size`, `progress`, `on_unsupported` and `absent` of the problem.

    Returns:
        Relevance [N, …], or [T, N, …]; and the notes of the method.
    """
    how["columns"] = samples.columns
    found = [chosen(Problem(model, samples.values, row, preprocessing, **how)) for row in np.atleast_2d(ids)]
    if ids.ndim == 1:
        return found[0].relevance, dict(found[0].notes)
    notes = {key: np.stack([np.asarray(one.notes[key]) for one in found]) for key in found[0].notes}
    return np.stack([one.relevance for one in found]), notes


def cast(x: Array, kind: np.dtype[Any]) -> Array:
    """Convert numbers to the type of the input; for integers rounded, and clipped to the type's range."""
    if kind.kind == "f" or x.dtype == kind:
        return np.asarray(x.astype(kind, copy=False))
    if kind.kind == "b":
        return np.asarray(x > 0.5)
    return np.clip(np.rint(x), np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)


def _box(x: Array, axis: int, radius: int) -> Array:
    """Compute the mean of 2·radius + 1 neighbours, repeating the edge."""
    pads = [(radius + 1, radius) if i == axis else (0, 0) for i in range(x.ndim)]
    sums = np.cumsum(np.pad(x, pads, mode="edge"), axis=axis)
    width, n = 2 * radius + 1, x.shape[axis]
    upper, lower = (np.take(sums, range(start, start + n), axis=axis) for start in (width, 0))
    return np.asarray((upper - lower) / width)
