"""Lengths for the symbolic axes of the inputs: batch, height and width, so that shape arithmetic folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from ...errors import InputError, UnsupportedError
from ..graph import Array
from ..reading.printable import printable
from ..recognition.past import is_mask, is_past
from .open_axes import OpenAxis, Place, Size, lengths
from .placeholder import PRIME, fitting_prime, numbers_of
from .told_lengths import told_lengths
from .weightless import true_inputs

DEFAULT_SIZE = 224
# (height, width) where somebody states them; asked only for an input that leaves both open.
SizeSource = Callable[[], tuple[int, int] | None]


@dataclass(frozen=True)
class Sizes:
    """Lengths that were fixed.

    Attributes:
        batch: The batch that the model runs at while it is loaded.
        declared: Whether the model declares it.
        note: Lengths of height and width that were assumed, for the user.
        open_axes: Input → axis per sample → name, of the axes that are open and that no size was given for.
        guessed: Whether some of these are neither height and width nor stated: their length is a placeholder.
        prime: The number that stands for any batch.
    """

    batch: int
    declared: bool
    note: str = ""
    open_axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    guessed: bool = False
    prime: int = PRIME


def fix_sizes(
    model: onnx.ModelProto,
    weights: dict[str, Array],
    size: Size | None,
    stated: SizeSource = lambda: None,
    assumed: int = DEFAULT_SIZE,
    above: int = PRIME - 1,
    only_batch: int | None = None,
    height: int = DEFAULT_SIZE,
) -> Sizes:
    """Replace the symbolic axes of the inputs in place.

    Args:
        model: The model without its weights, changed in place.
        weights: Its weights.
        size: Lengths for the axes that are open besides the batch: see `open_axes.lengths`.
        stated: Finds height and width where `size` is None; `height` and 224 where it finds none.
        assumed: The length of other open axes, where `size` gives none.
        above: The number that stands for the batch is a prime above this one.
        only_batch: The batch that the model runs with alone, though it states none.
        height: The height of pictures where nobody states one.

    Raises:
        InputError: An input declares no shape.
        UnsupportedError: Inputs declare different batches, or the sizes do not fit the open axes.
        UsageError: A size for an axis that is not open.
    """
    inputs = true_inputs(model, weights)
    tables = any(node.domain == "ai.onnx.ml" for node in model.graph.node)  # they read categories
    # Texts that are made of texts have no codes; and onnx's inference of shapes is not safe behind them.
    other = next((node for node in model.graph.node if node.op_type == "StringNormalizer"), None)
    for value in inputs:
        if value.type.tensor_type.elem_type == onnx.TensorProto.STRING and (other is not None or not tables):
            why = "what is explained are numbers"
            if other is not None:
                why = (
                    f'the {other.op_type} node "{printable(other.name)}" reads text, of which only categories are coded'
                )
            raise UnsupportedError(
                f'the input "{printable(value.name)}" takes text, and {why}',
                "explain the part behind its text: onnx.utils.extract_model(FILE, NEW, [TENSOR], [OUTPUT])",
            )
    used = _used(model.graph)
    declared = {b for value in inputs if (b := _first(value)) is not None and value.name in used}
    if len(declared) > 1:
        raise UnsupportedError(
            f"the inputs declare different batch sizes: {sorted(declared)}", "export the model with one batch size"
        )
    lengths_given = size.values() if isinstance(size, Mapping) else size if isinstance(size, Sequence) else [size or 0]
    prime = fitting_prime({*numbers_of(model, weights), *declared, *lengths_given, assumed}, above)
    batch = declared.pop() if declared else only_batch or prime
    symbols = {value.type.tensor_type.shape.dim[0].dim_param for value in inputs} - {""}
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_value = batch
        for dim in dims[1:]:
            if dim.dim_param in symbols and dim.dim_param:
                dim.dim_value = batch
    axes = [axis for value in inputs for axis in _open(model, weights, value)]
    given = lengths(axes, size)
    sides = _sides(axes, given, stated)
    following = _around_the_past(inputs, axes, given, assumed)
    for axis in axes:
        default = {"h": height, "w": DEFAULT_SIZE}.get(axis.side, assumed)
        length = next((some[axis.place] for some in (given, following, sides) if axis.place in some), default)
        _dims(inputs, axis.tensor)[axis.number].dim_value = length
    for output in model.graph.output:
        # Declared shapes of the outputs would contradict the fixed ones.
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    free = [axis for axis in axes if axis.place not in given]
    names: dict[str, dict[int, str]] = {}
    for axis in free:
        names.setdefault(axis.tensor, {})[axis.number - 1] = axis.name
    unstated = dict.fromkeys(axis.tensor for axis in free if axis.is_side and axis.place not in sides)
    note = "; ".join(
        f'the input "{printable(name)}" leaves height and width open: {height} x {DEFAULT_SIZE} is assumed'
        for name in unstated
    )
    settled = following if _length_is_stated(inputs, given) else {}
    guessed = any(not axis.is_side and axis.place not in settled for axis in free)
    return Sizes(batch, batch != prime, note, names, guessed, prime)


def _open(model: onnx.ModelProto, weights: dict[str, Array], value: onnx.ValueInfoProto) -> list[OpenAxis]:
    """The open axes of an input; those that its readers tell, such as channels and columns, are fixed."""
    dims = value.type.tensor_type.shape.dim
    numbers = [axis for axis, dim in enumerate(dims) if axis and dim.dim_value <= 0]
    for axis, length in (told_lengths(model, weights, value) if numbers else {}).items():
        if axis in numbers:
            dims[axis].dim_value = length
            numbers.remove(axis)
    sides = len(dims) == 4 and len(numbers) == 2
    # Some exporters write an open height and width as 0; of other axes 0 is a length, and there is nothing to explain.
    empty = [] if sides else [n for n in numbers if dims[n].HasField("dim_value") and dims[n].dim_value == 0]
    if empty:
        raise UnsupportedError(
            f'the input "{printable(value.name)}" declares that axis {empty[0]} has length 0: it has no values',
            "export the model with the length of this axis, or leave it open: dynamic_axes={'input': {0: 'N', 1: 'L'}}",
        )
    return [OpenAxis(value.name, n, dims[n].dim_param, ("h", "w")[i] if sides else "") for i, n in enumerate(numbers)]


def _sides(axes: list[OpenAxis], given: Mapping[Place, int], stated: SizeSource) -> dict[Place, int]:
    """Height and width as somebody states them, of pictures that no size is given for."""
    sides = [axis for axis in axes if axis.is_side and axis.place not in given]
    size = stated() if sides else None
    return {} if size is None else {axis.place: size[axis.side == "w"] for axis in sides}


def _around_the_past(
    inputs: Sequence[onnx.ValueInfoProto], axes: list[OpenAxis], given: Mapping[Place, int], assumed: int
) -> dict[Place, int]:
    """Lengths of a decoder's past and of its mask over past and tokens, where none is given.

    A past is empty unless it is stated, or a mask is longer than the tokens; a mask is as long as both.
    """
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inputs}
    pasts = [axis for axis in axes if is_past(axis.tensor, ranks[axis.tensor])]
    if not pasts:
        return {}
    symbol, length = _of_tokens(inputs, given, assumed)
    masks = [a for a in axes if is_mask(a.tensor) and ranks[a.tensor] == 2 and (not a.symbol or a.symbol != symbol)]
    total = next((given[axis.place] for axis in masks if axis.place in given), length)
    past = next((given[axis.place] for axis in pasts if axis.place in given), max(total - length, 0))
    found = {axis.place: past for axis in pasts if axis.place not in given}
    return found | {axis.place: past + length for axis in masks if axis.place not in given}


def _of_tokens(inputs: Sequence[onnx.ValueInfoProto], given: Mapping[Place, int], assumed: int) -> tuple[str, int]:
    """The file's name of the length of the token ids, and this length."""
    ids = next((value for value in inputs if _holds_ids(value) and not is_mask(value.name)), None)
    if ids is None:
        return "", assumed
    dim = ids.type.tensor_type.shape.dim[1]
    return dim.dim_param, given.get((ids.name, 1)) or dim.dim_value or assumed


