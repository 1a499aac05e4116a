"""TreeEnsembleRegressor, TreeEnsembleClassifier and TreeEnsemble → arrays, as onnxruntime understands them.

Where the standard leaves a meaning open, or onnxruntime's depends on which leaves a row reaches, it stands here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import UnsupportedError
from ..graph import Array, Layer
from ..operators import TREES
from ..reading.printable import printable
from .ensemble import LEAF, MODES, Ensemble

_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")  # by their numbers in TreeEnsemble
# By the numbers that onnxruntime reads in TreeEnsemble; the standard's have SOFTMAX and LOGISTIC the other way round
# (findings/onnxruntime_tree_ensemble_post_transform.sh).
_TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT")
_MEMBER = 6
_FIX = "explain the model by what hides features: -m kernel_shap"


class Read(NamedTuple):
    """An operator of trees.

    Attributes:
        trees: The ensemble.
        transform: What is computed of its sums: "NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO" or "PROBIT".
        scores: Whether the results are scores of classes.
    """

    trees: Ensemble
    transform: str
    scores: bool


def is_trees(layer: Layer) -> bool:
    """Return whether a layer is an ensemble of trees."""
    return layer.op in TREES


def read(layer: Layer) -> Read:
    """Read an operator of trees.

    Args:
        layer: A layer of one of `operators.TREES`.

    Raises:
        UnsupportedError: The nodes make no trees, or what onnxruntime computes is no function of sums over trees.
    """
    if layer.op == "ai.onnx.ml::TreeEnsemble":
        return _Newer(layer).read()
    return _Older(layer).read()


class _Attributes:
    """The attributes of a layer, and what is refused of it."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.found = layer, layer.attributes

    def refuse(self, what: str) -> UnsupportedError:
        name = printable(self.layer.name)
        return UnsupportedError(f'the {self.layer.op} node "{name}" has {what}', _FIX)

    def integers(self, name: str) -> Array:
        return np.asarray(self.found.get(name, ()), np.int64).reshape(-1)

    def floats(self, name: str) -> Array:
        """Numbers in their own type: doubles where they are a tensor of doubles."""
        tensor = self.found.get(f"{name}_as_tensor")
        if tensor is None:
            tensor = np.asarray(self.found.get(name, ()), np.float32)
        return np.asarray(tensor).reshape(-1)

    def same_length(self, arrays: Mapping[str, Sequence[Any] | Array]) -> None:
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise self.refuse("attributes of several lengths: " + ", ".join(f"{k} {n}" for k, n in lengths.items()))

    def word(self, name: str, default: str, known: Sequence[str]) -> str:
        word = str(self.found.get(name, default))
        if word not in known:
            raise self.refuse(f'{name} "{printable(word)}", which is not known')
        return word

    def checked(self, trees: Ensemble) -> Ensemble:
        """The ensemble, its nodes reached at most once."""
        seen = np.zeros(len(trees.mode), np.int64)
        nodes, depth = trees.roots, 0
        while len(nodes):
            np.add.at(seen, nodes, 1)
            inner = nodes[trees.mode[nodes] != LEAF]
            if seen.max() > 1 or depth > len(trees.mode):
                raise self.refuse("a node that is reached on two paths")
            nodes, depth = np.concatenate([trees.true[inner], trees.false[inner]]), depth + 1
        if not np.isfinite(trees.weight).all() or not np.isfinite(trees.base).all():
            raise self.refuse("weights that are not finite numbers")
        return trees


