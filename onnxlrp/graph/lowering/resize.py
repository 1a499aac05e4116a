"""Resize, written so that every runtime and every engine samples at the same places."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph
from .nearest import nearest

_RULE = "coordinate_transformation_mode"


def resize(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write a Resize as what onnxruntime computes of it.

    One that changes no length is an Identity, whatever its scales and its region are: onnxruntime copies. One to
    nearest neighbours becomes selections. An interpolation by pytorch_half_pixel is written in other rules.

    Returns:
        The layers; none for what stays.
    """
    before, after = graph.shapes[layer.inputs[0]], graph.shapes[layer.outputs[0]]
    if before == after:
        return [replace(layer, op="Identity", inputs=layer.inputs[:1], attributes={})]
    return nearest(graph, layer) or _half_pixel(graph, layer, before, after)


def _half_pixel(graph: MutableGraph, layer: Layer, before: tuple[int, ...], after: tuple[int, ...]) -> list[Layer]:
    """pytorch_half_pixel is half_pixel, except that an axis of one result is sampled at its first element.

    onnx's evaluator reads "one result" off length times scale, which need not be whole. Interpolation goes along one
    axis after the other, so that the axes of one result can go first, by a rule that begins at the first element.
    """
    if layer.attributes.get(_RULE) != "pytorch_half_pixel" or layer.attributes.get("mode", "nearest") == "nearest":
        return []
    build = Builder(graph, layer)
    single = [axis for axis, (n, m) in enumerate(zip(before, after, strict=True)) if m == 1 and n != 1]
    scales = graph.constant(layer.inputs[2]) if len(layer.inputs) > 2 and layer.inputs[2] else None
    if scales is not None and scales.size == 0:  # what writers of opset 11 leave where sizes are given
        scales = None
    if not single:
        build.keep(attributes={**layer.attributes, _RULE: "half_pixel"})
        return build.layers
    axes = [int(axis) % len(before) for axis in layer.attributes.get("axes", range(len(before)))]
    sizes = graph.constant(layer.inputs[3]) if len(layer.inputs) > 3 and layer.inputs[3] else None
    if scales is None and (sizes is None or layer.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch"):
        return []
    middle = [1 if axis in single else n for axis, n in enumerate(before)]
    out = build.declare(f"{build.out}/single", middle)
    for source, target, rule, part in (
        (layer.inputs[0], out, "asymmetric", single),
        (out, build.out, "half_pixel", [axis for axis in axes if axis not in single and before[axis] != after[axis]]),
    ):
        if not part:
            build.add("Identity", source, out=target)
            continue
        attributes = {**layer.attributes, _RULE: rule, "axes": tuple(part)}
        if scales is not None:
            values = build.constant([scales.reshape(-1)[axes.index(axis)] for axis in part], f"{target}/scales")
            operands: tuple[str, ...] = (source, "", values)
        else:
            operands = (source, "", "", build.integers([after[axis] for axis in part], f"{target}/sizes"))
        name = layer.name if target == build.out else f"{layer.name}/single"
        build.keep(inputs=operands, outputs=(target,), attributes=attributes, name=name)
    return build.layers
