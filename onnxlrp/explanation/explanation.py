"""What `explain` gives: a result that is shown and saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..pictures import sheets
from . import figures, names, record, saving
from .result import Result, targets

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 4  # figures in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Result):
    """The relevance of every input value for one class of each of N samples, to look at and to save.

    Its fields are those of `Result`: `relevance`, `output`, `target`, `ledger`, `provenance` and what belongs to them.
    """

    def figure(
        self,
        sample: int = 0,
        target: int = 0,
        *,
        cmap: str = "RdBu_r",
        clip: float = 99.5,
        space: str = "input",
        overlay: bool = True,
    ) -> Image:
        """The picture of one sample's heatmap, of its `target`-th target; `space="original"` lays it over the whole
        picture as it was. Raises UnsupportedError for an input that is no picture and no signal."""
        return figures.figure(self, sample, target, cmap=cmap, clip=clip, space=space, overlay=overlay)

    def save(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        cmap: str = "RdBu_r",
        clip: float = 99.5,
        space: str = "input",
        overlay: bool = True,
    ) -> list[Path]:
        """Write `png` (a figure for each sample and target), `npz` or `json` (one file for all samples, or one for each
        where the name tells them apart), by the suffix or by `format`, which then gives the suffix; returns the files.

        The name may hold `{stem} {target} {label} {method} {index}`; several files of one name become `name.0.png`,
        `name.1.png`. Each is written under a temporary name and renamed. Raises UsageError, InputError.
        """
        pattern, kind = names.file_pattern(path, format)
        look: dict[str, Any] = {"cmap": cmap, "clip": clip, "space": space, "overlay": overlay}
        jobs = saving.jobs(self, pattern, kind, **look)
        paths = names.paths(self, pattern, [(n, t) for n, t, _ in jobs])
        return [files.replace(name, make()) for name, (_, _, make) in zip(paths, jobs, strict=True)]

    def paths(self, path: str | Path, format: str | None = None) -> list[Path]:
        """The files that `save` with the same arguments would write. Raises UsageError."""
        pattern, kind = names.file_pattern(path, format)
        return names.paths(self, pattern, [(n, t) for n, t, _ in saving.jobs(self, pattern, kind)])

    def plot(self, sample: int = 0, target: int = 0, **look: Any) -> Any:
        """The figure of one sample as a matplotlib Figure. Raises UsageError where matplotlib is not installed."""
        return figures.plotted(self.figure(sample, target, **look))

    def to_dict(self) -> dict[str, Any]:
        """Scores, sums, ledger and provenance in JSON's types, without the relevance itself (`npz` holds it)."""
        return record.to_dict(self)

    def to_json(self) -> str:
        """`to_dict` as text; NaN and infinity become null."""
        return record.to_json(self)

    def _repr_png_(self) -> bytes:
        shown = [self.figure(n, t) for n in range(len(self)) for t in range(targets(self))][:_SHOWN]
        return saving.encoded(shown[0] if len(shown) == 1 else sheets.stack(shown), {})
