"""Inputs that are not explained: their values as arrays, one for each sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UsageError, did_you_mean
from ...graph.graph import Tensor
from ...preprocessing import images

Array = npt.NDArray[Any]

_ONE_OR_EACH = "give one sample for all, or one for each"


def read(
    given: Mapping[str, Any],
    inputs: Sequence[Tensor],
    explained: str,
    free: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, Array]:
    """Read the values of other inputs.

    Args:
        given: By name a number (every value), an array or an .npy path, of one sample or a batch.
        inputs: All inputs of the model.
        explained: The name of the explained one.
        free: By name the shape per sample, 0 for axes of any length.

    Returns:
        Arrays [1 or N, …] by name.

    Raises:
        UsageError: A name that is no other input.
        InputError: Values that do not fit.
    """
    others = {tensor.name: tensor for tensor in inputs if tensor.name != explained}
    for name in given:
        if name == explained:
            raise UsageError(f'input "{name}" is the one that is explained', "give it as the sample")
        if name not in others:
            fix = did_you_mean(name, others) if others else f'"{explained}" is the only input'
            raise UsageError(f'no other input is called "{name}"', fix)
    shapes = free or {}
    return {name: _values(v, others[name], shapes.get(name, others[name].shape)) for name, v in given.items()}


def feeds(
    given: Mapping[str, Array], inputs: Sequence[Tensor], samples: int, at: Array | None = None
) -> dict[str, Array]:
    """Return the arrays of the inputs after the explained one; one sample is repeated for all.

    Args:
        given: Arrays [1 or N, …] by name.
        inputs: The inputs of the graph, the explained one first.
        samples: The number N of samples.
        at: The row [N] that goes with each sample; by default its own.

    Returns:
        Arrays [N, …] by name.

    Raises:
        UsageError: Inputs that are not given.
        InputError: Another number of samples.
    """
    check(given, inputs)
    given = given if at is None else {**given, **rows(given, at)}
    made = {}
    for tensor in inputs[1:]:
        array = given[tensor.name]
        if len(array) not in (1, samples):
            raise InputError(
                f'input "{tensor.name}": {len(array)} samples beside {samples} that are explained',
                _ONE_OR_EACH,
            )
        made[tensor.name] = np.broadcast_to(array, (samples, *array.shape[1:]))
    return made


def rows(given: Mapping[str, Array], keep: Array | slice) -> dict[str, Array]:
    """Return some rows of the inputs that have one for each sample.

    Args:
        given: Arrays [1 or N, …] by name.
        keep: Numbers of rows, or a slice.

    Raises:
        InputError: Fewer rows than are asked for.
    """
    long = {name: array for name, array in given.items() if len(array) > 1}
    most = keep.stop or 0 if isinstance(keep, slice) else int(keep.max()) + 1
    for name, array in long.items():
        if len(array) < most:
            raise InputError(f'input "{name}": {len(array)} samples beside {most} that are explained', _ONE_OR_EACH)
    return {name: array[keep] for name, array in long.items()}


def check(given: Mapping[str, Array], inputs: Sequence[Tensor], assumed: Sequence[str] = ()) -> None:
    """Raise UsageError, with what to type, for inputs after the first that are neither given nor assumed."""
    missing = [tensor for tensor in inputs[1:] if tensor.name not in given and tensor.name not in assumed]
    if missing:
        flags = " ".join(f"--given {t.name}={_example(t)}" for t in missing)
        raise UsageError(
            f'beside "{inputs[0].name}", which is explained, the model takes {", ".join(map(shown, missing))}',
            f"{flags}  (an .npy file or a number; in Python given={{name: array, path or number}})",
        )


def one_number(name: str, value: Any) -> float:
    """Return the number that an input of shape [] is given. Raises InputError for what is none."""
    array = np.asarray(value)
    number = array.reshape(()).item() if array.size == 1 and array.dtype.kind in "biuf" else None
    if number is None or not np.isfinite(number):
        raise InputError(
            f'input "{name}" takes one number', f'give it: given={{"{name}": 1}}', f"give it: --given {name}=1"
        )
    return float(number)


def summary(array: Array) -> Any:
    """Return a given input for the provenance: its number where all values are one, else its shape."""
    return array.flat[0].item() if array.size and (array == array.flat[0]).all() else list(array.shape)


def shown(tensor: Tensor) -> str:
    """Return a tensor as text: `mask int64 [N, 16]`."""
    return f"{tensor.name} {tensor.dtype} [{', '.join(map(str, ('N', *tensor.shape)))}]"


def _example(tensor: Tensor) -> str:
    return f"{tensor.name}.npy" if tensor.shape and max(tensor.shape) > 1 else "0"


def _values(value: Any, tensor: Tensor, shape: tuple[int, ...]) -> Array:
    where = f'input "{tensor.name}"'
    if isinstance(value, str | os.PathLike):
        where = f"{where}: {value}"
        value = images.read_array(Path(value))
    array = np.asarray(value)
    if array.ndim == 0:
        array = np.broadcast_to(array, tensor.shape)
    return images.batched(array, shape, tensor.dtype, where)
