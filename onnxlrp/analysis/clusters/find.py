"""Find the clusters of a model's heatmaps: explain samples batch by batch, keep small maps, decide, gather examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ...errors import InputError, UsageError, at_least
from ...explanation import Explanation
from ...inputs import InputKind
from ...preprocessing.samples import several_sizes
from ...streaming.batches import Batch
from ..reading import Progress, Reject, go_on, read, refuse, source_of
from .decision import MOST, Decider
from .graph import Array, NeighbourGraph, k_means
from .maps import FINEST, Maps, joined, of_relevance
from .result import ClusterResult
from .sheet import Example

LEAST = 20  # samples
EXAMPLES = 6  # of a cluster
EIGENVECTORS = 32  # kept in the embedding, as in the paper


class Explainer(Protocol):
    """The interface of a model that is asked for explanations."""

    def explain(self, x: Any, target: Any = "top1", method: Any = "auto", **keywords: Any) -> Explanation:
        """Explain samples."""
        ...


@dataclass
class Collected:
    """What is kept of the samples: small maps, names, where they come from, the model's answers."""

    maps: list[Array] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    origins: list[tuple[Any, int]] = field(default_factory=list)  # the item, and the sample's position in it
    targets: list[Array] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)
    first: Explanation | None = None

    def add(self, batch: Batch, explained: Explanation) -> None:
        """Add a batch."""
        if self.first is None:
            self.first = explained
        elif explained.kind.grid != self.kind.grid:
            sizes = {self.kind.shape: self.names, explained.kind.shape: batch[0].samples[0].names}
            raise several_sizes(sizes, batch[0].samples[0].pictures)
        self.maps.append(of_relevance(explained.relevance, explained.kind).astype(np.float32))
        for piece in batch:
            self.names += piece.samples[0].names
            self.origins += [(piece.item, piece.start + n) for n in range(len(piece))]
        self.targets.append(explained.target)
        self.answers.append(explained.output.reshape(len(explained), -1).argmax(axis=1))

    @property
    def kind(self) -> InputKind:
        """The kind of the input."""
        assert self.first is not None
        return self.first.kind

    def __len__(self) -> int:
        return len(self.names)


class Clusters(ClusterResult):
    """Clusters of the heatmaps of a class: the strategies that the model has for it (SpRAy).

    `Clusters.find(model, images, target)` finds them. Cluster 0 is the largest.

    References:
        Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really learn".
    """

    @classmethod
    def find(cls, model: Any, x: Any, target: Any = "top1", method: Any = "auto", **keywords: Any) -> Clusters:
        """Explain samples for a class, and find the clusters of their heatmaps.

        Heatmaps are summed over colours, pooled, and divided by their Σ|R|. They are joined to their nearest
        neighbours, and the graph is cut by k-means in the lowest eigenvectors of its Laplacian. How many clusters there
        are, and whether there are any, is decided by agreement between several grids and numbers of neighbours, and by
        the conductance of each cluster against that of shuffled maps.

        Args:
            model: The model, as `onnxlrp.load` returns it.
            x: Files, folders, globs; or arrays and pictures.
            target: The class that all are explained for: an id or a label.
            method: The method of the heatmaps.
            **keywords: `grid`, `neighbours`, `null_sets`, `seed`, `batch_size`, `progress`, and further keywords of
                `Model.explain`.

        Raises:
            UsageError: An option that does not fit, or scikit-learn is not installed.
            InputError: Fewer than 20 samples with relevance, or samples of several sizes.
        """
        return find(model, x, target, method, **keywords)


