"""Outputs of a program from inside of the model: activations and relevance of units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..graph.outputs.units import Unit, unit
from ..program.linear import Permute, Select, Slice, Sum, Window
from ..program.trace import Trace
from ..program.value import Value
from .backward_walk import BackwardWalk

# What can be kept of a channel's positions: their sum, the largest, the place of the first largest, the sum of sizes.
REDUCTIONS = ("sum", "max", "argmax", "abssum")


@dataclass(eq=False)
class Recorder:
    """Keeps the relevance of units while a walk passes their tensors.

    Attributes:
        walk: The walk.
        units: The units, by the names of their outputs.
        reduce: What of each is kept, of REDUCTIONS; () for all of it.
        found: Their relevance, by output.
        reached: The outputs of the units that relevance has reached.
    """

    walk: BackwardWalk
    units: dict[str, Unit]
    reduce: Sequence[str] = ()
    found: dict[str, Value] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, walk: BackwardWalk, words: Sequence[str | Unit], reduce: Sequence[str]) -> Recorder:
        """Return a recorder of the relevance of units, "record/WORD" each. Raises UsageError where there is none."""
        units = {f"record/{found.label}": found for found in (unit(walk.forward, word) for word in words)}
        return cls(walk, units, reduce)

    def passes(self, tensor: str, relevance: Value) -> None:
        """Keep the relevance of a tensor, if one of the units lies in it."""
        for name, found in self.units.items():
            if self.walk.whole(found.tensor) == tensor and self.walk.graph.shapes[tensor] == found.shape:
                self.found |= outputs_of(self.walk.trace, name, found, relevance, self.reduce)
                self.reached.add(name)

    def check(self) -> None:
        """Raise UsageError where no relevance has reached a unit."""
        for name, asked in self.units.items():
            if name not in self.reached:
                raise unreached(asked)


def unreached(asked: Unit) -> UsageError:
    """Return the error for a unit that no relevance reaches."""
    return UsageError(
        f'no relevance reaches "{asked.label}": it lies on no path from the input to what is explained',
        "name a layer between them; onnxlrp inspect lists them",
    )


def outputs_of(trace: Trace, name: str, asked: Unit, value: Value, reduce: Sequence[str] = ()) -> dict[str, Value]:
    """Return the outputs of a unit of a tensor's activation or relevance.

    Args:
        trace: The trace.
        name: The name of the output.
        asked: The unit.
        value: The activation or relevance of its tensor.
        reduce: Of REDUCTIONS: "NAME/sum" and its like [channels] in the place of "NAME"; of a channel or a direction
            one number.
    """
    with trace.at(name):
        found = part(trace, asked, trace.broadcast_to(value, asked.shape))
        if not reduce:
            return {name: found}
        single = asked.channel is not None or asked.direction is not None
        axis = None if single else 0 if asked.position is not None else asked.axis
        maps = _as_maps(trace, found, axis)
        kept = () if single else maps.shape[:1]
        return {f"{name}/{word}": trace.reshape(_reduced(trace, maps, word), kept) for word in reduce}


def _as_maps(trace: Trace, value: Value, axis: int | None) -> Value:
    """Return a value as maps [channels, height, width] or rows [channels, positions]; without channels as one."""
    shape = value.shape
    if axis is None:
        return trace.reshape(value, (1, *shape) if len(shape) == 2 else (1, math.prod(shape)))
    order = (axis, *(i for i in range(len(shape)) if i != axis))
    if order != tuple(range(len(shape))):
        value = trace.linear(Permute(shape, tuple(shape[i] for i in order), order), value)
    return value if len(shape) == 3 else trace.reshape(value, (shape[axis], math.prod(shape) // shape[axis]))


def _reduced(trace: Trace, maps: Value, word: str) -> Value:
    """Return one number of each map, [C]: the first of its largest elements, that element's place, or a sum."""
    count, *space = maps.shape
    width, ones, none = math.prod(space), (1,) * len(space), (0,) * len(space)
    if word in ("sum", "abssum"):
        terms = maps if word == "sum" else trace.map("max", maps, -maps)
        return trace.linear(Sum(maps.shape, (count,), tuple(range(1, len(maps.shape)))), terms)
    if width == 1:  # no constant: a zero of each sample
        return trace.reshape(maps if word == "max" else trace.append_map("greater", (maps, maps)), (count,))
    select = Select(maps.shape, (count, *ones), Window(tuple(space), ones, ones, none, none, tuple(space), ones))
    places = np.broadcast_to(np.arange(width, dtype=np.float64).reshape(space), maps.shape)
    return trace.reshape(trace.linear(select, maps if word == "max" else trace.constant(places), maps), (count,))


def part(trace: Trace, asked: Unit, value: Value) -> Value:
    """Return a unit of a tensor: all of it, a channel [*positions], a direction's products, or these at a position."""
    axis, space = asked.axis, [i for i in range(len(asked.shape)) if i != asked.axis]
    starts, lengths = [0] * len(asked.shape), list(asked.shape)
    for i, at in zip(space, asked.position or (), strict=False):
        starts[i], lengths[i] = at, 1
    if asked.channel is not None:
        starts[axis], lengths[axis] = asked.channel, 1
    if tuple(lengths) != asked.shape:
        value = trace.linear(Slice(asked.shape, tuple(lengths), tuple(starts), (1,) * len(lengths)), value)
    gone = set(space if asked.position is not None else ())
    if asked.direction is not None:
        weights = trace.constant(asked.direction.reshape([-1 if i == axis else 1 for i in range(len(lengths))]))
        rest = tuple(n for i, n in enumerate(lengths) if i != axis)
        value = trace.linear(Sum(tuple(lengths), rest, (axis,)), value * weights)
    if asked.direction is not None or asked.channel is not None:
        gone.add(axis)
    return trace.reshape(value, tuple(n for i, n in enumerate(lengths) if i not in gone))
