"""Class activation maps: feature maps weighted by their gradient, upsampled to the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..graph import facts, operators
from ..graph.axes.input_axes import input_axes
from ..graph.axes.maps import maps_of
from ..graph.axes.places import has_others
from ..graph.axes.tracing import trace_axes
from ..graph.graph import Graph, Layer
from ..graph.outputs.heads import head_of
from ..graph.outputs.units import layer as layer_of
from ..graph.recognition.reaching import only_for_attention, reaching
from ..inputs import InputKind, decide
from .enlarging import enlarged
from .problem import Problem
from .registry import Array, Attribution, make_composite, method

_NAMED = 3  # layers that a message names


@method("grad_cam", paper="Selvaraju et al. 2017", passes="1 + 1 gradient")
@dataclass(frozen=True)
class GradCAM:
    """R = max(Σ_k α_k A_k, 0), α_k the mean of ∂f/∂A_k over the feature map.

    Args:
        layer: Path of the layer whose result is A [K, h, w], in any order of axes, or tokens [1 + h·w, K]; by
            default the last one with feature maps that the score depends on.

    References:
        Selvaraju et al., Grad-CAM: visual explanations from deep networks via gradient-based localization, ICCV 2017.
    """

    layer: str = ""

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise UsageError where the model has no feature maps of a picture."""
        _check(graph, kind, self.layer)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        notes, maps, slopes = _maps(problem, self.layer)
        weights = slopes.mean(axis=(2, 3), keepdims=True)
        return Attribution(enlarged(problem, np.maximum((weights * maps).sum(axis=1), 0)), notes)


@method("layer_cam", paper="Jiang et al. 2021", passes="1 + 1 gradient")
@dataclass(frozen=True)
class LayerCAM:
    """R = max(Σ_k max(∂f/∂A_k, 0) ⊙ A_k, 0): a weight for each position, so that early layers can be explained too.

    Args:
        layer: Path of the layer whose result is A [K, h, w], in any order of axes, or tokens [1 + h·w, K]; by
            default the last one with feature maps that the score depends on.

    References:
        Jiang et al., LayerCAM: exploring hierarchical class activation maps for localization, IEEE TIP 2021.
    """

    layer: str = ""

    def check(self, graph: Graph, kind: InputKind) -> None:
        """Raise UsageError where the model has no feature maps of a picture."""
        _check(graph, kind, self.layer)

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        notes, maps, slopes = _maps(problem, self.layer)
        heat = (np.maximum(slopes, 0) * maps).sum(axis=1)
        return Attribution(enlarged(problem, np.maximum(heat, 0)), notes)


def _maps(problem: Problem, layer: str) -> tuple[dict[str, Any], Array, Array]:
    """Return notes of the layer, its result A [N, K, h, w], and ∂f/∂A, whichever axis of the result is K."""
    graph, kind = problem.model.graph, problem.kind
    layer = _check(graph, kind, layer)
    found = maps_of(graph, kind.spatial_axes)[layer_of(graph, layer).tensor]
    outputs = problem.propagate(
        make_composite("gradient"), problem.x, np.arange(len(problem.x)), record=(layer,), activations=(layer,)
    )
    maps, slopes = (found.maps(outputs[f"{what}/{layer}"].astype(np.float64)) for what in ("activation", "record"))
    notes: dict[str, Any] = {"layer": layer}
    if found.others:
        height, width = found.sizes
        notes["tokens"] = f"{height} x {width}, {found.others} of no place left out"
    return notes, maps, slopes


def _check(graph: Graph, kind: InputKind, layer: str) -> str:
    """Return the layer, by default the last one with feature maps of a picture. Raises UsageError where it has none."""
    if not kind.is_image:
        raise UsageError(
            f"class activation maps need a picture as input; the kind of this input: {kind.describe()}",
            "use gradient_x_input or occlusion" + ", or state that it is one: --kind image" * _maps_as_image(graph),
        )
    last = last_map(graph, kind)
    if not (layer or last):
        raise UsageError("the model has no layer with feature maps", "use gradient_x_input or occlusion")
    if not layer:
        return last
    tensor = layer_of(graph, layer).tensor
    others = _others(graph, kind, last)
    fix = f"name a layer with feature maps: {others}" if last else "use gradient_x_input or occlusion"
    if tensor not in maps_of(graph, kind.spatial_axes):
        shape = list(graph.shapes[tensor])
        raise UsageError(f'layer "{layer}" gives {shape} per sample, not feature maps with height and width', fix)
    traced = trace_axes(graph, graph.inputs[0])
    if last and has_others(traced[tensor]) and tensor not in reaching(graph, traced, _start(graph)):
        raise UsageError(
            f'behind layer "{layer}" the score reads the class token alone: its gradient by all places is zero', fix
        )
    return layer


def _others(graph: Graph, kind: InputKind, last: str) -> str:
    """The last layers with feature maps, as options."""
    named = [last]
    while len(named) < _NAMED:
        stop = next(n for n, layer in enumerate(graph.layers) if named[-1] in (layer.label, layer.name))
        before = _last_map(graph, kind, graph.layers[:stop])
        if not before or before in named:
            break
        named.append(before)
    return " or ".join(f'--layer "{name}"' for name in named)


def _start(graph: Graph) -> str:
    """The tensor where gradients begin."""
    return head_of(graph, graph.outputs[0].name).start


def _maps_as_image(graph: Graph) -> bool:
    """Return whether the model has feature maps where the input is said to be an image."""
    tensor = graph.inputs[0]
    try:
        kind = decide(tensor.shape, tensor.dtype, word="image", graph=input_axes(graph, tensor))
    except UsageError:
        return False
    return bool(last_map(graph, kind))


def last_map(graph: Graph, kind: InputKind) -> str:
    """Return the last layer that computes feature maps of more than one position, "" where there is none.

    Args:
        graph: The model.
        kind: The kind of its input.
    """
    head = head_of(graph, graph.outputs[0].name)
    if not head.unit:
        return _last_map(graph, kind, graph.layers)
    before = facts.relevant(graph, (graph.inputs[0].name,), head.unit)
    layers = [layer for layer in graph.layers if layer.name in before]
    # A map of logits shows classes, no features.
    inner = [layer for layer in layers if layer.outputs[0] != head.unit]
    return _last_map(graph, kind, inner) or _last_map(graph, kind, layers)


def _last_map(graph: Graph, kind: InputKind, layers: Sequence[Layer]) -> str:
    found, among = maps_of(graph, kind.spatial_axes), {layer.name for layer in layers}
    traced = trace_axes(graph, graph.inputs[0])
    reached = reaching(graph, traced, _start(graph))
    for n, layer in reversed([*enumerate(graph.layers)]):
        result = layer.outputs[0]
        if layer.name not in among or result not in reached or layer.op in operators.COPIES_OF_MAPS:
            continue
        laid = found.get(result)
        if laid is not None and math.prod(laid.sizes) > 1 and not only_for_attention(graph, result):
            # A path names the result of its last layer, which may be a pooling layer.
            path = layer.label
            shared = any(f"{later.label}.".startswith(f"{path}.") for later in graph.layers[n + 1 :])
            return layer.name if shared else path
    return ""
