"""An ensemble of trees as arrays, and its sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..graph import Array

LEAF = 255
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
# Whether a row takes the true branch, for each mode: where its value is above the threshold, equal, below, or NaN.
_TAKEN = np.array(
    [
        [False, True, True, False],
        [False, False, True, False],
        [True, True, False, False],
        [True, False, False, False],
        [False, True, False, False],
        [True, False, True, True],
    ]
)
_NAN = 3
_CELLS = 1 << 20  # rows x nodes at a time


class Ensemble(NamedTuple):
    """Trees, each node a number; the nodes of a tree lie together, its root first.

    Attributes:
        roots: The root of each tree [T].
        feature: The column that a node reads [n].
        threshold: What it compares the value with [n], in the type in which it does.
        mode: How: an index of `MODES`, or `LEAF` [n].
        missing: Whether NaN takes the true branch [n].
        true: The node of the true branch [n]; of a leaf itself.
        false: The node of the false branch [n]; of a leaf itself.
        leaf: The leaf of each weight [m].
        target: The column of the result that each weight adds to [m].
        weight: The weights [m], in float64; divided by the number of trees where their mean is taken.
        base: What is added to each column of the result [K].
        aggregate: "SUM", or "MIN" or "MAX" over the trees.
    """

    roots: Array
    feature: Array
    threshold: Array
    mode: Array
    missing: Array
    true: Array
    false: Array
    leaf: Array
    target: Array
    weight: Array
    base: Array
    aggregate: str = "SUM"

    @property
    def targets(self) -> int:
        """The number of columns of the result, K."""
        return len(self.base)

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return int((self.mode == LEAF).sum())

    @property
    def depth(self) -> int:
        """The number of decisions on the longest path."""
        return len(levels(self)) - 1


def levels(trees: Ensemble) -> list[Array]:
    """Return the nodes of each depth, the roots first."""
    found, nodes = [], trees.roots
    while len(nodes):
        found.append(nodes)
        inner = nodes[trees.mode[nodes] != LEAF]
        nodes = np.concatenate([trees.true[inner], trees.false[inner]])
    return found


def taken(trees: Ensemble, nodes: Array, values: Array) -> Array:
    """Return whether values take the true branch of nodes that are no leaves.

    Args:
        trees: The ensemble.
        nodes: Nodes, which broadcast with the values.
        values: What the nodes' features are, in the type of the thresholds.
    """
    threshold, missing = trees.threshold[nodes], trees.missing[nodes]
    modes = trees.mode[nodes]
    if not modes.size:
        return np.zeros(np.broadcast_shapes(modes.shape, values.shape), bool)
    first = int(modes.flat[0])
    if first < 2 and (modes == first).all():  # the modes that exporters write
        found = values <= threshold if first == 0 else values < threshold
    else:
        order = (values == threshold) + 2 * (values < threshold).astype(np.uint8)
        order = np.where(np.isnan(values), np.uint8(_NAN), order)
        found = _TAKEN[modes, order]
    return found | (missing & np.isnan(values)) if missing.any() else found


def reached(trees: Ensemble, x: Array) -> Array:
    """Return the leaf that each row reaches in each tree [N, T].

    Args:
        trees: The ensemble.
        x: Rows [N, F], in the type of the thresholds.
    """
    nodes = np.broadcast_to(trees.roots, (len(x), len(trees.roots))).copy()
    rows = np.arange(len(x))[:, None]
    while len(open_ := np.flatnonzero((trees.mode[nodes] != LEAF).any(axis=0))):
        at = nodes[:, open_]
        inner = trees.mode[at] != LEAF
        safe = np.where(inner, at, trees.roots[open_])
        found = taken(trees, safe, x[rows, trees.feature[safe]])
        nodes[:, open_] = np.where(inner, np.where(found, trees.true[safe], trees.false[safe]), at)
    return nodes


def margins(trees: Ensemble, x: Array) -> Array:
    """Compute the results of an ensemble before any function of them [N, K], in float64.

    Σ_t w_t(x) + b, or the least or largest w_t(x).

    Args:
        trees: The ensemble.
        x: Rows [N, F]; they are compared in the type of the thresholds.
    """
    x = x.astype(trees.threshold.dtype, copy=False)
    starts = np.searchsorted(trees.leaf, np.arange(len(trees.mode) + 1))
    step = max(1, _CELLS // max(1, len(trees.roots)))
    return np.concatenate([_margins(trees, x[n : n + step], starts) for n in range(0, len(x), step)])


def _margins(trees: Ensemble, x: Array, starts: Array) -> Array:
    ends = reached(trees, x)
    counts = starts[ends + 1] - starts[ends]
    rows = np.repeat(np.broadcast_to(np.arange(len(x))[:, None], ends.shape).ravel(), counts.ravel())
    first = np.repeat(starts[ends].ravel() - np.cumsum(counts.ravel()) + counts.ravel(), counts.ravel())
    which = first + np.arange(len(rows))
    cells = rows * trees.targets + trees.target[which]
    shape = (len(x), trees.targets)
    if trees.aggregate == "SUM":
        sums = np.bincount(cells, trees.weight[which], len(x) * trees.targets)
        return np.asarray(sums.reshape(shape) + trees.base)
    made = np.full(len(x) * trees.targets, np.inf if trees.aggregate == "MIN" else -np.inf)
    (np.minimum if trees.aggregate == "MIN" else np.maximum).at(made, cells, trees.weight[which])
    return np.asarray(np.where(np.isinf(made), 0.0, made).reshape(shape) + trees.base)
