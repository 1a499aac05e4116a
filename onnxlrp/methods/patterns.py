"""Estimate the patterns of linear layers from samples, batch by batch (Kindermans et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compile import WeightedLayer, weighted_layers
from ..errors import InputError, NothingToDo, UnsupportedError, UsageError, did_you_mean
from ..graph import operators
from ..graph.graph import Graph
from ..graph.outputs.units import of_tensor
from ..patterns import Patterns
from ..program.linear import Conv
from .registry import Array

if TYPE_CHECKING:
    from .problem import ModelInterface

ESTIMATORS = ("positive", "two_component", "linear")
PIECE = 1 << 23  # numbers of a layer in float64 at a time: 64 MB
NOISE = 1e-10  # a covariance below this share of the terms that cancel in it is rounding


def estimate(model: ModelInterface, batches: Iterable[Array], estimator: str = "positive") -> Patterns:
    """Estimate the patterns A of every Conv, Gemm and MatMul; of convolutions, from all their positions.

    With y = wᵀx + b, w one neuron's weights, and E₊ the mean where y > 0,

        positive       c = E₊[xy] − E₊[x] E₊[y]   the covariance where y > 0; wᵀc is a variance
        two_component  c = E₊[xy] − E₊[x] E[y]    the estimator S_{a+−} of Kindermans et al. 2018
        linear         c = E[xy] − E[x] E[y]      the estimator S_a

    and a = c / wᵀc, so that wᵀa = 1. Large biases, such as those of folded normalisations, bring the wᵀc of
    two_component near 0, and its patterns are long there. Layers that no rectifier follows (the last one, those
    before a sum) use linear, whatever the estimator. A neuron without covariance (never active) has a = 0;
    `about["silent"]` counts them by layer.

    Only forward passes are run. They need two float64 arrays of each weight's size (four times the weights), the
    activations of these layers for a batch, and 64 MB or the largest layer of a sample if that is more.

    Args:
        model: The model.
        batches: Batches [N, …] of its input, each of one size, where the file leaves sizes open.
        estimator: "positive", "two_component" or "linear".

    Raises:
        UsageError: The estimator does not exist.
        UnsupportedError: The model has no such layers.
        NothingToDo: There are no samples.
        InputError: Activations are not finite, or no neuron varies.

    References:
        Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and PatternAttribution".
    """
    if estimator not in ESTIMATORS:
        raise UsageError(f'there is no estimator "{estimator}"', did_you_mean(estimator, ESTIMATORS))
    layers, _ = weighted_layers(model.graph)
    if not layers:
        raise UnsupportedError(
            f"{model.graph.source or 'the model'} has no Conv, Gemm or MatMul with a constant weight",
            "patterns need linear layers; use another method",
        )
    moments = [Moments(layer, estimator == "linear" or not rectified(model.graph, layer.result)) for layer in layers]
    names = dict.fromkeys(name for layer in layers for name in (layer.operand, layer.result))
    tensors = [of_tensor(model.graph, name) for name in names]
    samples = 0
    shape = model.graph.inputs[0].shape
    for x in batches:
        if x.shape[1:] != shape:  # windows meet other elements
            shape = x.shape[1:]
            own, _ = weighted_layers(model.at(shape).graph)
            for layer, sums in zip(own, moments, strict=True):
                sums.geometry = _geometry(layer)
        found = model.outputs(x, activations=tensors)
        for layer, sums in zip(layers, moments, strict=True):
            sums.add(found[f"activation/{layer.operand}"], found[f"activation/{layer.result}"])
        samples += len(x)
    if not samples:
        raise NothingToDo("no samples to estimate patterns from", "give a folder of images")
    made = {layer.node: sums.pattern(estimator) for layer, sums in zip(layers, moments, strict=True)}
    silent = {layer.label: made[layer.node][1] for layer in layers if made[layer.node][1]}
    arrays = {node: array for node, (array, _) in made.items()}
    wrong = [layer.label for layer in layers if not np.isfinite(arrays[layer.node]).all()]
    if wrong or not any(array.any() for array in arrays.values()):
        what = f"the activations of {wrong[0]!r} are not finite" if wrong else "no neuron ever varies"
        raise InputError(f"no patterns from {samples} samples: {what}", "give more images like those of the training")
    return Patterns(arrays, model.graph.sha256, {"estimator": estimator, "samples": samples, "silent": silent})


def rectified(graph: Graph, tensor: str) -> bool:
    """Return whether only rectifiers read a tensor, directly or behind a max pooling."""
    readers = graph.consumers(tensor)
    if tensor in {output.name for output in graph.outputs} or not readers:
        return False
    return all(r.op in operators.RECTIFIERS or (r.op == "MaxPool" and rectified(graph, r.outputs[0])) for r in readers)


class Moments:
    """Sums of a layer's operand x, its result y and their products, over the positions that count for each neuron.

    Neurons are [group, outputs of the group], x is [*taps of the kernel, group, inputs of the group].
    """

    def __init__(self, layer: WeightedLayer, everywhere: bool = False) -> None:
        self.layer, self.everywhere = layer, everywhere
        self.geometry = geometry = _geometry(layer)
        neurons = (geometry.group, geometry.outputs)
        self.positions = 0
        self.y = np.zeros(neurons)
        self.count, self.counted_y = np.zeros(neurons), np.zeros(neurons)
        # Where every position counts, all neurons share the operand's mean.
        means = (geometry.group, 1 if everywhere else geometry.outputs, geometry.inputs)
        self.x = np.zeros((*geometry.taps, *means))
        self.xy = np.zeros((*geometry.taps, *neurons, geometry.inputs))

    def add(self, x: Array, y: Array) -> None:
        """Add samples: the operand [N, …] and the result [N, …] of the layer."""
        step = max(1, PIECE // (x[0].size + y[0].size))
        with np.errstate(invalid="ignore", over="ignore"):  # `estimate` refuses values that are not finite
            for start in range(0, len(x), step):
                self._add(x[start : start + step], y[start : start + step])

    def _add(self, x: Array, y: Array) -> None:
        g = self.geometry
        result = _by_channel(y, g.group, g.outputs, g.last)
        counts = np.ones((g.group, 1, result.shape[2])) if self.everywhere else (result > 0).astype(np.float64)
        self.positions += result.shape[2]
        self.y += result.sum(axis=2)
        self.count += counts.sum(axis=2)
        counted = result * counts
        self.counted_y += counted.sum(axis=2)
        for tap, piece in g.pieces(x):
            operand = _by_channel(piece, g.group, g.inputs, g.last).transpose(0, 2, 1)
            _add_product(self.x[tap], counts, operand)
            _add_product(self.xy[tap], counted, operand)

    def pattern(self, estimator: str) -> tuple[Array, int]:
        """Return A in the shape of the weight (float32), and how many neurons have no pattern."""
        g, weight = self.geometry, self._weight()
        n = np.maximum(self.count, 1)[..., None]
        mean = (self.counted_y / n[..., 0] if estimator == "positive" else self.y / self.positions)[..., None]
        products, expected = self.xy / n, self.x / n * mean
        axes = (*range(len(g.taps)), -1)
        covariance = products - expected
        scale = (np.abs(weight) * (np.abs(products) + np.abs(expected))).sum(axis=axes, keepdims=True)
        variance = (weight * covariance).sum(axis=axes, keepdims=True)
        silent = np.abs(variance) <= NOISE * scale
        a = np.where(silent, 0.0, covariance / np.where(silent, 1.0, variance))
        return self._as_weight(a).astype(np.float32), int(silent.sum())

    def _weight(self) -> Array:
        """Return the weight as [*taps, group, outputs, inputs]."""
        g, weight = self.geometry, np.asarray(self.layer.weight, np.float64)
        if not isinstance(self.layer.linear, Conv):
            return (weight if self.layer.linear.transposed else weight.T)[None]
        split = weight.reshape(g.group, g.outputs, g.inputs, *g.taps)
        return np.moveaxis(split, (0, 1, 2), (-3, -2, -1))

    def _as_weight(self, a: Array) -> Array:
        if not isinstance(self.layer.linear, Conv):
            return np.ascontiguousarray(a[0] if self.layer.linear.transposed else a[0].T)
        return np.moveaxis(a, (-3, -2, -1), (0, 1, 2)).reshape(self.layer.weight.shape)


@dataclass(frozen=True)
class Geometry:
    """Which elements of the operand meet which elements of the weight.

    Attributes:
        group: Groups of a convolution.
        outputs: Outputs of a group.
        inputs: Inputs of a group.
        taps: The shape of the kernel, () for dense layers.
        last: Whether channels are the last axis.
        linear: The linear map of the layer.
    """

    group: int
    outputs: int
    inputs: int
    taps: tuple[int, ...]
    last: bool
    linear: Any

    def pieces(self, x: Array) -> Iterator[tuple[tuple[int, ...], Array]]:
        """Yield the elements of x that each tap of the kernel meets, at the positions of the result."""
        if not self.taps:
            yield (), x
            return
        window = self.linear.window
        pads = [(0, 0), (0, 0), *((b, max(0, a)) for b, a in zip(window.before, window.after, strict=True))]
        padded = np.pad(x, pads)
        for tap, where in window.taps():
            yield tap, padded[(..., *where)]


def _geometry(layer: WeightedLayer) -> Geometry:
    linear = layer.linear
    if isinstance(linear, Conv):
        outputs, inputs = linear.target[0] // linear.group, linear.source[0] // linear.group
        return Geometry(linear.group, outputs, inputs, linear.window.kernel, False, linear)
    return Geometry(1, linear.target[-1], linear.source[-1], (), True, linear)


def _by_channel(x: Array, group: int, channels: int, last: bool) -> Array:
    """Reshape to [group, channels of the group, positions of all samples], in float64."""
    if last:
        return x.reshape(1, -1, channels).transpose(0, 2, 1).astype(np.float64)
    split = x.reshape(len(x), group, channels, math.prod(x.shape[2:]))
    return np.ascontiguousarray(split.transpose(1, 2, 0, 3), np.float64).reshape(group, channels, -1)


def _add_product(sums: Array, left: Array, right: Array) -> None:
    """Add left @ right to sums, a few rows at a time: the whole product would need memory of the weight's size."""
    step = max(1, PIECE // (sums.shape[0] * sums.shape[2]))
    for start in range(0, sums.shape[1], step):
        rows = slice(start, start + step)
        sums[:, rows] += left[:, rows] @ right