class _Older(_Attributes):
    """TreeEnsembleRegressor and TreeEnsembleClassifier, of ai.onnx.ml 1 to 4."""

    def read(self) -> Read:
        classifier = self.layer.op == "ai.onnx.ml::TreeEnsembleClassifier"
        kind = "class" if classifier else "target"
        transform = self.word("post_transform", "NONE", _TRANSFORMS)
        aggregate = "SUM" if classifier else self.word("aggregate_function", "SUM", _AGGREGATES)
        nodes, places = self._nodes()
        tree, node, target = (self.integers(f"{kind}_{word}") for word in ("treeids", "nodeids", "ids"))
        weight = self.floats(f"{kind}_weights")
        self.same_length({"treeids": tree, "nodeids": node, "ids": target, "weights": weight})
        try:
            leaf = np.array([places[key] for key in zip(tree.tolist(), node.tolist(), strict=True)], np.int64)
        except KeyError as error:
            raise self.refuse(f"weights of a node {error} that is not there") from None
        labels = next(
            (n for key in ("classlabels_int64s", "classlabels_ints", "classlabels_strings")
             if (n := len(self.found.get(key, ())))), 0,
        )  # fmt: skip
        count = labels if classifier else int(self.found.get("n_targets", 1))
        if count < 1 or ((target < 0) | (target >= count)).any():
            raise self.refuse(f"weights of results beyond its {count}")
        order = np.argsort(leaf, kind="stable")
        order = order[nodes.mode[leaf[order]] == LEAF]  # weights of other nodes are never added
        leaf, target, weight = leaf[order], target[order], weight[order].astype(np.float64)
        if count == 1:  # of several weights of one leaf, onnxruntime adds the first
            first = np.concatenate([[True], leaf[1:] != leaf[:-1]]) if len(leaf) else np.zeros(0, bool)
            leaf, target, weight = leaf[first], target[first], weight[first]
        base = self.floats("base_values").astype(np.float64)
        if len(base) not in ((0, 1, count) if classifier and count == 2 else (0, count)):
            raise self.refuse(f"{len(base)} base values for {count} results")
        trees = nodes._replace(leaf=leaf, target=target, weight=weight, aggregate=aggregate)
        if aggregate == "AVERAGE":
            trees = trees._replace(weight=weight / len(trees.roots), aggregate="SUM")
        if classifier and count == 2:
            return Read(*self._two_classes(self.checked(trees), base, transform), scores=True)
        if count == 1 and transform != "PROBIT":
            transform = "NONE"  # onnxruntime's function of one result
        if not classifier and count > 1:
            base = self._counted(trees, base)
        trees = trees._replace(base=np.zeros(count) if not len(base) else base)
        return Read(self.checked(trees), transform, scores=classifier)

    def _nodes(self) -> tuple[Ensemble, dict[tuple[int, int], int]]:
        """The nodes, without weights, and the number of each by tree and node of the file."""
        words = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
        tree, node, feature, true, false = (self.integers(f"nodes_{word}") for word in words)
        threshold, names = self.floats("nodes_values"), self.found.get("nodes_modes", ())
        missing = self.integers("nodes_missing_value_tracks_true")
        missing = missing if len(missing) else np.zeros(len(tree), np.int64)
        arrays = {"treeids": tree, "nodeids": node, "featureids": feature, "truenodeids": true}
        arrays |= {"falsenodeids": false, "values": threshold, "missing_value_tracks_true": missing}
        self.same_length({**arrays, "modes": names})
        if not len(tree):
            raise self.refuse("no nodes")
        numbers = {name: n for n, name in enumerate(MODES)} | {"LEAF": LEAF}
        try:
            mode = np.array([numbers[name] for name in names], np.uint8)
        except KeyError as error:
            raise self.refuse(f"nodes of mode {error}, which is not known") from None
        keys = list(zip(tree.tolist(), node.tolist(), strict=True))
        places = {key: n for n, key in enumerate(keys)}
        if len(places) < len(keys):
            raise self.refuse("two nodes of one number in a tree")
        # onnxruntime starts a tree at the first of its nodes.
        roots = np.flatnonzero(np.concatenate([[True], tree[1:] != tree[:-1]]))
        if len(roots) > len(np.unique(tree)):
            raise self.refuse("nodes of one tree between those of others")
        own = np.arange(len(tree))
        inner = mode != LEAF
        children = []
        for branch in (true, false):
            try:
                chosen = zip(tree[inner].tolist(), branch[inner].tolist(), strict=True)
                made = own.copy()
                made[inner] = [places[key] for key in chosen]
            except KeyError as error:
                raise self.refuse(f"a branch to a node {error} that is not there") from None
            children.append(made)
        if (feature[inner] < 0).any():
            raise self.refuse("a split of a negative feature")
        nothing = np.zeros(0)
        feature, (yes, no) = np.where(inner, feature, 0), children
        weights = (nothing, nothing, nothing, nothing)
        return Ensemble(roots, feature, threshold, mode, missing != 0, yes, no, *weights), places

    def _counted(self, trees: Ensemble, base: Array) -> Array:
        """The base values as onnxruntime adds them: to results that a leaf which the row reaches adds to."""
        if not len(base):
            return base
        never = ~np.isin(np.arange(len(base)), trees.target)
        base = np.where(never, 0.0, base)
        open_ = [k for k in np.flatnonzero(base).tolist() if not certain(trees, k)]
        if open_:
            raise self.refuse(f"a base value of result {open_[0]}, which onnxruntime adds to some rows alone")
        return base

    def _two_classes(self, trees: Ensemble, base: Array, transform: str) -> tuple[Ensemble, str]:
        """The two scores as sums over the trees.

        Let r₀ and r₁ be the sums of the weights of each class. Where the second has no weights, and with no more than
        one base value, the scores of s = r₀ are [1 - s, s] if no weight is negative, else [-s, s]. Two base values b:
        [-(r₀ + b₁), r₀ + b₁] where the second class has weights.
        """
        ids = set(np.unique(trees.target).tolist())
        if 1 in ids and not certain(trees, 1):
            raise self.refuse("leaves without a weight of the second class, which onnxruntime scores otherwise")
        if 0 in ids and not certain(trees, 0) and len(base) and base[0] != 0:
            raise self.refuse("a base value that onnxruntime adds to some rows alone")
        zero = np.zeros(2)
        if not ids:
            raise self.refuse("no weights")
        if ids == {0} and len(base) < 2:
            positive = bool((trees.weight >= 0).all()) and transform != "LOGISTIC"
            s = base[0] if len(base) else 0.0
            rest = np.array([1.0 - s if positive else -s, s])
            if transform != "LOGISTIC":
                transform = self._of_one(transform)
            return _both(trees)._replace(base=rest), transform
        if len(base) == 2 and 1 in ids:
            if not certain(trees, 0):
                raise self.refuse(
                    "two base values and leaves without a weight of the first class, which onnxruntime scores otherwise"
                )
            kept = trees.target == 0
            trees = trees._replace(leaf=trees.leaf[kept], target=trees.target[kept], weight=trees.weight[kept])
            return _both(trees)._replace(base=np.array([-base[1], base[1]])), transform
        # The second result without weights, or the first, is 0 whatever its base value is.
        added = [base[0] if len(base) and 0 in ids else 0.0, 0.0]
        return trees._replace(base=zero + added), transform

    def _of_one(self, transform: str) -> str:
        if transform == "PROBIT":
            raise self.refuse("the post_transform PROBIT of one score for two classes")
        return "NONE"  # SOFTMAX of one score


