"""Outputs of a program from inside of the model: activations and relevance of units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import UsageError
from ..graph.units import Unit, unit
from ..program.linear import Slice, Sum
from ..program.trace import Trace
from ..program.value import Value
from .backward_walk import BackwardWalk


@dataclass(eq=False)
class Recorder:
    """Keeps the relevance of units while a walk passes their tensors.

    Attributes:
        walk: The walk.
        units: The units, by the names of their outputs.
        found: Their relevance, by output.
    """

    walk: BackwardWalk
    units: dict[str, Unit]
    found: dict[str, Value] = field(default_factory=dict)

    @classmethod
    def of(cls, walk: BackwardWalk, words: Sequence[str | Unit]) -> Recorder:
        """Return a recorder of the relevance of units, "record/WORD" each. Raises UsageError where there is none."""
        return cls(walk, {f"record/{found.label}": found for found in (unit(walk.forward, word) for word in words)})

    def passes(self, tensor: str, relevance: Value) -> None:
        """Keep the relevance of a tensor, if one of the units lies in it."""
        for name, found in self.units.items():
            if self.walk.whole(found.tensor) == tensor and self.walk.graph.shapes[tensor] == found.shape:
                self.found |= outputs_of(self.walk.trace, name, found, relevance)

    def check(self) -> None:
        """Raise UsageError where no relevance has reached a unit."""
        for name, asked in self.units.items():
            if name not in self.found:
                raise unreached(asked)


def unreached(asked: Unit) -> UsageError:
    """Return the error for a unit that no relevance reaches."""
    return UsageError(
        f'no relevance reaches "{asked.label}": it lies on no path from the input to what is explained',
        "name a layer between them; onnxlrp inspect lists them",
    )


def outputs_of(trace: Trace, name: str, asked: Unit, value: Value) -> dict[str, Value]:
    """Return the outputs of a unit of a tensor's activation or relevance.

    Args:
        trace: The trace.
        name: The name of the output.
        asked: The unit.
        value: The activation or relevance of its tensor.
    """
    return {name: part(trace, asked, trace.broadcast_to(value, asked.shape))}


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
