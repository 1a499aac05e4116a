"""Explanation: a result that can be shown and saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..pictures import sheets
from ..pictures.heatmap import BLEND
from . import figures, names, record, saving
from .result import Result, target_count

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 4  # figures in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Result):
    """The relevance of every input value for one class of each of N samples, with figures and files.

    `len(e)` is N; `e[i]` and `e[i:j]` are explanations of some samples; `numpy.asarray(e)` is the relevance. A notebook
    shows the first figures.
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
        smooth: str | float = 0,
        blend: float = BLEND,
    ) -> Image:
        """Draw the heatmap of one sample.

        Args:
            sample: Index of the sample.
            target: Index of the target, where several are explained.
            cmap: Name of the colour map; its middle is zero.
            clip: Percentile of |R| that the colours span; larger values get the colour of the end.
            space: "input" draws what the model sees, "original" lays the heatmap over the whole picture as it was.
            overlay: Whether the picture is seen, in grey, below the heatmap.
            smooth: How a heatmap with two axes is smoothed, which the caption says: the standard deviation of a
                Gaussian in values of the heatmap, "pool:8" for means of squares, or 0.
            blend: Opacity of the strongest relevance over the grey picture, 0 to 1.

        Returns:
            A figure with a title, a colour bar and the sum of the relevance.

        Raises:
            UnsupportedError: The input is neither a picture nor a signal.
            UsageError: There is no such colour map or space.
        """
        return figures.figure(self, sample, target, cmap=cmap, clip=clip, space=space, overlay=overlay, smooth=smooth,
                              blend=blend)  # fmt: skip

    def save(
        self,
        path: str | Path,
        format: str | None = None,
        *,
        cmap: str = "RdBu_r",
        clip: float = 99.5,
        space: str = "input",
        overlay: bool = True,
        smooth: str | float = 0,
        blend: float = BLEND,
    ) -> list[Path]:
        """Write figures, arrays or a record of the explanation.

        A png is a figure of one sample and target; npz, safetensors (the same arrays, the provenance in its metadata),
        json and html (tokens in colour) hold all samples, or one where the name tells samples apart. Each file is
        written under a temporary name and renamed.

        Args:
            path: The file's name, which may hold `{stem}`, `{target}`, `{label}`, `{method}` and `{index}`. Several
                files of one name become `name.0.png`, `name.1.png`. Of a detector target and label begin with the box:
                `box1.2`, `box1-w`.
            format: "png", "npz", "json", "html" or "safetensors"; by default what the suffix says.
            cmap: Of figures, as `figure` takes it.
            clip: Of figures, as `figure` takes it.
            space: Of figures, as `figure` takes it.
            overlay: Of figures, as `figure` takes it.
            smooth: Of figures, as `figure` takes it.
            blend: Of figures, as `figure` takes it.

        Returns:
            The files that were written.

        Raises:
            UsageError: There is no such format, colour map or field of the name.
            UnsupportedError: The library that writes the format is not installed.
            InputError: A file cannot be written.
        """
        pattern, kind = names.file_pattern(path, format)
        look: dict[str, Any] = {"cmap": cmap, "clip": clip, "space": space, "overlay": overlay}
        look |= {"smooth": smooth, "blend": blend}
        jobs = saving.jobs(self, pattern, kind, **look)
        paths = names.paths(self, pattern, [(n, t) for n, t, _ in jobs])
        return [files.replace(name, make()) for name, (_, _, make) in zip(paths, jobs, strict=True)]

    def paths(self, path: str | Path, format: str | None = None) -> list[Path]:
        """Return the files that `save` would write.

        Args:
            path: The file's name, as `save` takes it.
            format: "png", "npz", "json", "html" or "safetensors", as `save` takes it.

        Raises:
            UsageError: There is no such format or field of the name.
        """
        pattern, kind = names.file_pattern(path, format)
        return names.paths(self, pattern, [(n, t) for n, t, _ in saving.jobs(self, pattern, kind)])

    def plot(self, sample: int = 0, target: int = 0, **look: Any) -> Any:
        """Return the figure of one sample as a matplotlib Figure.

        Args:
            sample: Index of the sample.
            target: Index of the target, where several are explained.
            look: `cmap`, `clip`, `space`, `overlay`, `smooth` and `blend`, as `figure` takes them.

        Raises:
            UsageError: matplotlib is not installed, or there is no such colour map or space.
        """
        return figures.to_matplotlib(self.figure(sample, target, **look))

    def to_dict(self) -> dict[str, Any]:
        """Return scores, sums, ledger and provenance in JSON's types, without the relevance (a .npz file holds it)."""
        return record.to_dict(self)

    def to_json(self) -> str:
        """Return `to_dict` as text; NaN and infinity become null."""
        return record.to_json(self)

    def _repr_png_(self) -> bytes:
        shown = [self.figure(n, t) for n in range(len(self)) for t in range(target_count(self))][:_SHOWN]
        return saving.encode_png(shown[0] if len(shown) == 1 else sheets.stack(shown), {})