def _both(trees: Ensemble) -> Ensemble:
    """The weights s of the first result as those of both: -s and s."""
    leaf = np.repeat(trees.leaf, 2)
    target = np.tile([0, 1], len(trees.leaf))
    weight = (trees.weight[:, None] * [-1.0, 1.0]).ravel()
    return trees._replace(leaf=leaf, target=target, weight=weight)


def certain(trees: Ensemble, target: int) -> bool:
    """Return whether every row reaches a leaf that adds to a result: all leaves of one tree do."""
    tree = np.searchsorted(trees.roots, np.arange(len(trees.mode)), side="right") - 1
    total = np.bincount(tree[trees.mode == LEAF], minlength=len(trees.roots))
    writing = np.unique(trees.leaf[trees.target == target])
    return bool((np.bincount(tree[writing], minlength=len(trees.roots)) == total).any())


class _Newer(_Attributes):
    """TreeEnsemble, of ai.onnx.ml 5: nodes and leaves apart, sets of values as conditions."""

    def read(self) -> Read:
        words = ("featureids", "modes", "truenodeids", "falsenodeids", "trueleafs", "falseleafs")
        feature, mode, true, false, true_leaf, false_leaf = (self._tensor(f"nodes_{word}") for word in words)
        threshold = self._tensor("nodes_splits", np.float32)
        missing = self._tensor("nodes_missing_value_tracks_true")
        missing = missing if len(missing) else np.zeros(len(feature), np.int64)
        arrays = {"featureids": feature, "modes": mode, "truenodeids": true, "falsenodeids": false}
        arrays |= {"trueleafs": true_leaf, "falseleafs": false_leaf, "splits": threshold, "missing": missing}
        self.same_length(arrays)
        target, weight = self._tensor("leaf_targetids"), self._tensor("leaf_weights", np.float32)
        self.same_length({"leaf_targetids": target, "leaf_weights": weight})
        count, roots = int(self.found.get("n_targets", 0)), self._tensor("tree_roots")
        aggregate, transform = int(self.found.get("aggregate_function", 1)), int(self.found.get("post_transform", 0))
        if not (0 <= aggregate < len(_AGGREGATES) and 0 <= transform < len(_TRANSFORMS)):
            raise self.refuse(f"aggregate_function {aggregate} and post_transform {transform}")
        n, m = len(feature), len(target)
        bad = (mode < 0) | (mode > _MEMBER) | (feature < 0)
        for branch, is_leaf in ((true, true_leaf), (false, false_leaf)):
            bad |= (branch < 0) | (branch >= np.where(is_leaf != 0, m, n))
        if bad.any() or not len(roots) or ((roots < 0) | (roots >= n)).any():
            raise self.refuse("branches to nodes that are not there")
        if count < 1 or ((target < 0) | (target >= count)).any():
            raise self.refuse(f"weights of results beyond its {count}")
        kind = threshold.dtype
        own = np.arange(n + m)
        leaves = np.zeros(m, np.int64)
        trees = Ensemble(
            roots=roots,
            feature=np.concatenate([feature, leaves]),
            threshold=np.concatenate([threshold, leaves.astype(kind)]),
            mode=np.concatenate([mode, leaves + LEAF]).astype(np.uint8),
            missing=np.concatenate([missing != 0, leaves != 0]),
            true=np.concatenate([np.where(true_leaf != 0, true + n, true), own[n:]]),
            false=np.concatenate([np.where(false_leaf != 0, false + n, false), own[n:]]),
            leaf=own[n:],
            target=target,
            weight=weight.astype(np.float64),
            base=np.zeros(count),
            aggregate=_AGGREGATES[aggregate],
        )
        if trees.aggregate == "AVERAGE":
            trees = trees._replace(weight=trees.weight / len(roots), aggregate="SUM")
        trees = self._without_sets(trees)
        inner = trees.mode != LEAF
        if np.bincount(np.concatenate([trees.true[inner], trees.false[inner], trees.roots])).max(initial=0) > 1:
            trees = self._spread(trees)
        trees = self.checked(self._in_order(trees))
        name = _TRANSFORMS[transform]
        return Read(trees, name if count > 1 or name == "PROBIT" else "NONE", scores=False)

    def _tensor(self, name: str, kind: Any = np.int64) -> Array:
        found = np.asarray(self.found.get(name, ())).reshape(-1)
        floating = found.dtype.kind == "f" and np.dtype(kind).kind == "f"
        return found if floating and found.dtype != np.float16 else found.astype(kind)

    def _without_sets(self, trees: Ensemble) -> Ensemble:
        """Each condition of a set as equalities, one behind the other; of an empty set one that never holds."""
        members = np.flatnonzero(trees.mode == _MEMBER)
        if not len(members):
            return trees
        values = self._tensor("membership_values", np.float32)
        ends = np.flatnonzero(np.isnan(values))
        sets = np.split(values, ends + 1)[: len(ends)] if len(ends) == len(members) else []
        if len(sets) != len(members):
            raise self.refuse(f"{len(ends)} sets of values for {len(members)} nodes that test one")
        parts: dict[str, list[Any]] = {name: [getattr(trees, name)] for name in _PER_NODE}
        changed = {name: getattr(trees, name).copy() for name in _PER_NODE}
        size = len(trees.mode)
        for node, part in zip(members.tolist(), sets, strict=True):
            options = part[:-1]
            chain = [node, *range(size, size + max(0, len(options) - 1))]
            more = len(chain) - 1
            numbers = options if len(options) else np.array([np.nan], trees.threshold.dtype)
            after = [*chain[1:], int(trees.false[node])]
            changed["mode"][node], changed["threshold"][node], changed["false"][node] = 4, numbers[0], after[0]
            parts["feature"].append(np.full(more, trees.feature[node]))
            parts["threshold"].append(numbers[1:].astype(trees.threshold.dtype))
            parts["mode"].append(np.full(more, 4, np.uint8))
            parts["missing"].append(np.full(more, trees.missing[node]))
            parts["true"].append(np.full(more, trees.true[node]))
            parts["false"].append(np.array(after[1:], np.int64))
            size += more
        arrays: dict[str, Any] = {name: np.concatenate([changed[name], *parts[name][1:]]) for name in _PER_NODE}
        return trees._replace(**arrays)

    def _spread(self, trees: Ensemble) -> Ensemble:
        """A copy of a branch for each node that leads to it, such as the equalities of a set: then it is a tree."""
        most = max(_MOST_NODES, 16 * len(trees.mode))
        arrays = {name: list(getattr(trees, name).tolist()) for name in _PER_NODE}
        weights: dict[int, list[tuple[int, float]]] = {}
        for leaf, target, weight in zip(trees.leaf.tolist(), trees.target.tolist(), trees.weight.tolist(), strict=True):
            weights.setdefault(leaf, []).append((target, weight))
        seen = set(trees.roots.tolist())

        def copied(node: int) -> int:
            new = len(arrays["mode"])
            for name in _PER_NODE:
                arrays[name].append(arrays[name][node])
            if arrays["mode"][node] == LEAF:
                arrays["true"][new] = arrays["false"][new] = new
                weights[new] = list(weights.get(node, []))
            return new

        todo = list(seen)
        while todo:
            node = todo.pop()
            if arrays["mode"][node] == LEAF:
                continue
            for branch in ("true", "false"):
                child = arrays[branch][node]
                if child in seen:
                    child = arrays[branch][node] = copied(child)
                if len(arrays["mode"]) > most:
                    raise self.refuse("nodes that are reached on too many paths")
                seen.add(child)
                todo.append(child)
        leaf = [node for node, pairs in weights.items() for _ in pairs]
        pairs = [pair for found in weights.values() for pair in found]
        kinds = {name: getattr(trees, name).dtype for name in _PER_NODE}
        made: dict[str, Any] = {name: np.array(arrays[name], kinds[name]) for name in _PER_NODE}
        return trees._replace(
            **made,
            leaf=np.array(leaf, np.int64),
            target=np.array([target for target, _ in pairs], np.int64),
            weight=np.array([weight for _, weight in pairs]),
        )

    def _in_order(self, trees: Ensemble) -> Ensemble:
        """The nodes of each tree together, its root first."""
        placed = np.full(len(trees.mode), -1)
        order: list[int] = []
        for root in trees.roots.tolist():
            todo = [root]
            while todo:
                node = todo.pop()
                if placed[node] >= 0:
                    raise self.refuse("a node that is reached on two paths")
                placed[node] = len(order)
                order.append(node)
                if trees.mode[node] != LEAF:
                    todo += [int(trees.false[node]), int(trees.true[node])]
        arrays: dict[str, Any] = {name: getattr(trees, name)[order] for name in _PER_NODE}
        arrays |= {name: placed[arrays[name]] for name in ("true", "false")}
        kept = placed[trees.leaf] >= 0
        leaf = placed[trees.leaf[kept]]
        by = np.argsort(leaf, kind="stable")
        weights: dict[str, Any] = {"leaf": leaf[by], "target": trees.target[kept][by], "weight": trees.weight[kept][by]}
        return trees._replace(roots=placed[trees.roots], **arrays, **weights)


_PER_NODE = ("feature", "threshold", "mode", "missing", "true", "false")
_MOST_NODES = 1 << 16
