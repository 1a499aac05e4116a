"""Units: results inside of a model, by the names that users give them.

One resolver serves every option that names a layer or a unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UsageError, did_you_mean, listed
from .. import facts
from ..axes.channels import channel_axes
from ..graph import Array, Graph, Layer
from . import heads

_NUMBERS = re.compile(r"\d{1,9}(,\d{1,9})*")
_CHANNEL = re.compile(r"\d{1,9}")
_LISTED = 8  # names in a message
UNKNOWN = "no layer, node or tensor is called"  # how the message begins where a name is that of nothing


@dataclass(frozen=True, eq=False)
class Unit:
    """A result inside of a model: all of it, a channel, a direction, each at all positions or at one.

    Attributes:
        tensor: The name of the tensor in the graph.
        label: What the user calls it.
        shape: The tensor's shape per sample.
        axis: Its axis of channels; other axes are positions.
        channel: The channel; None for all of them.
        position: The place along each of the other axes; None for all places.
        direction: A vector [channels]: the unit is the product of every position with it. None without one.
    """

    tensor: str
    label: str
    shape: tuple[int, ...]
    axis: int = 0
    channel: int | None = None
    position: tuple[int, ...] | None = None
    direction: Array | None = None

    @property
    def channels(self) -> int:
        """The number of channels of the tensor."""
        return self.shape[self.axis] if self.shape else 1

    @property
    def space(self) -> tuple[int, ...]:
        """The lengths of the axes of positions."""
        return tuple(n for i, n in enumerate(self.shape) if i != self.axis)

    @property
    def is_whole(self) -> bool:
        """Whether the unit is all of the tensor."""
        return self.channel is None and self.position is None and self.direction is None

    def mask(self) -> Array:
        """Return weights that broadcast over the tensor: the unit is Σ weight · activation over a sample (float32)."""
        along = np.ones(self.channels, np.float32)
        if self.direction is not None:
            along = np.asarray(self.direction, np.float32)
        elif self.channel is not None:
            along = np.asarray(np.arange(self.channels) == self.channel, np.float32)
        weights = along.reshape([-1 if i == self.axis else 1 for i in range(len(self.shape))])
        if self.position is None:
            return weights
        here = np.zeros(self.space, np.float32)
        here[self.position] = 1
        return weights * np.expand_dims(here, self.axis)

    def describe(self) -> str:
        """Return what the unit is in words: `channel 12 of 512, the sum over 7 x 7 positions`."""
        words = [f"the sum of all {self.channels} channels" if self.channels > 1 else ""]
        if self.direction is not None:
            words = [f"a direction of {self.channels} channels"]
        elif self.channel is not None:
            words = [f"channel {self.channel} of {self.channels}"]
        if self.space and self.position is not None:
            words.append(f"at {','.join(map(str, self.position))} of {_sizes(self.space)}")
        elif np.prod(self.space) > 1:
            words.append(f"the sum over {_sizes(self.space)} positions")
        return ", ".join(filter(None, words)) or "one value"


@dataclass(frozen=True, eq=False)
class Start:
    """A place where relevance starts, inside of a model or at its logits.

    Attributes:
        tensor: The name of the tensor a in the graph, as `Unit.tensor`.
        mode: "seed": `values` are the relevance. "activation": the relevance is values ⊙ a, that of a unit with these
            weights; for gradients `values`. "difference": it is a − values, the gradient of ½‖a − values‖².
        values: Broadcasts over the tensor: [*shape] for all samples, or [N, *shape]; axes may have length 1.
        weight: A factor of the relevance, one number or one for each sample [N].
    """

    tensor: str
    mode: str
    values: npt.ArrayLike
    weight: npt.ArrayLike = 1.0


MODES = ("seed", "activation", "difference")


def unit(graph: Graph, word: str | Unit) -> Unit:
    """Find what a user names.

    `PATH` is a module path, the name of a node or of a tensor: the result of the module's last layer, or the node's
    first result. A name that is several of these is taken in this order. `PATH:CHANNEL` is a channel of it,
    `PATH:FILE.npy` a direction, the vector [channels] of a file; `@Y,X` behind either, or behind PATH, is a position,
    with one number for each axis that is not that of channels.

    Args:
        graph: The graph.
        word: The words, or a Unit, which is returned as it is.

    Raises:
        UsageError: Nothing has this name, or the channel, position or direction does not fit.
        InputError: The file of a direction cannot be read.
    """
    if isinstance(word, Unit):
        return word
    name, channel, position = _split(graph, word)
    if name is None:
        raise _unknown(graph, word)
    found = of_tensor(graph, name, word)
    if channel.lower().endswith(".npy"):
        return _checked(found, direction=_direction(channel), position=_numbers(position))
    return _checked(found, channel=int(channel) if channel else None, position=_numbers(position))


def layer(graph: Graph, word: str | Unit) -> Unit:
    """Find the whole result of a layer that a user names, as `unit` does.

    Args:
        graph: The graph.
        word: The name.

    Raises:
        UsageError: Nothing has this name, or a channel or position is named.
    """
    found = unit(graph, word)
    if not found.is_whole:
        raise UsageError(f'"{found.label}" is a part of a layer', "name the layer alone, without : and @")
    return found


def of_tensor(graph: Graph, tensor: str, label: str = "") -> Unit:
    """Return a tensor of the graph, by its exact name, as a unit.

    Args:
        graph: The graph.
        tensor: Its name in the graph.
        label: What the user calls it; its name by default.

    Raises:
        UsageError: It holds integers.
    """
    if not _is_floating(graph, tensor) and tensor not in {t.name for t in graph.inputs}:
        raise UsageError(
            f'"{label or tensor}" holds {graph.dtypes[tensor]}, not activations',
            "name a layer that computes floating numbers",
        )
    return Unit(tensor, label or tensor, graph.shapes[tensor], _table(graph).axes.get(tensor, 0))


def layers(graph: Graph, pattern: str) -> list[Unit]:
    """Return the results of the layers whose path or node name a regular expression fits as a whole, in their order.

    Each is called by its path where that names it, else by its node.

    Args:
        graph: The graph.
        pattern: The regular expression.

    Raises:
        UsageError: It is no regular expression, or fits no layer.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(f'"{pattern}" is not a regular expression: {error}', "write a path or a pattern") from None
    table, found = _table(graph), {}
    for layer in graph.layers:
        tensor = _result(layer)
        if not (wanted.fullmatch(layer.path) or wanted.fullmatch(layer.name)):
            continue
        if tensor not in graph.shapes or not _is_floating(graph, tensor):
            continue
        label = layer.path if layer.path and table.tensor(layer.path) == tensor else layer.name
        found[tensor] = of_tensor(graph, tensor, label)
    if not found:
        raise UsageError(f'no layer fits "{pattern}"', did_you_mean(pattern, _labels(graph)))
    return list(found.values())