def find(
    model: Explainer,
    x: Any,
    target: Any = "top1",
    method: Any = "auto",
    *,
    grid: int = 16,
    neighbours: int = 0,
    null_sets: int = 19,
    seed: int = 0,
    batch_size: int = 8,
    progress: Progress = go_on,
    reject: Reject = refuse,
    watch: Callable[[Batch, Explanation], None] | None = None,
    **keywords: Any,
) -> Clusters:
    """Find the clusters of the heatmaps of samples, as `Clusters.find` does.

    Args:
        model: The model.
        x: The samples.
        target: The class that all are explained for, or ExplainOptions that are ready.
        method: The method.
        grid: Rows and columns of the pooled maps.
        neighbours: Of each map, in the graph; 0 for 10, or fewer where there are few maps.
        null_sets: Sets of shuffled maps.
        seed: The seed.
        batch_size: Samples of a batch.
        progress: Told of the items done.
        reject: Told of items that cannot be read.
        watch: Told of each batch and its explanation.
        **keywords: Further keywords of `Model.explain`.

    Raises:
        UsageError: An option that does not fit, or scikit-learn is not installed.
        InputError: Too few samples, or samples of several sizes.
    """
    at_least(2, whole=True, grid=grid)
    at_least(0, whole=True, neighbours=neighbours, seed=seed)
    at_least(4, whole=True, null_sets=null_sets)
    if grid > FINEST:
        raise UsageError(f"grid={grid}", f"give {FINEST} or less: maps are pooled to at most so many rows and columns")
    kept = Collected()

    def explain(samples: Sequence[Any]) -> Explanation:
        # Options that are ready take the place of all keywords.
        words = keywords if isinstance(target, str | int) else {}
        return model.explain(list(samples), target, method, **words)

    source = source_of(x)
    for batch in read(model, source, batch_size, progress, reject):
        explained = explain([piece.samples[0] for piece in batch])
        if explained.target.ndim > 1:
            raise UsageError("several targets of each sample", "give one class: -t CLASS")
        kept.add(batch, explained)
        if watch is not None:
            watch(batch, explained)
    decider = Decider(grid, neighbours, null_sets, seed)
    return _decided(kept, decider, lambda n: _example(kept, n, explain, model))


def _decided(kept: Collected, decider: Decider, example: Callable[[int], Example]) -> Clusters:
    """Cut the maps into clusters, and gather the examples of each."""
    maps = joined(kept.maps, kept.kind) if len(kept) else Maps(np.zeros((0, 1, 1)))
    used = maps.used
    if len(used) < LEAST:
        zero = len(kept) - len(used)
        beside = f" ({zero} more have no relevance at all)" if zero else ""
        raise InputError(
            f"{len(used)} heatmaps{beside}: clusters need {LEAST} or more", "give more pictures of the class"
        )
    decision = decider(maps.take(used))
    features = maps.take(used).features(decider.grid)
    values, vectors = NeighbourGraph.of(features, decision.neighbours).spectrum(max(MOST, min(EIGENVECTORS, len(used))))
    own = k_means(vectors[:, : decision.count], decision.count, decider.seed) if decision.count > 1 else None
    labels = np.full(len(kept), -1)
    labels[used] = 0 if own is None else own
    means, rows = [], []
    for cluster in range(labels.max() + 1):
        members = used[labels[used] == cluster]
        inside = features[labels[used] == cluster]
        means.append(inside.mean(axis=0))
        distance = np.linalg.norm(inside - means[-1], axis=1)
        rows.append([example(int(n)) for n in members[np.argsort(distance, kind="stable")[:EXAMPLES]]])
    assert kept.first is not None
    shape = (len(means), min(decider.grid, maps.values.shape[1]), -1)
    return Clusters(
        labels=labels,
        names=kept.names,
        decision=decision,
        means=np.stack(means).reshape(shape),
        embedding=_scattered(vectors, used, len(kept)),
        eigenvalues=values,
        targets=np.concatenate(kept.targets),
        answers=np.concatenate(kept.answers),
        examples=rows,
        class_names=kept.first.labels,
        provenance={**kept.first.to_dict()["provenance"], "seed": decider.seed, "null_sets": decider.null_sets},
    )


def _scattered(vectors: Array, used: Array, count: int) -> Array:
    """Rows of all samples; NaN where a map is zero."""
    whole = np.full((count, vectors.shape[1]), np.nan, np.float32)
    whole[used] = vectors
    return whole


def _example(kept: Collected, sample: int, explain: Callable[[Sequence[Any]], Explanation], model: Any) -> Example:
    """Read and explain a sample again, for its picture."""
    item, position = kept.origins[sample]
    explained = explain([item.read(model)[position : position + 1]])
    seen = explained.images[0] if explained.images else None
    return Example(sample, kept.names[sample], seen, explained.kind.to_drawing(explained.relevance[0]))
