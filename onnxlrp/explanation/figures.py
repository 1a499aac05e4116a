"""The figure of one sample's heatmap, with its title and caption."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UsageError, of_type
from ..inputs import InputKind
from ..pictures import heatmap
from ..pictures.smoothing import Smoothing
from ..pictures.style import Style
from .forms import form_of
from .result import Array, Result, assumed

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pictures.marks import Mark

SPACES = ("input", "original")


class Drawn(NamedTuple):
    """What the figure of a sample that is no image shows.

    Attributes:
        kind: The kind of the input.
        relevance: Relevance in the shape of the sample.
        x: The sample; None where it is not known.
        names: Names of features or channels, or words by token id; None without any.
    """

    kind: InputKind
    relevance: Array
    x: Array | None = None
    names: Sequence[str] | None = None


def figure(result: Result, sample: int, target: int, *, cmap: str, clip: float, space: str, overlay: bool,
           smooth: str | float = 0, blend: float = heatmap.BLEND) -> Image:  # fmt: skip
    """Draw the heatmap of one sample, as `Explanation.figure` does."""
    of_type(Integral, "a whole number", sample=sample, target=target)
    sample, target = int(sample), int(target)
    of_type(str, "a name", cmap=cmap, space=space)
    of_type(Real, "a number", clip=clip, blend=blend)
    of_type((str, Real), "a standard deviation, or pool:8", smooth=smooth)
    if not -len(result) <= sample < len(result):
        raise UsageError(f"sample={sample}: there are {len(result)} samples", f"give 0 to {len(result) - 1}")
    several = result.target.ndim == 2
    of = len(result.target) if several else 1
    if not -of <= target < of:
        raise UsageError(f"target={target}: there are {of} targets of each sample", f"give 0 to {of - 1}")
    if space not in SPACES:
        raise UsageError(f'no space "{space}"', "give input or original")
    smoothing, blend = Smoothing.parse(smooth), heatmap.check_blend(blend)
    values = result.relevance[target, sample] if several else result.relevance[sample]
    image = result.images[sample] if result.images else None
    title = " · ".join(filter(None, (result.title(sample, target), result.method)))
    prep = result.preprocessing
    style = Style(cmap, clip, title, _caption(result, sample, target), blend)
    x = None if result.inputs is None else result.inputs[sample]
    text = result.texts[sample] if result.texts else None
    if text is not None:
        from ..pictures import words

        return words.words(text.spread(values).tolist(), text.words, style)
    other = by_kind(Drawn(result.kind, values, x, result.feature_names), style)
    if other is not None:
        return other
    drawn = result.kind.to_drawing(values)
    assert drawn is not None
    if drawn.ndim == 1:
        from ..pictures import bars

        return bars.strip(drawn, style)
    boxes = result.boxes[sample] if result.boxes else None
    places = [] if boxes is None else list(boxes.found)
    original = result.originals[sample] if result.originals and space == "original" else None
    if original is not None and prep is not None:
        part = prep.box((original.height, original.width))
        places = [box.moved(part, prep.size) for box in places]
        image, drawn = original, prep.map_to_original(drawn, (original.height, original.width))
    style = style._replace(caption=" · ".join(filter(None, (style.caption, smoothing.describe()))))
    shown: Sequence[Mark] = ()
    if boxes is not None:
        from .boxes import marks

        shown = marks(boxes, places)
    return heatmap.render(smoothing(drawn), image, style, overlay, shown)


def to_matplotlib(picture: Image) -> Any:
    """Wrap a picture in a matplotlib Figure. Raises UsageError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("plot() draws with matplotlib, which is not installed", "pip install matplotlib") from None
    drawn = Figure(figsize=(picture.width / 100, picture.height / 100), dpi=100)
    axes = drawn.add_axes((0, 0, 1, 1))
    axes.imshow(np.asarray(picture))
    axes.set_axis_off()
    return drawn


def by_kind(drawn: Drawn, style: Style) -> Image | None:
    """Draw what is no map in the figure of its form; None for a map or a strip."""
    kind, values, x, names = drawn
    form = form_of(kind, x is not None)
    if form == "map":
        return None
    from ..pictures import features, slices, traces  # a first heatmap is mostly imports, and of an image

    if form == "bars":
        return features.features(values, x, names, style)
    if form == "slices":
        return slices.slices(_stacked(values, kind), None if x is None else _stacked(x, kind), style)
    if form == "words":
        from ..pictures import letters, words
        from .tokens import named

        found = named(kind, values, x, names)
        relevance, texts = [token.relevance for token in found], [token.text for token in found]
        return (letters.letters if letters.is_letters(texts) else words.words)(relevance, texts, style)
    if form == "traces" and x is not None:
        r, trace = (kind.to_maps(a[np.newaxis])[0] for a in (values, x))
        return traces.traces(r, trace, names, style)
    return None


def _stacked(values: Array, kind: InputKind) -> Array:
    """A volume as slices [D, H, W], summed over its channels; further axes in front become more slices."""
    summed = kind.summed(values[np.newaxis].astype(np.float64))[0]
    return np.asarray(summed.reshape(-1, *summed.shape[-2:]))


def _caption(result: Result, sample: int, target: int) -> str:
    logit, total = (np.atleast_2d(np.asarray(a))[target, sample] for a in (result.logit, result.total))
    words = [f"ΣR {total:.4g} of {'value' if result.is_value else 'logit'} {logit:.4g}"]
    if assumed(result):
        words.append("preprocessing ASSUMED: " + ", ".join(assumed(result)))
    if result.preprocessing and result.preprocessing.labels_assumed:
        words.append("class names assumed")
    return " · ".join(words)