def start(graph: Graph, word: str | Unit, weight: npt.ArrayLike = 1.0) -> Start:
    """Return the start of relevance at a unit: its activation, or for gradients 1.

    Args:
        graph: The graph.
        word: The unit, as `unit` takes it.
        weight: A factor of the relevance, one number or one for each sample [N].

    Raises:
        UsageError: There is no such unit.
    """
    found = unit(graph, word)
    return Start(found.tensor, "activation", found.mask(), weight)


# -- names


@dataclass(frozen=True, eq=False)
class _Table:
    """The names of a graph: the result of every module path and node, the tensors, and their axes of channels."""

    paths: dict[str, str]
    nodes: dict[str, str]
    tensors: frozenset[str]
    axes: dict[str, int]

    def tensor(self, name: str) -> str | None:
        """Return the tensor that a name stands for."""
        found = self.paths.get(name) or self.nodes.get(name)
        return found or (name if name in self.tensors else None)


def _table(graph: Graph) -> _Table:
    table: _Table | None = graph.__dict__.get("_unit_table")
    if table is None:
        table = _Table(_paths(graph), _nodes(graph), frozenset(graph.shapes), channel_axes(graph))
        object.__setattr__(graph, "_unit_table", table)
    return table


def _paths(graph: Graph) -> dict[str, str]:
    """The result of every module: of its last layer with activations before the head of the model, where it has one."""
    head = _heads(graph)
    last = [layer for layer in graph.layers if layer.name not in head and _is_floating(graph, _result(layer))]
    kept = {layer.name for layer in last}
    found: dict[str, str] = {}
    for layer in (*(layer for layer in graph.layers if layer.name not in kept), *last):
        parts = layer.path.split(".") if layer.path else []
        for n in range(1, len(parts) + 1):
            found[".".join(parts[:n])] = _result(layer)
    return found


