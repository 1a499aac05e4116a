"""Exact Shapley values of ensembles of trees, against a background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError, one_of
from ..graph.graph import Graph
from ..graph.trees.routes import routed
from ..inputs import InputKind
from ..shapley.values import shap
from .baselines import background
from .problem import Problem
from .registry import Array, Attribution, method

VARIANTS = ("interventional", "path_dependent")
_AGREES = 1e-3  # how near the sums of the trees are to the model's own, as a share of the largest


@method("tree_shap", paper="Lundberg et al. 2020", passes="1 over all trees")
@dataclass(frozen=True)
class TreeShap:
    """R = the Shapley value φ_j of column j for a sum of trees, exactly; ΣR = f(x) - E f(background).

    Interventional: v(S) is the mean of f over the background rows, their columns in S those of x. Path-dependent: where
    a split asks a column outside S, both branches count, each with the share of the background rows that take it
    there; a file has no such shares. f is what stands before Softmax or Sigmoid. At each leaf the background rows are
    counted by the conditions of the path that they meet, and the games of these counts are looked up for every row.

    Interactions: Φ_jk = I_jk / 2 of the Shapley interaction index I of two columns, and Φ_jj = φ_j - Σ_{k ≠ j} Φ_jk, so
    that Σ_k Φ_jk = φ_j; they are in the notes.

    Args:
        background: Rows such as of the training set: an array, a .csv, .parquet or .npy file, or a folder of such.
        perturbation: "interventional" or "path_dependent".
        interactions: Whether to compute those of each two columns too, [N, K, K].

    Raises:
        UsageError: There is no background, or no such perturbation.
        UnsupportedError: The scores are no sums of trees, or a feature of a tree is made of several columns.

    References:
        Lundberg et al., From local explanations to global understanding with explainable AI for trees, Nature Machine
        Intelligence 2020.
        Grabisch and Roubens, An axiomatic approach to the concept of interaction among players in cooperative games,
        International Journal of Game Theory 1999.
    """

    background: str | Array = ""
    perturbation: str = "interventional"
    interactions: bool = False

    def __post_init__(self) -> None:
        one_of(VARIANTS, perturbation=self.perturbation)

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise what speaks against a model, or that there is no background."""
        routed(graph)
        if isinstance(self.background, str) and not self.background:
            raise UsageError(
                "tree_shap explains trees against background rows, and none are given",
                'background=rows, such as of the training set: an array, or "train.csv"',
                "--background train.csv (or .parquet, .npy, a folder): rows such as of the training set; -m occlusion "
                "needs none",
            )

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        graph = problem.model.graph
        self.check(graph, problem.kind)
        name, rows = background(problem, self.background)
        rows = rows.astype(problem.x.dtype)
        count = int(np.prod(problem.x.shape[1:]))
        values, own, mean = np.zeros((len(problem.x), count)), np.zeros(len(problem.x)), np.zeros(len(problem.x))
        found, empty = routed(graph), 0
        both = np.zeros((len(problem.x), count, count) if self.interactions else 0)
        orders = (1, 2) if self.interactions else (1,)
        logits, others = _logits(problem, problem.x), _logits(problem, rows)
        for place, (term, players) in enumerate(found):
            x, behind = (_read(problem, term.source, z) for z in (problem.x, rows))
            # What no column changes is a player of its own, which gets nothing.
            seats = np.where(players < 0, count, players)
            for target in np.unique(problem.ids).tolist():
                at = np.flatnonzero(problem.ids == target)
                for together in orders:
                    start, steps = place * len(orders) + together - 1, len(found) * len(orders)
                    made = shap(
                        term.trees,
                        x[at],
                        behind,
                        target,
                        seats,
                        count + 1,
                        self.perturbation == VARIANTS[1],
                        together,
                        lambda done, of, start=start, steps=steps: problem.progress(start * of + done, steps * of),  # type: ignore[misc]
                    )
                    if together == 1:
                        values[at] += made.values[:, :count]
                    else:
                        both[at] += made.values[:, :count, :count] / 2
                    empty = max(empty, made.empty)
        rows_of = np.arange(len(problem.x))
        own, mean = logits[rows_of, problem.ids], others.mean(axis=0)[problem.ids]
        total = values.sum(axis=1)
        notes = {
            "ΣR": total,
            "mean over the background": mean,
            "difference": total - (own - mean),
            "background": f"{len(rows)} rows of {name}",
        }
        if self.interactions:
            own_share = np.arange(count)
            both[:, own_share, own_share] = values - both.sum(axis=2)
            notes["interactions"] = both
        if empty:
            notes["halved"] = f"at {empty} splits, which no background row reaches"
        off = float(np.abs(notes["difference"]).max())
        if not off <= _AGREES * max(1.0, float(np.abs(logits).max()), float(np.abs(others).max())):
            notes["incomplete"] = "the trees' sums are not the model's own, or the run was ended"
        return Attribution(values.reshape(problem.x.shape), notes)


def _logits(problem: Problem, x: Array) -> Array:
    at = np.arange(len(x)) if len(x) == len(problem.x) else np.zeros(len(x), int)
    return problem.logits(x, at).astype(np.float64)


def _read(problem: Problem, tensor: str, x: Array) -> Array:
    """The rows as trees read them [n, F]."""
    graph = problem.model.graph
    layer = graph.producer(tensor)
    if layer is None:
        return x.reshape(len(x), -1)
    at = np.arange(len(x)) if len(x) == len(problem.x) else np.zeros(len(x), int)
    found = problem.model.outputs(x, activations=[layer.label], at=at, batch_size=problem.batch_size)
    return found[f"activation/{layer.label}"].reshape(len(x), -1)
