"""The conditions of each leaf by player, and which of them rows meet, as bits.

A player is a column of the input; a leaf's path asks a few of them, some several times. Bit i of a row's pattern at a
leaf is set where the row meets all that the path asks of the leaf's player i.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import UnsupportedError
from ..graph.graph import Array
from ..graph.trees.ensemble import LEAF, Ensemble, taken

_MOST = 64  # bits of a pattern


class Level(NamedTuple):
    """The nodes of one depth below the roots.

    Attributes:
        nodes: The nodes [n].
        parents: Where the parent of each is among the nodes of the level above.
        true: Whether each is the true branch.
        slot: Which bit of the pattern the decision above a node is about.
        new: Whether the path asks this player for the first time.
    """

    nodes: Array
    parents: Array
    true: Array
    slot: Array
    new: Array


class Paths(NamedTuple):
    """The paths of an ensemble.

    Attributes:
        trees: The ensemble.
        roots: Those roots that are leaves come first in `leaves`.
        levels: The nodes of each depth from 1 on.
        leaves: The leaves [L], by depth.
        counts: How many players each path asks [L].
        players: They, by bit [L, D]; -1 behind the last.
    """

    trees: Ensemble
    levels: tuple[Level, ...]
    leaves: Array
    counts: Array
    players: Array

    @property
    def bits(self) -> np.dtype[np.unsignedinteger]:
        """The smallest type that holds a pattern."""
        most = self.players.shape[1]
        return np.dtype(next(kind for kind in ("u1", "u2", "u4", "u8") if most <= 8 * np.dtype(kind).itemsize))


def paths(trees: Ensemble, columns: Array) -> Paths:
    """Follow all paths of an ensemble.

    Args:
        trees: The ensemble.
        columns: The player of each feature [F].

    Raises:
        UnsupportedError: A path asks more than 64 players.
    """
    nodes, asked = trees.roots, np.full((len(trees.roots), 0), -1)
    count = np.zeros(len(nodes), np.int64)
    levels, ends, counts, players = [], [], [], []
    while True:
        leaf = trees.mode[nodes] == LEAF
        ends.append(nodes[leaf])
        counts.append(count[leaf])
        players.append(asked[leaf])
        above = np.flatnonzero(~leaf)
        if not len(above):
            break
        player = columns[trees.feature[nodes[above]]]
        known = asked[above] == player[:, None]
        old = known.any(axis=1)
        slot = np.where(old, known.argmax(axis=1) if known.shape[1] else 0, count[above])
        wide = np.concatenate([asked[above], np.full((len(above), 1), -1)], axis=1)
        wide[np.arange(len(above)), slot] = player
        wide = wide[:, : int((count[above] + ~old).max(initial=0))]
        levels.append(
            Level(
                np.concatenate([trees.true[nodes[above]], trees.false[nodes[above]]]),
                np.tile(above, 2),
                np.repeat([True, False], len(above)),
                np.tile(slot, 2),
                np.tile(~old, 2),
            )
        )
        nodes, asked, count = levels[-1].nodes, np.tile(wide, (2, 1)), np.tile(count[above] + ~old, 2)
    most = max(part.shape[1] for part in players)
    if most > _MOST:
        raise UnsupportedError(
            f"a path through the trees asks {most} columns, and 64 are possible", "-m kernel_shap estimates them"
        )
    padded = [np.pad(part, ((0, 0), (0, most - part.shape[1])), constant_values=-1) for part in players]
    return Paths(trees, tuple(levels), np.concatenate(ends), np.concatenate(counts), np.concatenate(padded))


def patterns(found: Paths, x: Array) -> Array:
    """Return the pattern of each row at each leaf [L, N].

    Args:
        found: The paths.
        x: The rows as columns [F, N], in the type of the thresholds.
    """
    made = np.empty((len(found.leaves), x.shape[1]), found.bits)
    place = 0
    for nodes, met in _down(found, x):
        rows = met[found.trees.mode[nodes] == LEAF]
        made[place : place + len(rows)] = rows
        place += len(rows)
    return made


def _down(found: Paths, x: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the nodes of each depth, and the pattern of each row at each of them."""
    trees, kind = found.trees, found.bits.type
    nodes, met = trees.roots, np.zeros((len(trees.roots), x.shape[1]), found.bits)
    yield nodes, met
    for level in found.levels:
        half = len(level.nodes) // 2
        above = level.parents[:half]
        asking = nodes[above]
        yes = taken(trees, asking[:, None], x[trees.feature[asking]])
        bit = np.left_shift(kind(1), level.slot[:half].astype(found.bits))[:, None]
        before = met[above] | (bit * level.new[:half, None])
        chosen = yes * bit  # the bit, where the true branch is taken
        met = np.concatenate([before & (chosen | ~bit), before & ~chosen])
        nodes = level.nodes
        yield nodes, met


def shares(found: Paths, x: Array) -> tuple[Array, int]:
    """Return which share of rows passes what a path asks of each player, given that it comes there [L, D].

    Where no row reaches a node, both of its branches get a half.

    Args:
        found: The paths.
        x: The rows as columns [F, M], in the type of the thresholds.

    Returns:
        The shares, 1 behind the last player; and how many nodes that decide no row reaches.
    """
    made = np.ones(found.players.shape)
    share = np.ones((len(found.trees.roots), found.players.shape[1]))
    cover = np.full(len(found.trees.roots), x.shape[1])
    place, empty = 0, 0
    widths = np.zeros(len(found.trees.roots), np.int64)
    for depth, (nodes, met) in enumerate(_down(found, x)):
        if depth:
            level = found.levels[depth - 1]
            parent, above = cover[level.parents], share[level.parents]
            inside = _asked(level, widths)
            full = np.left_shift(np.uint64(1), inside.astype(np.uint64)) - np.uint64(1)
            full = np.where(inside == _MOST, ~np.uint64(0), full).astype(found.bits)
            cover = (met == full[:, None]).sum(axis=1)
            factor = np.where(parent > 0, cover / np.maximum(parent, 1), 0.5)
            empty += int((parent == 0).sum()) // 2
            share = above.copy()
            share[np.arange(len(nodes)), level.slot] *= factor
            widths = inside
        leaf = found.trees.mode[nodes] == LEAF
        made[place : place + leaf.sum()] = share[leaf]
        place += int(leaf.sum())
    return made, empty


def _asked(level: Level, above: Array) -> Array:
    """How many players the path to each node of a level asks."""
    return np.asarray(above[level.parents] + level.new)
