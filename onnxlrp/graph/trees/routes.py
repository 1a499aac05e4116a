"""What lies around trees: how the explained sums are made of them, and which column of the input each feature is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ...errors import UnsupportedError
from ..graph import Array, Graph, Layer
from ..operators import COPIES, ELEMENTWISE
from ..outputs.heads import head_of
from ..reading.printable import printable
from .ensemble import LEAF, Ensemble
from .reading import is_trees, read

NOTHING, SEVERAL = -1, -2  # a feature that no column changes; one that several change
_FIX = "methods that hide columns explain any model: -m kernel_shap, with --baseline a typical row"


class Term(NamedTuple):
    """Trees, with weights for the explained scores.

    Attributes:
        trees: The ensemble; its results are the scores.
        source: The tensor that it reads.
    """

    trees: Ensemble
    source: str


def terms(graph: Graph, scores: str) -> tuple[Term, ...]:
    """Return the trees whose sum the scores are.

    Args:
        graph: The graph.
        scores: A tensor with a number for each class.

    Raises:
        UnsupportedError: The scores are no sums of trees, with factors and constants.
    """
    needed, layers = {scores}, []
    for layer in reversed(graph.layers):
        if needed.intersection(layer.outputs):
            layers.append(layer)
            needed.update(() if is_trees(layer) else layer.inputs)
    layers.reverse()
    found = {layer.outputs[-1]: read(layer) for layer in layers if is_trees(layer)}
    if not found:
        raise UnsupportedError(f'no trees make the scores "{printable(scores)}"', _FIX)
    sources = {layer.outputs[-1]: layer.inputs[0] for layer in layers if is_trees(layer)}
    width = 1 + sum(one.trees.targets for one in found.values())
    # Each number as a constant and a factor of each result of the trees, on an axis behind its own.
    known: dict[str, Array] = {}
    place = 1
    for name, one in found.items():
        if one.transform != "NONE":
            raise UnsupportedError(f"trees end in {one.transform}, which is no sum of them", _FIX)
        if one.trees.aggregate != "SUM":
            raise UnsupportedError(
                f"the {one.trees.aggregate} over trees has no Shapley values that are sums over trees", _FIX
            )
        count = one.trees.targets
        known[name] = np.zeros((1, *graph.shapes[name], width))
        known[name].reshape(count, width)[np.arange(count), place + np.arange(count)] = 1
        place += count
    for layer in layers:
        if not is_trees(layer):
            known[layer.outputs[0]] = _affine(graph, layer, known)
    if scores not in known:
        raise UnsupportedError(f'the label of trees, "{printable(scores)}", is no sum of them', _FIX)
    whole = known[scores].reshape(-1, width)
    made, place, base = [], 1, whole[:, 0]
    for name, one in found.items():
        factors = whole[:, place : place + one.trees.targets].T
        made.append(Term(_scaled(one.trees, factors, base), sources[name]))
        place, base = place + one.trees.targets, np.zeros_like(base)
    return tuple(made)


def _scaled(trees: Ensemble, factors: Array, base: Array) -> Ensemble:
    """The ensemble with its results multiplied by a matrix [K, S]."""
    own = trees.base @ factors + base
    if factors.shape[0] == factors.shape[1] and (factors == np.eye(len(factors))).all():
        return trees._replace(base=own)
    each = factors[trees.target]
    rows, target = np.nonzero(each)
    return trees._replace(
        leaf=trees.leaf[rows], target=target, weight=trees.weight[rows] * each[rows, target], base=own
    )


def _affine(graph: Graph, layer: Layer, known: Mapping[str, Array]) -> Array:
    """The result of a layer of known operands. Raises UnsupportedError where it is not affine in them."""
    name = printable(layer.label)
    live = [n for n in layer.inputs if n and n not in graph.constants]
    unknown = [n for n in live if n not in known]
    if unknown:
        raise UnsupportedError(f'{layer.op} "{name}" mixes trees with something else', _FIX)
    function = _AFFINE.get(layer.op)
    whole = graph.dtypes.get(layer.outputs[0], "float32").startswith("float")
    made = function(graph, layer, known) if function and whole else None
    if made is None:
        raise UnsupportedError(f'{layer.op} "{name}" stands behind trees, and is no sum of them', _FIX)
    return made.reshape(1, *graph.shapes[layer.outputs[0]], made.shape[-1])


_Known = Mapping[str, Array]


def _same(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    return known.get(layer.inputs[0])


def _sum(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    """Sums, differences, means: of affine operands and constants."""
    signs = [1.0] * len(layer.inputs)
    if layer.op == "Sub":
        signs[1] = -1.0
    if layer.op == "Mean":
        signs = [1 / len(signs)] * len(signs)
    width = next(known[n].shape[-1] for n in layer.inputs if n in known)
    total: Array = np.zeros(width)
    for n, sign in zip(layer.inputs, signs, strict=True):
        part = known[n] if n in known else _constant(graph, n, width)
        total = total + sign * part
    return total


def _constant(graph: Graph, name: str, width: int) -> Array:
    value = np.asarray(graph.constants[name], np.float64)
    return np.concatenate([value[..., None], np.zeros((*value.shape, width - 1))], axis=-1)


def _product(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    """A product with a constant, or a quotient by one."""
    a, b = layer.inputs
    if b in graph.constants and a in known:
        factor = np.asarray(graph.constants[b], np.float64)
        return known[a] * (1 / factor if layer.op == "Div" else factor)[..., None]
    if a in graph.constants and layer.op == "Mul":
        return known[b] * np.asarray(graph.constants[a], np.float64)[..., None]
    return None


def _negative(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    return -known[layer.inputs[0]]


def _joined(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    rank = len(graph.shapes[layer.outputs[0]]) + 1
    axis = int(layer.attributes["axis"]) % rank
    width = next(known[n].shape[-1] for n in layer.inputs if n in known)
    parts = [known[n] if n in known else _constant(graph, n, width) for n in layer.inputs]
    return np.concatenate(parts, axis=axis)


def _reduced(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    value = known[layer.inputs[0]]
    axes = layer.attributes.get("axes")
    if len(layer.inputs) > 1 and layer.inputs[1]:
        axes = graph.constants.get(layer.inputs[1])
        if axes is None:
            return None
    rank = value.ndim - 1
    chosen = tuple(int(a) % rank for a in np.atleast_1d(axes)) if axes is not None else tuple(range(rank))
    if 0 in chosen:
        return None
    return np.asarray(value.mean(axis=chosen)) if layer.op == "ReduceMean" else np.asarray(value.sum(axis=chosen))


def _product_with_matrix(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    x, matrix = layer.inputs[:2]
    if x not in known or matrix not in graph.constants or layer.attributes.get("transA", 0):
        return None
    w = np.asarray(graph.constants[matrix], np.float64)
    w = w.T if layer.attributes.get("transB", 0) else w
    if w.ndim != 2:
        return None
    made = np.moveaxis(np.moveaxis(known[x], -1, 0) @ w, 0, -1) * float(layer.attributes.get("alpha", 1.0))
    if len(layer.inputs) > 2 and layer.inputs[2]:
        bias = _constant(graph, layer.inputs[2], made.shape[-1]) * float(layer.attributes.get("beta", 1.0))
        made = made + bias
    return made


def _moved(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    return _moves(graph, layer, known[layer.inputs[0]], trailing=1)


_Function = Callable[[Graph, Layer, _Known], Array | None]
_AFFINE: Mapping[str, _Function] = {
    **dict.fromkeys(sorted({"Add", "Sub"}), _sum),
    **dict.fromkeys(sorted({"Sum", "Mean"}), _sum),
    **dict.fromkeys(sorted({"Mul", "Div"}), _product),
    **dict.fromkeys(sorted({"Identity", "Cast"}), _same),
    **dict.fromkeys(sorted({"Reshape", "Flatten"}), _same),
    **dict.fromkeys(sorted({"Squeeze", "Unsqueeze"}), _same),
    **dict.fromkeys(sorted({"Gather", "Slice"}), _moved),
    **dict.fromkeys(sorted({"ReduceSum", "ReduceMean"}), _reduced),
    **dict.fromkeys(sorted({"MatMul", "Gemm"}), _product_with_matrix),
    "Neg": _negative,
    "Concat": _joined,
    "Transpose": _moved,
}


def _moves(graph: Graph, layer: Layer, value: Array, trailing: int = 0) -> Array | None:
    """A value [1, …] with its elements moved as a layer does; None where it is none that moves them."""
    constants = [graph.constants.get(n) for n in layer.inputs[1:]]
    rank = value.ndim - trailing
    if layer.op == "Transpose":
        order = [int(n) for n in layer.attributes["perm"]]
        return np.transpose(value, [*order, *range(rank, value.ndim)]) if order[0] == 0 else None
    if any(c is None for c, n in zip(constants, layer.inputs[1:], strict=True) if n):
        return None
    if layer.op == "Gather":
        axis = int(layer.attributes.get("axis", 0)) % rank
        indices = np.asarray(constants[0])
        return np.take(value, indices, axis=axis) if axis else None
    starts, ends, *rest = (np.atleast_1d(np.asarray(c)) if c is not None else None for c in constants)
    assert starts is not None
    assert ends is not None
    axes = rest[0] if rest and rest[0] is not None else np.arange(len(starts))
    steps = rest[1] if len(rest) > 1 and rest[1] is not None else np.ones(len(starts), np.int64)
    cut = [slice(None)] * value.ndim
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps.tolist(), strict=True):
        if axis % rank == 0:
            return None
        stop = None if step < 0 and end < -value.shape[axis % rank] else end
        cut[axis % rank] = slice(start, stop, step)
    return value[tuple(cut)]


def columns(graph: Graph, tensor: str) -> Array:
    """Return which column of the explained input each number of a tensor depends on, in its order.

    A column is a number of the first input. `NOTHING` is that of a constant, `SEVERAL` of what several columns change,
    or another input.

    Args:
        graph: The graph.
        tensor: An activation.
    """
    first = graph.inputs[0]
    known: dict[str, Array] = {t.name: np.full((1, *t.shape), SEVERAL) for t in graph.inputs}
    known[first.name] = np.arange(int(np.prod(first.shape))).reshape(1, *first.shape)
    needed = {tensor}
    for layer in reversed(graph.layers):
        if needed.intersection(layer.outputs):
            needed.update(layer.inputs)
    for layer in graph.layers:
        for name in needed.intersection(layer.outputs):
            shape = (1, *graph.shapes[name])
            found = _columns(graph, layer, known) if name == layer.outputs[0] else None
            if found is None:
                found = np.full(shape, _one_of([known[n] for n in layer.inputs if n in known]))
            known[name] = np.broadcast_to(found, shape) if found.size == 1 else found.reshape(shape)
    return known[tensor].ravel()


def _columns(graph: Graph, layer: Layer, known: _Known) -> Array | None:
    """The columns of a layer's result; None where each of its numbers may depend on all of its operands."""
    live = [known[n] for n in layer.inputs if n in known]
    if layer.op in ELEMENTWISE and layer.op not in COPIES:
        shape = (1, *graph.shapes[layer.outputs[0]])
        total = np.full(shape, NOTHING)
        for part in live:
            part = np.broadcast_to(part, shape)
            total = np.where((total == part) | (part == NOTHING), total, np.where(total == NOTHING, part, SEVERAL))
        return total
    if layer.op == "ReduceSum" and layer.inputs[0] in known:
        return _together(graph, layer, known[layer.inputs[0]])
    return moved(graph, layer, known, NOTHING)


