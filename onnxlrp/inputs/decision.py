"""The decision what an input is: by the user, the graph, the preprocessing, or its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import words
from .kind import InputKind

if TYPE_CHECKING:
    from ..graph.axes.input_axes import InputAxes


def decide(
    shape: tuple[int, ...],
    dtype: str = "float32",
    *,
    word: str | None = None,
    graph: InputAxes | None = None,
    stated: tuple[str, str | None] | None = None,
    open_length: bool = False,
) -> InputKind:
    """Decide what an input is: by the user's word, else the graph, else the preprocessing, else its shape.

    Args:
        shape: the input's shape per sample.
        dtype: its type, as numpy or ONNX names it.
        word: `--kind`: one of KINDS, with a layout if the graph does not tell it: "image:NHWC", "signal:NLC".
        graph: what the first layers take the axes for (`graph.axes.input_axes`); None where they do not tell.
        stated: who states a preprocessing, so that the input is a picture, and its layout if that is stated too.
        open_length: whether the model takes any number of values along its only axis.

    Returns:
        The kind; its `source` says who decided.

    Raises:
        UsageError: for a word that is no kind, or a layout that does not fit the shape.
    """
    guess = _guess(shape, dtype, open_length)
    if word is not None:
        return words.said(word, shape, graph, guess)
    # A matrix that meets another axis than that of colours resizes a picture, or reads it row by row.
    colours = guess.is_image and guess.channel_axis is not None and guess.channels in (1, 3)
    if graph is not None and not (graph.by_product and colours and graph.channel_axis != guess.channel_axis):
        return InputKind(graph.name, shape, graph.channel_axis, graph.spatial_axes, words.by_graph(graph))
    if stated is not None and len(shape) in (2, 3):
        who, layout = stated
        image = words.laid(shape, layout) if layout else _image(shape)
        if image is not None:
            return InputKind("image", shape, *image, f"preprocessing: {who}")
    return guess


def _guess(shape: tuple[int, ...], dtype: str, open_length: bool = False) -> InputKind:
    """The kind that a shape looks like: the only guess, made where nobody says."""
    source = f"assumed from the shape {list(shape)}"
    everything = tuple(range(len(shape)))
    if dtype in ("int32", "int64") and len(shape) in (1, 2):
        return InputKind("tokens", shape, None, everything, f"{source} of {dtype}")
    if len(shape) == 1 and open_length:  # features are counted; a series is as long as it is
        return InputKind("signal", shape, None, (0,), "assumed from its open length")
    if len(shape) < 2:
        return InputKind("vector", shape, None, (), source)
    if len(shape) == 2 and min(shape) < 8:
        channel = int(shape[1] < shape[0])
        return InputKind("signal", shape, channel, (1 - channel,), source)
    if len(shape) in (2, 3):
        return InputKind("image", shape, *_image(shape), source)
    channel = 0 if shape[0] <= shape[-1] else len(shape) - 1
    return InputKind("volume", shape, channel, tuple(axis for axis in everything if axis != channel), source)


def _image(shape: tuple[int, ...]) -> tuple[int | None, tuple[int, ...]]:
    """(channel axis, spatial axes) of a picture: its channels are the end of 1 or 3, else of 4, else the shorter."""
    if len(shape) == 2:
        return None, (0, 1)
    first, last = (_unlike_channels(shape[axis]) for axis in (0, 2))
    channel = 0 if first <= last else 2
    return channel, (1, 2) if channel == 0 else (0, 1)


def _unlike_channels(length: int) -> tuple[int, int]:
    return {1: 0, 3: 0, 4: 1}.get(length, 2), 0 if length in (1, 3, 4) else length
