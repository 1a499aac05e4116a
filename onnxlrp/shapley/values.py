"""Shapley values of a column of an ensemble's sums, and interactions of two: interventional, and path-dependent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from ..graph.graph import Array
from ..graph.trees.ensemble import Ensemble
from . import weights
from .paths import Paths, paths, patterns, shares

TABULATED = 7  # players of a path up to which a table has all patterns
_NODES = 1 << 13  # nodes of a part of the trees
_ROWS = 1 << 10  # rows at a time
_CELLS = 1 << 16  # numbers of a block: what stays in a processor's cache

Progress = Callable[[int, int], bool]


class Shap(NamedTuple):
    """Shapley values.

    Attributes:
        values: φ of each row and player [N, P]; or the interaction of each two [N, P, P], 0 on the diagonal.
        empty: How many nodes no background row reaches, where that matters.
        done: Whether all trees were summed.
    """

    values: Array
    empty: int = 0
    done: bool = True


def shap(
    trees: Ensemble,
    x: Array,
    background: Array,
    target: int,
    columns: Array,
    players: int,
    path_dependent: bool = False,
    together: int = 1,
    progress: Progress = lambda done, of: True,
) -> Shap:
    """Compute Shapley values of one result of an ensemble.

    Interventional: v(S) = the mean of f over background rows whose columns in S are those of the row. Path-dependent:
    at a split of a column outside S both branches are taken, each with the share of the background rows that take it
    there.

    Args:
        trees: The ensemble, of which weights are added up.
        x: The rows [N, F] as the trees read them.
        background: The background rows [M, F].
        target: The column of the result.
        columns: The player of each feature [F].
        players: The number of players, P.
        path_dependent: Which of the two.
        together: 1 for Shapley values, 2 for the Shapley interaction index of each two players.
        progress: Told the trees done and their number; returns whether to go on.

    Raises:
        UnsupportedError: A path asks more than 64 players.
    """
    kind = trees.threshold.dtype
    rows, others = (np.ascontiguousarray(values.T.astype(kind, copy=False)) for values in (x, background))
    sums = np.zeros((players**together, len(x)))
    unit = _Single() if together == 1 else _Pair(players)
    empty = 0
    for part, done in _parts(trees, target):
        found = paths(part, columns)
        games: _Games = _Shares(found, others, unit) if path_dependent else _Patterns(found, others, unit)
        empty += games.empty
        value = np.zeros(len(part.mode))
        np.add.at(value, part.leaf, part.weight)
        value = value[found.leaves]
        tables = list(_tables(found, games, value, unit))
        for n in range(0, len(x), _ROWS):
            piece = slice(n, n + _ROWS)
            met = patterns(found, rows[:, piece])
            for table in tables:
                table.add(met, sums[:, piece])
            _without_tables(found, games, value, met, sums[:, piece], unit)
        if not progress(done, len(trees.roots)):
            return Shap(unit.shaped(sums.T), empty, done == len(trees.roots))
    return Shap(unit.shaped(sums.T), empty)


class _Single:
    """Each player by itself."""

    least = 1  # players of a path that has any

    def keys(self, players: Array) -> Array:
        """Return where the sums of the units of paths are [L, k], by the players of the paths [L, d]."""
        return players

    def games(self, count: int) -> Array:
        """Return the table of all patterns [2^d, k, 2^d]."""
        return weights.games(count)

    def of_patterns(self, row: Array, background: Array) -> Array:
        """Return the units' part of a leaf of value 1 for some patterns [B, k, U]."""
        return weights.pairs(row, background)

    def by_shares(self, row: Array, share: Array) -> Array:
        """Return the same where absent players let a share pass [L, k, U]."""
        return weights.by_shares(row, share)

    def shaped(self, sums: Array) -> Array:
        """Return the sums [N, …] as results."""
        return sums


class _Pair(_Single):
    """Each two players; P is the number of all."""

    least = 2

    def __init__(self, players: int) -> None:
        self.players = players

    def keys(self, players: Array) -> Array:
        i, j = np.triu_indices(players.shape[1], 1)
        a, b = players[:, i], players[:, j]
        return np.minimum(a, b) * self.players + np.maximum(a, b)

    def games(self, count: int) -> Array:
        return weights.pair_games(count)

    def of_patterns(self, row: Array, background: Array) -> Array:
        return weights.interactions(row, background)

    def by_shares(self, row: Array, share: Array) -> Array:
        return weights.interactions_by_shares(row, share)

    def shaped(self, sums: Array) -> Array:
        square = sums.reshape(len(sums), self.players, self.players)
        return np.asarray(square + square.transpose(0, 2, 1))


class _Games(Protocol):
    """What the background says of each leaf."""

    empty: int

    def of_all(self, leaves: Array, count: int) -> Array:
        """Return the units' part of leaves of value 1 for all patterns of `count` players [L, k, 2^d]."""
        ...

    def of(self, leaf: int, row: Array) -> Array:
        """Return that of one leaf for some patterns, bool [U, d], as [k, U]."""
        ...


