"""Checks of localization: relevance lies inside masks, and not at borders and corners, where watermarks are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
        parts = context.in_order(lambda part: list(shares(part.pictures)))
        masks = context.in_order(lambda part: part.masks)
        for n, name in enumerate(context.names):
            mask = masks[n]
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
        heats = context.in_order(lambda part: list(part.pictures))
        masks = context.in_order(lambda part: part.masks)
        pairs = [(heat, mask) for heat, mask in zip(heats, masks, strict=True) if mask is not None]
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
        return _on_means(context, self, self._frame)

    def _frame(self, height: int, width: int) -> dict[str, Array]:
        down, across = _edges(height, width, self.width)
        frame = np.ones((height, width), dtype=bool)
        frame[down : height - down, across : width - across] = False
        return {"border": frame}


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
        return _on_means(context, self, self._corners)

    def _corners(self, height: int, width: int) -> dict[str, Array]:
        down, across = _edges(height, width, self.width)
        rows = {"upper": slice(0, down), "lower": slice(height - down, None)}
        columns = {"left": slice(0, across), "right": slice(width - across, None)}
        found = {}
        for r in rows:
            for c in columns:
                found[f"{r} {c} corner"] = corner = np.zeros((height, width), dtype=bool)
                corner[rows[r], columns[c]] = True
        return found


ALL = "all samples"
_MARKS = "look there for a watermark, a frame or a caption in the training pictures of this class, and train without it"
_MORE = "give more samples of each class, or lower `least`"
_WHERE = "add a mask NAME.png, named like the sample"


def _edges(height: int, width: int, share: float) -> tuple[int, int]:
    """So much of height and width as is this share, a pixel at least."""
    return max(1, round(share * height)), max(1, round(share * width))


def _on_means(
    context: CheckContext, check: Border | Corners, areas: Callable[[int, int], Mapping[str, Array]]
) -> Iterator[Finding]:
    """Yield a finding for the mean over all samples, and over each class, of the share of Σ|R| in an area.

    Args:
        context: The samples; of several sizes, each has the area in its own.
        check: The check with its thresholds.
        areas: Gives areas [H, W] by their names, of which the one that holds most is judged.
    """

    def inside(part: CheckContext) -> list[dict[str, tuple[float, float]]]:
        parts = shares(part.pictures)
        named = areas(*parts.shape[1:])
        return [{k: (float(one[area].sum()), float(area.mean())) for k, area in named.items()} for one in parts]

    found = context.in_order(inside)
    for subject, rows in _groups(context, check.least):
        if rows is None:
            yield skipped(f"fewer than {check.least} samples", subject, _MORE)
            continue
        means = {name: np.mean([found[n][name] for n in rows], axis=0) for name in found[0]}
        part, (energy, area) = max(means.items(), key=lambda pair: float(pair[1][0]))
        message = f"the {part} holds {energy:.1%} of Σ|R| and {area:.1%} of the area"
        yield judged(bool(energy / area <= check.lift), message, subject, energy / area, check.lift, _MARKS)


def _groups(context: CheckContext, least: int) -> Iterator[tuple[str, Array | None]]:
    """Yield the numbers of all samples, and of those of each class.

    Groups of fewer than `least` samples give None, small classes together.
    """
    targets = context.targets
    yield ALL, np.arange(len(targets)) if len(targets) >= least else None
    small = []
    for id in np.unique(targets):
        name = f"class {labels.name(context.model.labels, int(id))}"
        rows = np.flatnonzero(targets == id)
        if len(rows) >= least:
            yield name, rows
        else:
            small.append(name)
    if small:
        yield small[0] if len(small) == 1 else f"{len(small)} other classes", None
