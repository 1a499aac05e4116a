"""Models of open sizes: a model for each size of the samples, the least recently used given up."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from ...graph.graph import COMPARED, Graph
from ...graph.recognition.past import is_mask, is_past
from ...inputs import InputKind
from ...preprocessing import images
from ...preprocessing.samples import Opened, Samples, several_sizes
from ...preprocessing.tables import Table
from ...runtime import ForkLock

Lengths = tuple[tuple[tuple[str, int], int], ...]  # (input, number of the axis in the file) and length

_KEPT = 8  # models of other sizes, each with its graph and its programs


@dataclass(eq=False)
class OpenSizes:
    """The models of a file for sizes that it leaves open.

    Attributes:
        read: Reads the graph at some lengths, and with some numbers for inputs of shape [].
        models: The model of each size, the most recently used last.
    """

    read: Callable[[Mapping[Any, int], Mapping[str, float]], Graph]
    models: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    _lock: ForkLock = field(default_factory=ForkLock, repr=False)

    def model(
        self, lengths: Lengths, numbers: Mapping[str, float | None], own: bool, make: Callable[[Graph], Any]
    ) -> Any:
        """Return the model of some lengths, made where there is none yet.

        Args:
            lengths: The lengths of open axes.
            numbers: The numbers of inputs of shape [], None for one that is not given.
            own: Whether pictures are taken at their own size.
            make: Makes a model of a graph.
        """
        told = {name: number for name, number in numbers.items() if number is not None}
        key = lengths, tuple(sorted(told.items())), own
        with self._lock:
            if key in self.models:
                self.models.move_to_end(key)
                return self.models[key]
        made = make(self.read(dict(lengths), told))
        with self._lock:
            made = self.models.setdefault(key, made)  # that of another thread, which may have programs by now
            self.models.move_to_end(key)
            while len(self.models) > _KEPT:
                self.models.popitem(last=False)
        return made


def free_shape(graph: Graph, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape per sample of an input with 0 for each open axis."""
    free = graph.open_axes.get(name, {})
    return tuple(0 if axis in free else length for axis, length in enumerate(shape))


def shape_of(
    items: Sequence[Opened], kind: InputKind, free: tuple[int, ...], own: Callable[[], bool]
) -> tuple[tuple[int, ...], bool] | None:
    """Return the shape per sample that samples have, and whether it is that of pictures as they are.

    None where nothing tells it, or where the samples do not fit the model, which is reported when they are converted.

    Args:
        items: The samples.
        kind: The kind of the input.
        free: Its shape, 0 for axes of any length.
        own: Whether pictures tell their size, asked for pictures alone.

    Raises:
        InputError: Samples of several sizes.
    """
    found: dict[tuple[int, ...], list[str]] = {}
    pictures = False
    for n, item in enumerate(items):
        shape = _shape(item.content, kind, free, own)
        if shape is not None:
            names = item.content.names if isinstance(item.content, Samples) else [item.name or f"sample {n}"]
            found.setdefault(shape[0], []).extend(names)
            pictures = pictures or shape[1]
    if len(found) > 1:
        raise several_sizes(found, pictures)
    return next(((shape, pictures) for shape in found), None)


def pictures_tell(kind: InputKind, free: tuple[int, ...]) -> bool:
    """Return whether height and width are open and nothing else, so that a picture can be taken at its own size."""
    return kind.is_image and [axis for axis, n in enumerate(free) if not n] == sorted(kind.spatial_axes)


def require_numbers(graph: Graph) -> None:
    """Raise UsageError where an input of shape [] has no number."""
    missing = [name for name, number in graph.scalars.items() if number is None]
    if missing:
        compared = json.loads(graph.metadata.get(COMPARED, "{}"))
        numbers = {name: compared.get(name) or 1.0 for name in missing}
        known = ", ".join(f"{name} with {compared[name]:g}" for name in missing if compared.get(name))
        raise UsageError(
            f"the model takes a number for {', '.join(missing)} beside the sample"
            + (f"; it compares {known}" if known else ""),
            "give it: given={" + ", ".join(f'"{name}": {number}' for name, number in numbers.items()) + "}",
            "give it: " + " ".join(f"--given {name}={number:g}" for name, number in numbers.items()),
        )


def given_lengths(free: Mapping[str, Mapping[int, str]], given: Mapping[str, Any]) -> dict[tuple[str, int], int]:
    """Return the lengths of open axes that arrays of other inputs have."""
    found = {}
    for name, array in given.items():
        for axis in free.get(name, {}):
            if np.ndim(array) > axis + 1:
                found[name, axis + 1] = int(np.shape(array)[axis + 1])
    return found


def require_sizes(graph: Graph) -> None:
    """Raise UnsupportedError where the length of an axis is a placeholder: a file is written at one size."""
    if not graph.metadata.get("onnxlrp.placeholder"):
        return
    around = {name for name in graph.open_axes if is_mask(name) or is_past(name, 4)}  # they follow from the tokens
    stated = graph.open_axes.keys() - around or around
    names = dict.fromkeys(word for name, axes in graph.open_axes.items() if name in stated for word in axes.values())
    raise UnsupportedError(
        f"the model leaves sizes open ({', '.join(names)}), and an exported explainer has one size",
        "state it: load(path, size={" + ", ".join(f'"{name}": 100' for name in names) + "})",
        "state it: --size " + ",".join(f"{name}=100" for name in names),
    )


def at_own_size(kind: InputKind, shape: tuple[int, ...], error: OnnxLrpError) -> InputError:
    """Make the error of a picture at whose own size the model does not load."""
    height, width = (shape[axis] for axis in kind.spatial_axes)
    loads = [kind.shape[axis] for axis in kind.spatial_axes]
    return InputError(
        f"the model does not run at the picture's own {height} x {width}: {error.message}",
        f"load it at the size that it was made for: size=({loads[0]}, {loads[1]})",
        f"state the size that it was made for: --size {loads[0]}x{loads[1]}",
    )


def _shape(
    content: Any, kind: InputKind, free: tuple[int, ...], own: Callable[[], bool]
) -> tuple[tuple[int, ...], bool] | None:
    if isinstance(content, Samples):
        return content.kind.shape, content.own_size
    if isinstance(content, Table):
        return _of_array((content.height, content.width), free)
    if not isinstance(content, np.ndarray):
        return _of_picture(content, kind, free, own)
    return _of_array(content.shape, free)


def _of_array(shape: tuple[int, ...], free: tuple[int, ...]) -> tuple[tuple[int, ...], bool] | None:
    if images.fits(shape, free):
        return shape, False
    return (shape[1:], False) if images.fits(shape[1:], free) else None


def _of_picture(
    picture: Any, kind: InputKind, free: tuple[int, ...], own: Callable[[], bool]
) -> tuple[tuple[int, ...], bool] | None:
    """Return the shape by a picture's own height and width, where both are open and pictures tell them."""
    if not pictures_tell(kind, free) or not own():
        return None
    shape = list(kind.shape)
    for axis, length in zip(kind.spatial_axes, (picture.height, picture.width), strict=True):
        shape[axis] = length
    return tuple(shape), True