def _together(graph: Graph, layer: Layer, value: Array) -> Array | None:
    """The columns of sums over constant axes, of which the batch is none."""
    axes = graph.constants.get(layer.inputs[1]) if len(layer.inputs) > 1 else layer.attributes.get("axes")
    chosen = sorted({int(a) % value.ndim for a in np.atleast_1d(axes)}) if axes is not None else []
    if not chosen or chosen[0] == 0:
        return None
    for axis in reversed(chosen):
        parts = np.moveaxis(value, axis, 0)
        total = np.full(parts.shape[1:], NOTHING)
        for part in parts:
            total = np.where((total == part) | (part == NOTHING), total, np.where(total == NOTHING, part, SEVERAL))
        value = total
    return value


def moved(graph: Graph, layer: Layer, known: _Known, constant: float) -> Array | None:
    """Return a value for each number of a layer's result, of those of its operands [1, …]; None where it moves none.

    Args:
        graph: The graph.
        layer: The layer.
        known: A value for each number of tensors; those that are not here have none.
        constant: The value of constants.
    """
    live = [known[n] for n in layer.inputs if n in known]
    function = _AFFINE.get(layer.op)
    if function is _same and len(live) == 1:
        return live[0]
    if function is _joined:
        rank = len(graph.shapes[layer.outputs[0]]) + 1
        parts = [known[n] if n in known else np.full(_sized(graph, n), constant) for n in layer.inputs]
        return np.concatenate(parts, axis=int(layer.attributes["axis"]) % rank)
    if function is _moved and len(live) == 1 and layer.inputs[0] in known:
        return _moves(graph, layer, live[0])
    return None