def _length_is_stated(inputs: Sequence[onnx.ValueInfoProto], given: Mapping[Place, int]) -> bool:
    """Return whether the number of token ids is known, from which the lengths around a past follow."""
    return _of_tokens(inputs, given, 0)[1] > 0


def reads_ids(model: onnx.ModelProto) -> bool:
    """Return whether a model reads token ids of any number: whole numbers [N, length] with an open length."""
    initial = {tensor.name for tensor in model.graph.initializer}
    ids = (value for value in model.graph.input if value.name not in initial and _holds_ids(value))
    return any(value.type.tensor_type.shape.dim[1].dim_value <= 0 for value in ids)


def _holds_ids(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return len(kind.shape.dim) == 2 and kind.elem_type in (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


def _dims(inputs: Sequence[onnx.ValueInfoProto], name: str) -> Any:
    return next(value.type.tensor_type.shape.dim for value in inputs if value.name == name)


def _used(graph: onnx.GraphProto) -> set[str]:
    """Tensors that nodes read, and outputs: exporters list constants that they folded as inputs of one sample."""
    names = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    return names.union(*(_used(a.g) for node in graph.node for a in node.attribute if a.HasField("g")))


def _first(value: onnx.ValueInfoProto) -> int | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not kind.shape.dim:
        raise InputError(
            f'the input "{printable(value.name)}" declares no shape',
            "export the model with its input shapes: onnx.shape_inference or dynamic_axes={'input': {0: 'N'}}",
        )
    dim = kind.shape.dim[0]
    return dim.dim_value if dim.dim_value > 0 else None
