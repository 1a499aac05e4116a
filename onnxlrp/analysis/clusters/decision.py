"""How many clusters there are: by agreement, and by cuts against those of shuffled maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from ...files import to_jsonable
from ..extras import library
from .graph import Array, NeighbourGraph, agreement, k_means
from .maps import Maps

MOST = 8  # clusters
AGREE = 0.9  # least agreement over grids and numbers of neighbours
MARGIN = 0.25  # a cluster's conductance, of the lowest of all shuffled sets
FEWEST = 5  # neighbours: with fewer, a graph of one continuous set falls apart
DECIDE_ON = 4000  # maps that the decision looks at
Progress = Callable[[int, int], bool]


@dataclass(frozen=True, eq=False)
class Decision:
    """The number of clusters, and what it was decided by.

    Attributes:
        count: K; 1 where nothing was found.
        agreement: Mean adjusted Rand index over grids and numbers of neighbours, by the number of clusters.
        conductance: The conductances of the clusters, by the number of clusters.
        null: The lowest conductance of any set that an eigenvector cuts off, in each shuffled set.
        eigenvalue: λ₂ of the maps' graph: 0 where it has several components.
        null_eigenvalues: λ₂ of each shuffled set.
        components: Connected components of the maps' graph.
        neighbours: k of the graph.
        grid: Rows and columns of the pooled maps.
        maps: The number of maps that the decision looked at.
    """

    count: int
    agreement: dict[int, float]
    conductance: dict[int, list[float]]
    null: Array
    eigenvalue: float
    null_eigenvalues: Array
    components: int
    neighbours: int
    grid: int
    maps: int

    @property
    def lowest(self) -> float:
        """The lowest conductance of any cluster."""
        return min((min(values) for values in self.conductance.values()), default=1.0)

    @property
    def p(self) -> float:
        """The share of shuffled sets, and of the maps themselves, whose lowest conductance is as low."""
        return float(1 + (self.null <= self.lowest).sum()) / (1 + len(self.null))

    @property
    def threshold(self) -> float:
        """The highest conductance of a cluster that counts as cut off."""
        return MARGIN * float(self.null.min()) if len(self.null) else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        made = {name: getattr(self, name) for name in self.__dataclass_fields__}
        made |= {"lowest_conductance": self.lowest, "threshold": self.threshold, "p": self.p}
        plain: dict[str, Any] = to_jsonable(made)
        return plain


@dataclass(frozen=True)
class Decider:
    """Decides how many clusters there are.

    A number of clusters K counts where clusterings over several grids and numbers of neighbours agree, and where every
    one of the K clusters is cut off from the others far better than the best cluster of any shuffled set: its
    conductance is at most a quarter of the lowest there. The largest such K is taken. Shuffled maps keep their shapes
    and lose their common places; a set of maps that varies continuously has about the cuts of its shuffled sets.

    Attributes:
        grid: Rows and columns of the pooled maps; half and twice of it are tried too.
        neighbours: k of the graph; about 0.7 and 1.5 times of it are tried too. 0: 10, or fewer
            where there are few maps.
        null_sets: Shuffled sets.
        seed: Of shuffles, k-means, and of the maps that are looked at where there are very many.
    """

    grid: int = 16
    neighbours: int = 0
    null_sets: int = 19
    seed: int = 0
    progress: Progress = field(default=lambda done, total: True)

    def __call__(self, maps: Maps) -> Decision:
        """Decide for maps [n, …], none of them zero."""
        # One thread: the sets are small, and threads that wait for each other take far longer on a busy machine.
        with library("threadpoolctl", "clustering").threadpool_limits(1):
            return self._decided(maps)

    def _decided(self, maps: Maps) -> Decision:
        rng = np.random.default_rng(self.seed)
        if len(maps) > DECIDE_ON:
            maps = maps.take(np.sort(rng.choice(len(maps), DECIDE_ON, replace=False)))
        k = self.k(len(maps))
        graph = NeighbourGraph.of(maps.features(self.grid), k)
        values, vectors = graph.spectrum(MOST)
        own = dict(self._clusterings(vectors))
        cuts = {count: graph.conductance(labels).tolist() for count, labels in own.items()}
        null = [self._null(maps.shuffled(rng), k) for n in range(self.null_sets) if self.progress(n, self.null_sets)]
        agreed = self._agreement(maps, k, own)
        found = Decision(1, agreed, cuts, np.array([phi for phi, _ in null]), float(values[1]),
                         np.array([second for _, second in null]), len(graph.components), k, self.grid,
                         len(maps))  # fmt: skip
        good = [c for c in own if agreed[c] >= AGREE and max(cuts[c]) <= found.threshold]
        return Decision(**{**found.__dict__, "count": max(good, default=1)})

    def k(self, maps: int) -> int:
        """Return the number of neighbours for so many maps: a component has at least one more member than these."""
        return min(maps - 1, self.neighbours or min(10, max(FEWEST, maps // 20)))

    def _clusterings(self, vectors: Array) -> Iterator[tuple[int, Array]]:
        for count in range(2, min(MOST, vectors.shape[1]) + 1):
            labels = k_means(vectors[:, :count], count, self.seed)
            if labels is not None:
                yield count, labels

    def _null(self, maps: Maps, k: int) -> tuple[float, float]:
        """Return the lowest conductance of any set that an eigenvector cuts off, and λ₂."""
        graph = NeighbourGraph.of(maps.features(self.grid), k)
        values, vectors = graph.spectrum(MOST)
        return graph.sweep(vectors[:, 1:], k + 1), float(values[1])

    def _agreement(self, maps: Maps, k: int, own: dict[int, Array]) -> dict[int, float]:
        """Return the mean agreement over all choices, by the number of clusters; 0 where a choice has too few."""
        labelings: dict[int, list[Array]] = {count: [labels] for count, labels in own.items()}
        ks = sorted({min(k, max(FEWEST, round(k * 0.7))), k, min(len(maps) - 1, round(k * 1.5))})
        choices = [(grid, n) for grid, n in product(maps.grids(self.grid), ks) if (grid, n) != (self.grid, k)]
        for grid, neighbours in choices:
            _, vectors = NeighbourGraph.of(maps.features(grid), neighbours).spectrum(MOST)
            for count, labels in self._clusterings(vectors):
                labelings.setdefault(count, []).append(labels)
        whole = 1 + len(choices)
        return {count: agreement(found) if len(found) == whole else 0.0 for count, found in labelings.items()}
