"""Checks of localization: relevance lies inside masks, and not at borders and corners, where watermarks are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation.maps import shares
from ..findings.finding import Finding, judged, skipped
from ..preprocessing import labels
from .context import CheckContext
from .registry import check

Array = npt.NDArray[Any]


@check("inside", order=40)
@dataclass(frozen=True)
class Inside:
    """The mask of every sample holds more relevance than its share of the area.

    Args:
        lift: The smallest share of Σ|R| in the mask, divided by the mask's share of the area.
    """

    lift: float = 1.0

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        parts = shares(context.pictures)
        for n, name in enumerate(context.samples.names):
            mask = context.masks[n]
            if mask is None or not mask.any():
                yield skipped("no mask" if mask is None else "the mask is empty", name, _WHERE)
                continue
            energy, area = parts[n][mask].sum(), mask.mean()
            message = f"the mask holds {energy:.1%} of Σ|R| and {area:.1%} of the area"
            fix = f"see whether the object decides: onnxlrp explain {context.model.path or 'MODEL'} SAMPLE"
            yield judged(bool(energy / area >= self.lift), message, name, energy / area, self.lift, fix)


@check("pointing", severity="warning", order=40)
@dataclass(frozen=True)
class Pointing:
    """The maximum of most heatmaps lies in the mask (pointing game, Zhang et al. 2016).

    Args:
        rate: The smallest share of samples with a mask whose maximum lies in it.
    """

    rate: float = 0.8

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        pairs = [(heat, mask) for heat, mask in zip(context.pictures, context.masks, strict=True) if mask is not None]
        if not pairs:
            yield skipped("no sample has a mask", fix=_WHERE)
            return
        hits = [bool(mask.reshape(-1)[heat.argmax()]) for heat, mask in pairs]
        rate = float(np.mean(hits))
        message = f"{sum(hits)} of {len(hits)} maxima lie in their masks"
        fix = "the findings of the check `inside` name the samples"
        yield judged(rate >= self.rate, message, ALL, rate, self.rate, fix)


@check("border", order=40)
@dataclass(frozen=True)
class Border:
    """The border of the picture holds little relevance, in the mean over all samples and over each class.

    Args:
        width: The width of the border, as a share of each side.
        lift: The largest share of Σ|R| in the border, divided by its share of the area.
        least: The fewest samples that are judged: single objects may lie at the border.
    """

    width: float = 0.125
    lift: float = 1.25
    least: int = 4

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        height, width, down, across = _edges(context, self.width)
        frame = np.ones((height, width), dtype=bool)
        frame[down : height - down, across : width - across] = False
        return _on_means(context, self, lambda mean: ("border", float(mean[frame].sum())), float(frame.mean()))


@check("corners", order=40)
@dataclass(frozen=True)
class Corners:
    """No corner of the picture holds much relevance, in the mean over all samples and over each class.

    Objects move from picture to picture, watermarks stay (Lapuschkin et al. 2019).

    Args:
        width: The size of a corner, as a share of each side.
        lift: The largest share of Σ|R| in a corner, divided by its share of the area.
        least: The fewest samples that are judged.
    """

    width: float = 0.25
    lift: float = 3.0
    least: int = 4

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        height, width, down, across = _edges(context, self.width)
        rows = {"upper": slice(0, down), "lower": slice(height - down, None)}
        columns = {"left": slice(0, across), "right": slice(width - across, None)}

        def worst(mean: Array) -> tuple[str, float]:
            found = {f"{r} {c} corner": float(mean[rows[r], columns[c]].sum()) for r in rows for c in columns}
            return max(found.items(), key=lambda pair: pair[1])

        return _on_means(context, self, worst, down * across / (height * width))


ALL = "all samples"
_MARKS = "look there for a watermark, a frame or a caption in the training pictures of this class, and train without it"
_MORE = "give more samples of each class, or lower `least`"
_WHERE = "add a mask NAME.png, named like the sample"


def _edges(context: CheckContext, share: float) -> tuple[int, int, int, int]:
    """Height and width of the heatmaps, and so much of each as is this share."""
    height, width = context.pictures.shape[1:]
    return height, width, max(1, round(share * height)), max(1, round(share * width))


def _on_means(
    context: CheckContext, check: Border | Corners, where: Callable[[Array], tuple[str, float]], area: float
) -> Iterator[Finding]:
    """Yield a finding for each mean heatmap.

    Args:
        context: The samples.
        check: The check with its thresholds.
        where: Gives the name of a part of the mean heatmap, and the share of Σ|R| in it.
        area: Its share of the area.
    """
    for subject, mean in means(context, check.least):
        if mean is None:
            yield skipped(f"fewer than {check.least} samples", subject, _MORE)
            continue
        part, energy = where(mean)
        message = f"the {part} holds {energy:.1%} of Σ|R| and {area:.1%} of the area"
        yield judged(energy / area <= check.lift, message, subject, energy / area, check.lift, _MARKS)


def means(context: CheckContext, least: int) -> Iterator[tuple[str, Array | None]]:
    """Yield the mean heatmap of |R| / Σ|R| [H, W] over all samples, and over those of each class.

    Groups of fewer than `least` samples give None, small classes together.
    """
    parts, targets = shares(context.pictures), context.targets
    yield ALL, parts.mean(axis=0) if len(parts) >= least else None
    small = []
    for id in np.unique(targets):
        name = f"class {labels.name(context.model.labels, int(id))}"
        rows = parts[targets == id]
        if len(rows) >= least:
            yield name, rows.mean(axis=0)
        else:
            small.append(name)
    if small:
        yield small[0] if len(small) == 1 else f"{len(small)} other classes", None
