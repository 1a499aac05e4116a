"""Where relevance lies: inside masks, and not at borders and corners, where watermarks are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..explanation.maps import shares
from ..findings.finding import Finding, judged, skipped
from ..preprocessing import labels
from .case import Case
from .registry import check

Array = npt.NDArray[Any]


@check("inside")
@dataclass(frozen=True)
class Inside:
    """The mask of a sample holds at least `lift` times its share of Σ|R| (energy in mask over the mask's area)."""

    lift: float = 1.0

    def __call__(self, case: Case) -> Iterable[Finding]:
        parts = shares(case.pictures)
        for n, name in enumerate(case.samples.names):
            mask = case.masks[n]
            if mask is None or not mask.any():
                yield skipped("no mask" if mask is None else "its mask is empty", name, _WHERE)
                continue
            energy, area = parts[n][mask].sum(), mask.mean()
            message = f"the mask holds {energy:.1%} of Σ|R| and {area:.1%} of the area"
            fix = (
                f"look at it: onnxlrp explain {case.model.path or 'MODEL'} with the sample; is the object what decides?"
            )
            yield judged(bool(energy / area >= self.lift), message, name, energy / area, self.lift, fix)


@check("pointing", severity="warning")
@dataclass(frozen=True)
class Pointing:
    """Of all samples with a mask, a share of at least `rate` has the map's maximum in it (Zhang et al. 2016)."""

    rate: float = 0.8

    def __call__(self, case: Case) -> Iterable[Finding]:
        pairs = [(heat, mask) for heat, mask in zip(case.pictures, case.masks, strict=True) if mask is not None]
        if not pairs:
            yield skipped("no sample has a mask", fix=_WHERE)
            return
        hits = [bool(mask.reshape(-1)[heat.argmax()]) for heat, mask in pairs]
        rate = float(np.mean(hits))
        message = f"{sum(hits)} of {len(hits)} maxima lie in their masks"
        fix = "the findings of the check inside name the samples"
        yield judged(rate >= self.rate, message, ALL, rate, self.rate, fix)


@check("border")
@dataclass(frozen=True)
class Border:
    """A frame of `width` of each side holds at most `lift` times its share of Σ|R|, in the mean over the samples and
    over those of each class; fewer than `least` samples say nothing, for objects lie at borders too."""

    width: float = 0.125
    lift: float = 1.25
    least: int = 4

    def __call__(self, case: Case) -> Iterable[Finding]:
        height, width = case.pictures.shape[1:]
        down, across = (max(1, round(self.width * n)) for n in (height, width))
        frame = np.ones((height, width), dtype=bool)
        frame[down : height - down, across : width - across] = False
        for subject, mean in means(case, self.least):
            if mean is None:
                yield skipped(f"fewer than {self.least} samples", subject, _MORE)
                continue
            energy, area = mean[frame].sum(), frame.mean()
            message = f"the border holds {energy:.1%} of Σ|R| and {area:.1%} of the area"
            yield judged(bool(energy / area <= self.lift), message, subject, energy / area, self.lift, _MARKS)


@check("corners")
@dataclass(frozen=True)
class Corners:
    """No corner of `width` of each side holds more than `lift` times its share of Σ|R|, in the mean over the samples
    and over those of each class of at least `least`: objects move, watermarks stay (Lapuschkin et al. 2019)."""

    width: float = 0.25
    lift: float = 3.0
    least: int = 4

    def __call__(self, case: Case) -> Iterable[Finding]:
        height, width = case.pictures.shape[1:]
        down, across = (max(1, round(self.width * n)) for n in (height, width))
        rows = {"upper": slice(0, down), "lower": slice(height - down, None)}
        columns = {"left": slice(0, across), "right": slice(width - across, None)}
        area = down * across / (height * width)
        for subject, mean in means(case, self.least):
            if mean is None:
                yield skipped(f"fewer than {self.least} samples", subject, _MORE)
                continue
            found = {f"{r} {c}": float(mean[rows[r], columns[c]].sum()) for r in rows for c in columns}
            worst = max(found, key=lambda corner: found[corner])
            value = found[worst] / area
            message = f"the {worst} corner holds {found[worst]:.1%} of Σ|R| and {area:.1%} of the area"
            yield judged(value <= self.lift, message, subject, value, self.lift, _MARKS)


ALL = "all samples"
_MARKS = "look for a watermark, a frame or a caption there in the training pictures of this class, and train without it"
_MORE = "give more samples of each class, or a smaller least"
_WHERE = "put a mask NAME.png beside those of the others, named like the sample"


def means(case: Case, least: int) -> Iterator[tuple[str, Array | None]]:
    """The mean of |R| / Σ|R| over all samples, and over those of each class; None for all that are fewer than `least`,
    the small classes together."""
    parts, of = shares(case.pictures), case.targets
    yield ALL, parts.mean(axis=0) if len(parts) >= least else None
    small = []
    for id in np.unique(of):
        name = f"class {labels.name(case.model.labels, int(id))}"
        rows = parts[of == id]
        if len(rows) >= least:
            yield name, rows.mean(axis=0)
        else:
            small.append(name)
    if small:
        yield small[0] if len(small) == 1 else f"{len(small)} other classes", None