def _sized(graph: Graph, name: str) -> tuple[int, ...]:
    return np.shape(graph.constants[name]) if name in graph.constants else (1, *graph.shapes[name])


def _one_of(parts: list[Array]) -> int:
    """The one column of all numbers of some arrays, or `SEVERAL`."""
    seen = set().union(*(np.unique(part).tolist() for part in parts)) - {NOTHING} if parts else set()
    return int(seen.pop()) if len(seen) == 1 else (SEVERAL if seen else NOTHING)


def routed(graph: Graph) -> list[tuple[Term, Array]]:
    """Return the trees whose sum is explained, and the column that each of their features is of.

    Raises:
        UnsupportedError: The scores are no sums of trees, or a feature is made of several columns.
    """
    found = []
    for term in terms(graph, head_of(graph, graph.outputs[0].name).logits):
        players, asked = columns(graph, term.source), np.unique(term.trees.feature[term.trees.mode != LEAF])
        if len(asked) and asked.max() >= len(players):
            raise UnsupportedError(
                f"trees read feature {asked.max()} of {len(players)}", "export the model with all of its columns"
            )
        mixed = asked[players[asked] == SEVERAL]
        if len(mixed):
            raise UnsupportedError(
                f"feature {mixed[0]} of the trees is made of several columns, or of another input",
                "-m kernel_shap explains the columns; or export the model with the trees' own features as its input",
            )
        found.append((term, players))
    return found


def explained_by_trees(graph: Graph) -> bool:
    """Return whether `routed` finds trees: whether Shapley values of sums of trees explain the scores."""
    try:
        routed(graph)
    except UnsupportedError:
        return False
    return True