def _is_floating(graph: Graph, tensor: str) -> bool:
    return not graph.dtypes.get(tensor, "float32").startswith(("int", "uint", "bool"))


def _nodes(graph: Graph) -> dict[str, str]:
    return {layer.name: _result(layer) for layer in graph.layers if layer.name}


def _heads(graph: Graph) -> set[str]:
    """The names of the layers that make scores of logits, such as a Softmax."""
    behind: set[str] = set()
    for output in graph.outputs:
        found = heads.head_of(graph, output.name)
        if found.logits != output.name:
            behind |= facts.relevant(graph, (found.logits,), output.name)
            behind |= facts.relevant(graph, (found.logits,), found.scores)
    return behind


def _result(layer: Layer) -> str:
    return next(name for name in layer.outputs if name)


def _labels(graph: Graph) -> set[str]:
    return {layer.label for layer in graph.layers}


def _unknown(graph: Graph, word: str) -> UsageError:
    table = _table(graph)
    name = re.split("[:@]", word, maxsplit=1)[0]
    if table.tensor(name) is not None:
        return UsageError(
            f'"{word}" is no unit of "{name}"',
            f'write a channel, "{name}:12", a channel at a position, "{name}:12@3,4", or a direction, "{name}:cav.npy"',
        )
    near = did_you_mean(name, {*table.paths, *table.nodes, *table.tensors})
    if near.startswith("known:"):
        known = list(dict.fromkeys(layer.label for layer in graph.layers))
        near = f"known: {listed(known, _LISTED)}; onnxlrp inspect lists them"
    return UsageError(f'{UNKNOWN} "{name}"', near)


# -- words


def _split(graph: Graph, word: str) -> tuple[str | None, str, str]:
    """The tensor, the channel or file, and the position that a word names; a name may hold ":" and "@" itself."""
    table = _table(graph)
    for name, channel, position in _cuts(word):
        tensor = table.tensor(name)
        if tensor is not None:
            return tensor, channel, position
    return None, "", ""


def _cuts(word: str) -> Iterator[tuple[str, str, str]]:
    """The ways to read a word as (name, channel, position), the longest name first."""
    yield word, "", ""
    head, at, tail = word.rpartition("@")
    ends = [(word, "")] if not (at and _NUMBERS.fullmatch(tail)) else [(head, tail), (word, "")]
    for text, position in ends:
        if position:
            yield text, "", position
        for n in range(len(text) - 1, 0, -1):
            own = text[n + 1 :]
            if text[n] == ":" and (_CHANNEL.fullmatch(own) or own.lower().endswith(".npy")):
                yield text[:n], own, position


def _numbers(text: str) -> tuple[int, ...] | None:
    return tuple(map(int, text.split(","))) if text else None


def _direction(path: str) -> Array:
    try:
        array = np.load(Path(path), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}", "give an .npy file with one number for each channel") from None
    return np.asarray(array)


def _checked(whole: Unit, **parts: Any) -> Unit:
    """The unit of a tensor, refused where channel, position or direction does not fit it."""
    made = Unit(whole.tensor, whole.label, whole.shape, whole.axis, **parts)
    what = f'"{made.label}": the result has {made.channels} channels (axis {made.axis} of {_sizes(made.shape)})'
    if made.channel is not None and made.channel >= made.channels:
        raise UsageError(what, f"give a channel from 0 to {made.channels - 1}")
    vector = made.direction
    if vector is not None and (vector.shape != (made.channels,) or vector.dtype.kind not in "fiu"):
        raise UsageError(f"{what}, the direction is {vector.dtype} {list(vector.shape)}", "give one number for each")
    if vector is not None and not np.isfinite(vector).all():
        raise UsageError(f'"{made.label}": the direction holds NaN or infinity', "give finite numbers")
    at, space = made.position, made.space
    if at is not None and (len(at) != len(space) or any(i >= n for i, n in zip(at, space, strict=False))):
        where = f"has {_sizes(space)} positions" if space else "is a vector without positions"
        last = ",".join(str(n - 1) for n in space)
        fix = f"give @{','.join('0' * len(space))} to @{last}" if space else "leave out @"
        raise UsageError(f'"{made.label}": the result {where}', fix)
    return made


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one value"
