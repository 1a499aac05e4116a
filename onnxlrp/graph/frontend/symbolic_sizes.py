"""Lengths for the symbolic axes of the inputs: batch, height and width, so that shape arithmetic folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from ...errors import InputError, UnsupportedError
from ..graph import Array
from ..reading.printable import printable
from .weightless import true_inputs

# Stands for the batch while folding: a prime that no layer has as a width.
PRIME = 1009
DEFAULT_SIZE = 224
# (height, width) where somebody states them; asked only for an input that leaves both open.
SizeSource = Callable[[], tuple[int, int] | None]


@dataclass(frozen=True)
class Sizes:
    """Lengths that were fixed.

    Attributes:
        batch: The batch that the model runs at while it is loaded.
        declared: Whether the model declares it.
        note: Lengths that were assumed, for the user.
    """

    batch: int
    declared: bool
    note: str = ""


def fix_sizes(
    model: onnx.ModelProto, weights: dict[str, Array], size: tuple[int, ...] | None, stated: SizeSource = lambda: None
) -> Sizes:
    """Replace the symbolic axes of the inputs in place.

    Args:
        model: The model without its weights, changed in place.
        weights: Its weights.
        size: Lengths for the axes that are open besides the batch; one number for all of them.
        stated: Finds height and width where `size` is None; 224 where it finds none.

    Raises:
        InputError: An input declares no shape.
        UnsupportedError: Inputs declare different batches, or the sizes do not fit the open axes.
    """
    inputs = true_inputs(model, weights)
    used = _used(model.graph)
    declared = {b for value in inputs if (b := _first(value)) is not None and value.name in used}
    if len(declared) > 1:
        raise UnsupportedError(
            f"The inputs declare different batch sizes: {sorted(declared)}.", "Export the model with one batch size."
        )
    batch = declared.pop() if declared else PRIME
    symbols = {value.type.tensor_type.shape.dim[0].dim_param for value in inputs} - {""}
    given = list(size or ())
    assumed: list[str] = []
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_value = batch
        for dim in dims[1:]:
            if dim.dim_param in symbols and dim.dim_param:
                dim.dim_value = batch
        _fix_spatial(model, weights, value, given, assumed, stated)
    for output in model.graph.output:
        # Declared shapes of the outputs would contradict the fixed ones.
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    return Sizes(batch, batch != PRIME, "; ".join(assumed))


def _used(graph: onnx.GraphProto) -> set[str]:
    """Tensors that nodes read, and outputs: exporters list constants that they folded as inputs of one sample."""
    names = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    return names.union(*(_used(a.g) for node in graph.node for a in node.attribute if a.HasField("g")))


def _first(value: onnx.ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not kind.shape.dim:
        raise InputError(
            f'The input "{printable(value.name)}" declares no shape.',
            "Export the model with its input shapes: onnx.shape_inference or dynamic_axes={'input': {0: 'N'}}",
        )
    dim = kind.shape.dim[0]
    return dim.dim_value if dim.dim_value > 0 else None


def _fix_spatial(
    model: onnx.ModelProto,
    weights: dict[str, Array],
    value: onnx.ValueInfoProto,
    given: list[int],
    assumed: list[str],
    stated: SizeSource,
) -> None:
    dims = value.type.tensor_type.shape.dim
    open_axes = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
    if not open_axes:
        return
    name = printable(value.name)
    channels = _channels(model, weights, value.name) if len(dims) == 4 else None
    if channels is not None and 1 in open_axes and len(open_axes) == 3:
        dims[1].dim_value = channels
        open_axes.remove(1)
    if len(given) == 1:
        given = given * len(open_axes)  # one length: a square
    if given and len(given) != len(open_axes):
        axes = ", ".join(str(a) for a in open_axes)
        raise UnsupportedError(
            f'The input "{name}" leaves {len(open_axes)} axes open ({axes}); {len(given)} sizes were given.',
            f"Give {len(open_axes)} sizes, for example size=({', '.join(['224'] * len(open_axes))}).",
        )
    if not given and not (len(dims) == 4 and len(open_axes) == 2):
        symbols = ", ".join(dims[a].dim_param or f"axis {a}" for a in open_axes)
        raise UnsupportedError(
            f'The input "{name}" leaves sizes open ({printable(symbols)}).',
            f"Give them: load(model, size=({', '.join(['16'] * len(open_axes))},))",
        )
    given = given or list(stated() or ())
    for axis, length in zip(open_axes, given or [DEFAULT_SIZE] * len(open_axes), strict=True):
        dims[axis].dim_value = length
    if not given:
        assumed.append(
            f'The input "{name}" leaves height and width open: {DEFAULT_SIZE} x {DEFAULT_SIZE} is assumed (size=).'
        )


def _channels(model: onnx.ModelProto, weights: dict[str, Array], tensor: str) -> int | None:
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] == tensor and node.input[1] in weights:
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            return int(weights[node.input[1]].shape[1] * group)
    return None
