"""Rewrite a layer so that the batch is axis 0 of what it reads and writes, by a rule for each operator."""

from __future__ import annotations

from dataclasses import replace

from ...errors import UnsupportedError
from .. import operators
from ..graph import Layer
from ..reading.printable import printable
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph
from .axes import (
    along_axes,
    along_axis,
    along_constant_axis,
    concat,
    constants_for_all,
    for_each_axis,
    normalization,
    resize,
    triangle,
)
from .batch_axis import BatchAxis
from .broadcast import elementwise, expand
from .frames import REDUCTIONS, global_pool, spatial
from .layout import FRONT, Layout, Rule, Stored, in_front, refuse
from .matmul import gemm, matmul
from .recurrent import recurrent
from .reshape import gather, reshape, transpose


def rewrite(layout: Layout, layer: Layer) -> list[Layer]:
    """Return the layers that compute the same on stored tensors, and note where the batch of their results lies.

    Args:
        layout: Where the batch of each activation lies; changed in place.
        layer: The next layer of the graph.

    Raises:
        UnsupportedError: There are no such layers.
    """
    try:
        batch_axis, layers = _stored(layout, layer)
    except UnsupportedError:
        found = _with_another_batch_axis(layout, layer) if layout.graph.batch == 1 else None
        if found is None:
            raise
        batch_axis, layers = found
    for name in filter(None, layer.outputs):
        layout.batch_axes.setdefault(name, batch_axis)
    if layout.graph.batch == 1:
        layers = [part for one in layers for part in _output_in_order(layout, one)]
    return layers


def _stored(layout: Layout, layer: Layer) -> Stored:
    rule = _RULES.get(layer.op) or (elementwise if layer.op in operators.ELEMENTWISE else in_front)
    return rule(layout, layer)


def _with_another_batch_axis(layout: Layout, layer: Layer) -> Stored | None:
    """A batch of one may lie on any axis: read all activations anew, each with its batch on the same one."""
    names = list(dict.fromkeys(layout.activations(layer)))
    shapes = [layout.graph.shapes.get(name, ()) for name in names]
    for axis in range(min(map(len, shapes), default=0)):
        build, renamed = Builder(layout.graph, layer), {}
        for name, shape in zip(names, shapes, strict=True):
            batch_axis = BatchAxis(axis, 1, shape[axis])
            if batch_axis == layout.batch_axes[name]:
                continue
            renamed[name] = out = f"{name}/{axis}"
            if out not in layout.batch_axes:
                layout.graph.shapes[out], layout.batch_axes[out] = shape, batch_axis
                layout.reshape(build, name, batch_axis.stored_shape(shape), out)
        try:
            moved = replace(layer, inputs=tuple(renamed.get(name, name) for name in layer.inputs))
            batch_axis, layers = _stored(layout, moved)
        except UnsupportedError:
            for added in build.layers:
                del layout.batch_axes[added.outputs[0]]
            continue
        return batch_axis, [*build.layers, *layers]
    return None


def _output_in_order(layout: Layout, layer: Layer) -> list[Layer]:
    """An output of the model keeps its order of elements, whichever axis the batch of one came to be."""
    name = layer.outputs[0]
    batch_axis, shape = layout.batch_axes.get(name, FRONT), layout.graph.shapes.get(name, ())
    if name not in layout.graph.outputs or not shape or not (batch_axis.axis or batch_axis.pre > 1):
        return [layer]
    build, stored = Builder(layout.graph, layer), f"{name}/stored"
    layout.batch_axes[name] = BatchAxis(0, 1, shape[0])
    build.keep(outputs=(stored, *layer.outputs[1:]))
    layout.reshape(build, stored, layout.batch_axes[name].stored_shape(shape), name)
    return build.layers


def _open_ended(layout: Layout, layer: Layer) -> Stored:
    raise refuse(layer, "gives as many elements as it finds at run time", "export the model with static shapes")


def _scatter(layout: Layout, layer: Layer) -> Stored:
    rank = len(layout.shape(layer, layer.outputs[0]))
    fronts = all(layout.batch_axes[name] == FRONT for name in layout.activations(layer))
    if layer.op == "ScatterElements" and layer.attributes.get("axis", 0) % rank and fronts:
        # Its operands do not broadcast: indices of one sample are those of all.
        build = Builder(layout.graph, layer)
        build.keep(inputs=constants_for_all(layout, build, FRONT, rank))
        return FRONT, build.layers
    try:
        return in_front(layout, layer)
    except UnsupportedError:
        raise scattered(layout.graph, layer) or refuse(layer, "works along the batch axis") from None


def _gather_elements(layout: Layout, layer: Layer) -> Stored:
    """GatherElements, and GatherND within each sample, from constants too, such as anchors."""
    own = layer.op == "GatherElements" or layer.attributes.get("batch_dims", 0) == 1
    if not own or any(layout.batch_axes[name] != FRONT for name in layout.activations(layer)):
        return in_front(layout, layer)
    build, rank = Builder(layout.graph, layer), len(layout.graph.shape(layer.inputs[0]))
    ranks = len(layout.graph.shape(layer.inputs[1])), rank
    if ranks[0] != rank and layout.graph.constant(layer.inputs[1]) is not None:
        return in_front(layout, layer)
    build.keep(inputs=constants_for_all(layout, build, FRONT, rank))
    return FRONT, build.layers


def scattered(graph: MutableGraph, layer: Layer) -> UnsupportedError | None:
    """Return the error for a layer that scatters to indices computed at run time; None for any other layer."""
    if layer.op not in operators.SCATTERS or graph.constant(layer.inputs[1]) is not None:
        return None
    return refuse(
        layer,
        "writes to indices computed at run time, as torch's MaxUnpool2d does, and not sample by sample",
        "use an upsampling without indices in its place (torch.nn.Upsample), or explain the part of the model "
        + _part(layer, 2),
    )


def _part(layer: Layer, position: int = 0) -> str:
    return (
        "before it: onnx.utils.extract_model('MODEL.onnx', 'PART.onnx', "
        f"[its inputs], ['{printable(layer.inputs[position])}'])"
    )


_RULES: dict[str, Rule] = {
    "Transpose": transpose,
    **dict.fromkeys(operators.OPEN_ENDED, _open_ended),
    **dict.fromkeys(operators.RESHAPES, reshape),
    "Expand": expand,
    "MatMul": matmul,
    "Gemm": gemm,
    **dict.fromkeys(operators.SOFTMAXES | operators.ARG_EXTREMES, along_axis),
    **dict.fromkeys(["LayerNormalization", "RMSNormalization"], normalization),
    **dict.fromkeys(operators.AXES_AS_OPERAND, along_axes),
    **dict.fromkeys(operators.SPATIAL, spatial),
    **dict.fromkeys(REDUCTIONS, global_pool),
    "Gather": gather,
    **dict.fromkeys(["GatherElements", "GatherND"], _gather_elements),
    **dict.fromkeys(operators.SCATTERS, _scatter),
    **dict.fromkeys(operators.RECURRENT, recurrent),
    "CumSum": along_constant_axis,
    **dict.fromkeys(["Pad", "Tile"], for_each_axis),
    "Trilu": triangle,
    "Concat": concat,
    "Resize": resize,
}
