"""Graphs of nearest neighbours: their spectrum, k-means in it, and how well a cluster is cut off."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extras import library

Array = npt.NDArray[Any]

_WHAT = "clustering"
_DENSE = 200  # components up to this size are decomposed densely


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """An undirected graph in which vectors are joined that are among each other's nearest neighbours.

    Two vectors are joined where one is among the k nearest of the other.

    Attributes:
        adjacency: Sparse matrix [n, n] of 0 and 1 (scipy, CSR).
    """

    adjacency: Any

    @classmethod
    def of(cls, features: Array, neighbours: int) -> NeighbourGraph:
        """Build the graph of vectors [n, d] by Euclidean distance; distances are computed in blocks, never [n, n].

        Args:
            features: The vectors.
            neighbours: k.
        """
        nearest = library("sklearn.neighbors", _WHAT).NearestNeighbors(n_neighbors=neighbours, algorithm="brute")
        one_way = nearest.fit(features).kneighbors_graph(mode="connectivity")  # without a vector itself
        return cls(one_way.maximum(one_way.T).tocsr())

    @cached_property
    def degrees(self) -> Array:
        """The neighbours of each vector [n]."""
        return np.asarray(self.adjacency.sum(axis=1)).ravel()

    @cached_property
    def components(self) -> list[Array]:
        """The members of each connected component, the largest first."""
        _, labels = library("scipy.sparse.csgraph", _WHAT).connected_components(self.adjacency, directed=False)
        members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
        return sorted(members, key=len, reverse=True)

    def spectrum(self, count: int) -> tuple[Array, Array]:
        """Compute the lowest eigenvalues of the normalised Laplacian L = 1 − D^-½ A D^-½, and D^-½ of its eigenvectors.

        Each connected component is decomposed alone, so that an eigenvalue 0 has exactly one vector in each.

        Args:
            count: The number of eigenvalues; fewer where there are fewer vectors.

        Returns:
            Eigenvalues [m] in rising order, from 0 to 2, and vectors [n, m].
        """
        found: list[tuple[float, Array, Array]] = []
        for members in self.components:
            values, vectors = self._of_component(members, min(count, len(members)))
            found += [(value, members, vector) for value, vector in zip(values, vectors.T, strict=True)]
        found.sort(key=lambda one: one[0])  # stable: of equal ones, that of the larger component first
        found = found[:count]
        vectors = np.zeros((len(self.degrees), len(found)))
        for column, (_, members, vector) in enumerate(found):
            vectors[members, column] = vector
        return np.array([value for value, _, _ in found]), vectors

    def _of_component(self, members: Array, count: int) -> tuple[Array, Array]:
        whole = len(members) == len(self.degrees)
        inner = self.adjacency if whole else self.adjacency[members][:, members]
        root = 1 / np.sqrt(self.degrees[members])
        scaled = inner.multiply(root[:, None]).multiply(root[None, :]).tocsr()
        if len(members) <= max(_DENSE, 2 * count + 2):
            values, vectors = np.linalg.eigh(scaled.toarray())
        else:
            start = np.random.default_rng(0).random(len(members)) + 0.5
            values, vectors = library("scipy.sparse.linalg", _WHAT).eigsh(scaled, k=count, which="LA", v0=start)
        order = np.argsort(-values)[:count]
        values = np.clip(1 - values[order], 0, 2)
        values[0] = 0.0  # exactly, as the theory has it
        return values, vectors[:, order] * root[:, None]

    def conductance(self, labels: Array) -> Array:
        """Compute the conductance of each cluster: the edges out of it over the ends of edges in it, or outside.

        φ(C) = cut(C) / min(vol C, vol of the others); 0 for a cluster without an edge to the others.

        Args:
            labels: The cluster of each vector [n], 0 to K - 1.
        """
        count = int(labels.max()) + 1
        one_hot = np.eye(count)[labels]
        between = one_hot.T @ (self.adjacency @ one_hot)
        volume = between.sum(axis=1)
        cut = volume - np.diag(between)
        return np.asarray(cut / np.maximum(np.minimum(volume, volume.sum() - volume), 1e-12))

    def sweep(self, vectors: Array, least: int) -> float:
        """Compute the lowest conductance of any set that is a start of an eigenvector's order (Cheeger's sweep).

        Args:
            vectors: Eigenvectors [n, m], as `spectrum` gives them.
            least: The least size of a set, and of what is left.
        """
        edges = self.adjacency.tocoo()
        n, lowest = len(self.degrees), 1.0
        sizes = np.arange(1, n)
        for vector in vectors.T:
            order = np.argsort(vector, kind="stable")
            place = np.empty(n, int)
            place[order] = np.arange(n)
            first, last = np.minimum(place[edges.row], place[edges.col]), np.maximum(place[edges.row], place[edges.col])
            # A set of the first s is left by the edges whose ends have places below s, and s or more.
            steps = np.bincount(first + 1, minlength=n + 1) - np.bincount(last + 1, minlength=n + 1)
            cut = np.cumsum(steps)[1:n] / 2  # each edge is there in both directions
            volume = np.cumsum(self.degrees[order])[:-1]
            values = cut / np.minimum(volume, self.degrees.sum() - volume)
            allowed = values[(sizes >= least) & (n - sizes >= least)]
            lowest = min(lowest, *allowed.tolist()) if len(allowed) else lowest
        return lowest


def k_means(vectors: Array, clusters: int, seed: int) -> Array | None:
    """Return the cluster of each vector [n], the largest cluster first; None where there are fewer different vectors.

    Args:
        vectors: The vectors [n, d].
        clusters: The number of clusters.
        seed: The seed of the starts.
    """
    means = library("sklearn.cluster", _WHAT).KMeans(clusters, n_init=4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different vectors than clusters: told by the answer
        labels = means.fit_predict(vectors)
    sizes = np.bincount(labels, minlength=clusters)
    if not sizes.all():
        return None
    rank = np.empty(clusters, int)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(clusters)
    return np.asarray(rank[labels])


def agreement(labelings: list[Array]) -> float:
    """Compute the mean adjusted Rand index over all pairs of clusterings: 1 for the same, about 0 by chance."""
    score = library("sklearn.metrics", _WHAT).adjusted_rand_score
    pairs = [score(a, b) for n, a in enumerate(labelings) for b in labelings[:n]]
    return float(np.mean(pairs))
