"""Kinds of inputs in words: what `--kind` takes, and what the graph is quoted with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError, did_you_mean
from .kind import KINDS, InputKind

if TYPE_CHECKING:
    from ..graph.axes.input_axes import InputAxes

_SPACE = {"image": 2, "signal": 1, "volume": 3}  # axes of space; a volume may have more


def said(word: str, shape: tuple[int, ...], graph: InputAxes | None, guess: InputKind) -> InputKind:
    """Return the kind that `--kind WORD` names, its axes by the word, the graph or the shape. Raises UsageError."""
    name, colon, layout = word.partition(":")
    name = name.strip().lower()
    if name not in KINDS:
        raise UsageError(f'--kind "{word}": there is no kind of input "{name}"', did_you_mean(name, KINDS))
    if colon:
        axes = laid(shape, layout.strip().upper())
        if axes is None:
            example = f"--kind {name}:{_example(name, len(shape))}"
            raise UsageError(
                f"--kind {word}: the layout does not fit an input of {list(shape)} per sample",
                f"give N and a letter for each axis, C for the channels, such as {example}",
            )
        channel, spatial = axes
    elif graph is not None and graph.name == name:
        channel, spatial = graph.channel_axis, graph.spatial_axes
    elif graph is not None and graph.channel_axis is not None and not graph.by_product and _has_channels(name, shape):
        # An axis of one place is an axis of space by this word: a picture of one row, say.
        channel = graph.channel_axis
        spatial = tuple(axis for axis in range(len(shape)) if axis != channel)
    else:
        channel, spatial = _axes(name, shape, guess)
    if name == "vector":
        return InputKind(name, shape, None, (), "--kind")
    if name == "tokens":
        return InputKind(name, shape, channel if colon else None, spatial, "--kind")
    long = tuple(axis for axis in spatial if shape[axis] > 1) or spatial
    spatial = spatial if len(spatial) == _SPACE[name] else long
    needed = _SPACE[name]
    if len(spatial) < needed or (len(spatial) > needed and name != "volume"):
        raise UsageError(
            f"--kind {word}: an input of {list(shape)} per sample has {len(spatial)} axes of space, "
            f"{'an' if name == 'image' else 'a'} {name} {needed}",
            f"give --kind {_fitting(len(spatial))}",
        )
    return InputKind(name, shape, channel, spatial, "--kind")


def laid(shape: tuple[int, ...], layout: str) -> tuple[int | None, tuple[int, ...]] | None:
    """(channel axis, spatial axes) of a layout such as NCHW or NLC; None where it does not fit the shape."""
    letters = layout[1:]
    if layout[:1] != "N" or len(letters) != len(shape) or len(set(layout)) != len(layout) or not layout.isalpha():
        return None
    channel = letters.index("C") if "C" in letters else None
    return channel, tuple(axis for axis in range(len(shape)) if axis != channel)


def by_graph(graph: InputAxes) -> str:
    """`graph: conv1 takes axis 0 as channels`."""
    if graph.name == "tokens":
        text = f"graph: {graph.layer} looks up its numbers"
    elif graph.channel_axis is None:
        text = f"graph: {graph.layer} reads it without channels"
    else:
        text = f"graph: {graph.layer} takes axis {graph.channel_axis} as channels"
    return text + (f"; {', '.join(graph.others)} read it otherwise" if graph.others else "")


def _axes(name: str, shape: tuple[int, ...], guess: InputKind) -> tuple[int | None, tuple[int, ...]]:
    """(channel axis, spatial axes) of a kind that nobody tells the axes of."""
    everything = tuple(range(len(shape)))
    if guess.name == name:
        return guess.channel_axis, guess.spatial_axes
    if name not in _SPACE or len(shape) <= _SPACE[name]:
        return None, everything
    ends = (0, len(shape) - 1)
    channel = min(ends, key=lambda axis: shape[axis])
    return channel, tuple(axis for axis in everything if axis != channel)


def _has_channels(name: str, shape: tuple[int, ...]) -> bool:
    """Whether such an input has one axis beside those of space."""
    return name in _SPACE and len(shape) == _SPACE[name] + 1


def _example(name: str, rank: int) -> str:
    """A layout that an input of `rank` axes per sample may have."""
    space = {"image": "HW", "volume": "DHW"}.get(name, "L")
    letters = space[:rank] if rank <= len(space) else "C" + space
    return "N" + "TSUVW"[: rank - len(letters)] + letters


def _fitting(spatial: int) -> str:
    return {0: "vector", 1: "signal", 2: "image"}.get(spatial, "volume")