class _Patterns:
    """The patterns of the background rows: interventional."""

    empty = 0

    def __init__(self, found: Paths, background: Array, unit: _Single) -> None:
        self.met, self.unit = patterns(found, background), unit

    def of_all(self, leaves: Array, count: int) -> Array:
        size, met = 1 << count, self.met[leaves].astype(np.intp)
        cells = met + np.arange(len(leaves))[:, None] * size
        often = np.bincount(cells.ravel(), minlength=len(leaves) * size).reshape(len(leaves), size)
        constant = self.unit.games(count).reshape(size, -1)
        return np.asarray((often / met.shape[1]) @ constant).reshape(len(leaves), -1, size)

    def of(self, leaf: int, row: Array) -> Array:
        met, often = np.unique(self.met[leaf], return_counts=True)
        games = self.unit.of_patterns(row, _bits(met, row.shape[1]))
        return np.asarray(np.tensordot(often / self.met.shape[1], games, 1))


class _Shares:
    """The shares of background rows that take each branch: path-dependent."""

    def __init__(self, found: Paths, background: Array, unit: _Single) -> None:
        self.share, self.empty = shares(found, background)
        self.unit = unit

    def of_all(self, leaves: Array, count: int) -> Array:
        return self.unit.by_shares(_bits(np.arange(1 << count), count), self.share[leaves, :count])

    def of(self, leaf: int, row: Array) -> Array:
        return np.asarray(self.unit.by_shares(row, self.share[[leaf], : row.shape[1]])[0])


class _Table(NamedTuple):
    """What leaves with one number of players give, by pattern.

    Attributes:
        leaves: The leaves [L].
        players: Where the sums of their players, or pairs of them, are [L, k].
        values: What these get [L, k, 2^d].
    """

    leaves: Array
    players: Array
    values: Array

    def add(self, met: Array, sums: Array) -> None:
        """Add what rows get of these leaves.

        Args:
            met: The pattern of each row at each leaf [L', N].
            sums: Gets it [P, N].
        """
        count, size = self.values.shape[1:]
        step = max(1, _CELLS // (count * met.shape[1]))
        for n in range(0, len(self.leaves), step):
            which = self.players[n : n + step].ravel()
            order = np.argsort(which, kind="stable")
            cells = met[self.leaves[n + order // count]].astype(np.intp)
            cells += ((n * count + order) * size)[:, None]
            found = self.values.reshape(-1).take(cells)
            which = which[order]
            first = np.flatnonzero(np.concatenate([[True], which[1:] != which[:-1]]))
            sums[which[first]] += np.add.reduceat(found, first, axis=0)


def _tables(found: Paths, games: _Games, value: Array, unit: _Single) -> Iterator[_Table]:
    for count in range(unit.least, min(TABULATED, found.players.shape[1]) + 1):
        leaves = np.flatnonzero((found.counts == count) & (value != 0))
        if len(leaves):
            table = games.of_all(leaves, count) * value[leaves, None, None]
            yield _Table(leaves, unit.keys(found.players[leaves, :count]), table)


def _without_tables(found: Paths, games: _Games, value: Array, met: Array, sums: Array, unit: _Single) -> None:
    """Add what rows get of leaves with many players: for the patterns that occur alone."""
    for leaf in np.flatnonzero((found.counts > TABULATED) & (value != 0)).tolist():
        count = int(found.counts[leaf])
        own, where = np.unique(met[leaf], return_inverse=True)
        sums[unit.keys(found.players[[leaf], :count])[0]] += (
            games.of(leaf, _bits(own, count))[:, where.ravel()] * value[leaf]
        )


def _bits(met: Array, count: int) -> Array:
    """Patterns as bool [U, d]."""
    return (met[:, None].astype(np.uint64) >> np.arange(count, dtype=np.uint64) & np.uint64(1)).astype(bool)


def _parts(trees: Ensemble, target: int) -> Iterator[tuple[Ensemble, int]]:
    """Yield some trees at a time with the weights of one target, and how many trees are done with them."""
    ends = np.append(trees.roots[1:], len(trees.mode))
    kept = trees.target == target
    leaf, weight = trees.leaf[kept], trees.weight[kept]
    first = 0
    while first < len(ends):
        start = int(trees.roots[first])
        last = max(first + 1, int(np.searchsorted(ends, start + _NODES, side="right")))
        stop = int(ends[last - 1])
        low, high = np.searchsorted(leaf, [start, stop])
        if low < high:
            nodes = slice(start, stop)
            yield (
                trees._replace(
                    roots=trees.roots[first:last] - start,
                    feature=trees.feature[nodes],
                    threshold=trees.threshold[nodes],
                    mode=trees.mode[nodes],
                    missing=trees.missing[nodes],
                    true=trees.true[nodes] - start,
                    false=trees.false[nodes] - start,
                    leaf=leaf[low:high] - start,
                    target=np.zeros(high - low, np.int64),
                    weight=weight[low:high],
                    base=np.zeros(1),
                ),
                last,
            )
        first = last
