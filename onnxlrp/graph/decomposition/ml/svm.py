"""Support vector machines of ai.onnx.ml: their decision functions, read from the attributes and written as layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...graph import Array, Layer
from .branch import Branch

CLASSIFIER, REGRESSOR = "ai.onnx.ml::SVMClassifier", "ai.onnx.ml::SVMRegressor"
_SOME = 32  # support vectors that the level of the sums is measured at
ABSENT = -1e30  # the logarithm of a coefficient that is zero, finite for products with zero


class Machine(NamedTuple):
    """The decision functions f = Σ a k(s, x) + b of a support vector machine.

    Attributes:
        kernel: "LINEAR", "RBF", "POLY" or "SIGMOID".
        gamma: γ of the kernels exp(−γ‖x − s‖²), (γ s·x + c)^d and tanh(γ s·x + c).
        offset: c.
        degree: d.
        vectors: s [S, D].
        coefficients: a [F, S].
        intercepts: b [F].
        classes: C, whose pairs (i, j), i < j, have a function each, f > 0 for i; 0 of a regression.
        one_class: The result is the sign of f.
    """

    kernel: str
    gamma: float
    offset: float
    degree: float
    vectors: Array
    coefficients: Array
    intercepts: Array
    classes: int = 0
    one_class: bool = False


def read(layer: Layer) -> Machine | None:
    """Return the machine that a layer states, in float64; None for another operator, or attributes that do not fit."""
    if layer.op not in (CLASSIFIER, REGRESSOR):
        return None
    try:
        return _read(layer)
    except (TypeError, ValueError):  # attributes of other types, in a damaged file
        return None


def _read(layer: Layer) -> Machine | None:
    given = layer.attributes
    kernel = str(given.get("kernel_type", "LINEAR"))
    params = [float(v) for v in given.get("kernel_params", ())] + [0.0, 0.0, 0.0]
    stored, flat = (np.asarray(given.get(k, ()), np.float64) for k in ("coefficients", "support_vectors"))
    rho = np.asarray(given.get("rho", ()), np.float64)
    if kernel not in ("LINEAR", "RBF", "POLY", "SIGMOID") or not stored.size or not rho.size:
        return None
    form = kernel, params[0], params[1], params[2]
    if layer.op == REGRESSOR:
        return _regression(layer, form, stored, flat, rho)
    per_class = [int(n) for n in given.get("vectors_per_class", ())]
    count, classes = sum(per_class), len(per_class)
    names = given.get("classlabels_ints", ()) or given.get("classlabels_strings", ())
    pairs = classes * (classes - 1) // 2
    fits = classes == len(names) >= 2 and count and flat.size % count == 0 and rho.size == pairs
    if not fits or stored.size != (classes - 1) * count:
        return None
    alone = stored.reshape(classes - 1, count)
    ends = np.cumsum([0, *per_class])
    own = [slice(ends[i], ends[i + 1]) for i in range(classes)]
    coefficients = np.zeros((pairs, count))
    for row, (i, j) in enumerate(pairs_of(classes)):
        coefficients[row, own[i]] = alone[j - 1, own[i]]
        coefficients[row, own[j]] = alone[i, own[j]]
    return Machine(*form, flat.reshape(count, -1), coefficients, rho, classes)


def _regression(
    layer: Layer, form: tuple[str, float, float, float], stored: Array, flat: Array, rho: Array
) -> Machine | None:
    count = int(layer.attributes.get("n_supports", 0))
    if layer.attributes.get("post_transform", "NONE") != "NONE" or rho.size != 1:
        return None
    one_class = bool(layer.attributes.get("one_class", 0))
    if not count:  # weights of a linear model
        return Machine("LINEAR", *form[1:], stored[None], np.ones((1, 1)), rho, 0, one_class)
    if stored.size != count or flat.size % count:
        return None
    return Machine(*form, flat.reshape(count, -1), stored[None], rho, 0, one_class)


def pairs_of(classes: int) -> list[tuple[int, int]]:
    """Return the pairs of classes, in the order of their decision functions."""
    return [(i, j) for i in range(classes) for j in range(i + 1, classes)]


def values(branch: Branch, machine: Machine, x: str) -> str:
    """Write the values f [N, F] of a machine whose kernel is no RBF.

    A kernel k(γ s·x) is written as k(z₀ + γ s·(x − x₀)) − k(z₀), x₀ the mean of the support vectors and z₀ = γ s·x₀, so
    that it is 0 where its argument is. Then the share of a feature in the argument, which ε gives it, times the kernel,
    which passes, is the integral of the gradient along the straight path from x₀: the argument is linear in the path.

    Args:
        branch: Gets the layers.
        machine: The machine.
        x: The tensor that it reads, [N, D].

    References:
        Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017.
    """
    vectors, a, b = machine.vectors, machine.coefficients, machine.intercepts
    if machine.kernel == "LINEAR":
        return branch.gemm(x, vectors.T @ a.T, b, "decisions")
    start = vectors.mean(axis=0)
    begin = machine.gamma * (vectors @ start) + machine.offset
    moved = branch.add("Sub", x, branch.constant(start, "start"), word="from_start", shape=start.shape)
    products = branch.gemm(moved, machine.gamma * vectors.T, None, "products")
    inner = branch.add("Add", products, branch.constant(begin, "at_start"), word="arguments", shape=begin.shape)
    if machine.kernel == "POLY":
        kernels = branch.add(
            "Pow", inner, branch.constant(np.array(machine.degree), "degree"), word="kernels", shape=begin.shape
        )
        first = begin**machine.degree
    else:
        kernels = branch.add("Tanh", inner, word="kernels", shape=begin.shape)
        first = np.tanh(begin)
    gained = branch.add("Sub", kernels, branch.constant(first, "first"), word="gained", shape=begin.shape)
    return branch.gemm(gained, a.T, b + a @ first, "decisions")


def log_kernels(branch: Branch, machine: Machine, x: str) -> str:
    """Write −γ‖x − s‖² [N, S], by the differences themselves: their squares expanded would lose digits."""
    count, width = machine.vectors.shape
    row = branch.unsqueeze(x, 1, "row", (1, width))
    vectors = branch.constant(machine.vectors, "vectors")
    apart = branch.add("Sub", row, vectors, word="differences", shape=(count, width))
    squares = branch.reduce("ReduceSumSquare", apart, 2, "distances", (count,))
    return branch.add(
        "Mul", squares, branch.constant(np.array(-machine.gamma), "width"), word="logarithms", shape=(count,)
    )


def log_ratios(branch: Branch, machine: Machine, x: str) -> str:
    """Write g = ln Σ₊ a k − ln Σ₋ |a| k [N, F] of an RBF machine, the intercept as a unit of kernel 1.

    g has the sign of f. Both sums are divided by one number, so that g is no difference of large ones.

    Args:
        branch: Gets the layers.
        machine: The machine; where an intercept is 0 there is no unit of it.
        x: The tensor that it reads, [N, D].

    References:
        Bley et al., Fast and accurate explanations of distance-based classifiers by uncovering latent explanatory
        structures, 2025.
    """
    weights = np.concatenate([machine.coefficients, machine.intercepts[:, None]], axis=1)
    functions, units = weights.shape
    kernels = log_kernels(branch, machine, x)
    ends = branch.constant(np.array([0, 0, 0, 1]), "one_more")
    padded = branch.add("Pad", kernels, ends, word="units", shape=(units,), mode="constant")
    sides = np.concatenate([weights, -weights])  # those for, then those against
    logarithms = np.log(np.maximum(sides, np.exp(-200.0)), where=sides > 0, out=np.full(sides.shape, ABSENT))
    logarithms -= np.where(sides > 0, _level(machine, logarithms), 0)
    # Each sum has few of all units: those of two classes, on one side.
    most = max(1, int((sides > 0).sum(axis=1).max()))
    own = np.argsort(sides <= 0, axis=1, kind="stable")[:, :most]
    logarithms = np.take_along_axis(logarithms, own, axis=1)
    row = branch.take(padded, own, "units_of_sides", own.shape)
    coefficients = branch.constant(logarithms, "log_coefficients")
    weighted = branch.add("Add", row, coefficients, word="weighted", shape=own.shape)
    evidence = branch.reduce("ReduceLogSumExp", weighted, 2, "evidence", (2 * functions,))
    for_, against = (
        branch.take(evidence, np.arange(functions) + start, word, (functions,))
        for start, word in ((0, "for"), (functions, "against"))
    )
    return branch.add("Sub", for_, against, word="log_ratios", shape=(functions,))


def _level(machine: Machine, logarithms: Array) -> Array:
    """The mean of both logarithms of sums [2 F, 1] of each function over some of its own support vectors."""
    some = machine.vectors[:: -(-len(machine.vectors) // _SOME)]
    squares = ((some[:, None] - machine.vectors) ** 2).sum(axis=2)
    kernels = np.pad(-machine.gamma * squares, ((0, 0), (0, 1)))
    sums = np.logaddexp.reduce(kernels[:, None] + logarithms, axis=2).mean(axis=0)
    means = sums.reshape(2, -1).mean(axis=0)
    return np.asarray(np.concatenate([means, means])[:, None])
