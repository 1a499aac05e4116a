"""BiLRP: which parts of two samples make them similar together."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..errors import InputError, UnsupportedError, UsageError, at_least
from ..graph.graph import Array
from ..graph.outputs.units import Start

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..composites import Composite
    from ..inputs import InputKind
    from ..preprocessing.samples import Samples

SHOWN = 60  # lines of a figure
SUFFIXES = (".png", ".npz", ".json")


@dataclass(frozen=True, eq=False)
class Lines:
    """The similarity of two samples, shared among pairs of their parts.

    Attributes:
        relevance: R [P, Q] of part p of the first with part q of the second, rows of cells one after the other.
        grids: The cells of both: (rows, columns).
        similarity: Σ z z', or the cosine, that ΣR is a share of.
        images: Both pictures as the model saw them.
        names: Their names.
        provenance: Model, composite and layer.
    """

    relevance: Array
    grids: tuple[tuple[int, int], tuple[int, int]]
    similarity: float
    images: tuple[Image, Image]
    names: tuple[str, str]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def strongest(self, count: int = SHOWN) -> list[tuple[tuple[int, int], tuple[int, int], float]]:
        """Return the pairs of cells with the largest |R|: (row, column) of both, and R.

        Args:
            count: How many of them.
        """
        flat = self.relevance.reshape(-1)
        order = np.argsort(-np.abs(flat), kind="stable")[:count]
        places = zip(*np.unravel_index(order, (*self.grids[0], *self.grids[1])), strict=True)
        return [
            ((int(a), int(b)), (int(c), int(d)), float(flat[i])) for (a, b, c, d), i in zip(places, order, strict=True)
        ]

    def figure(self, count: int = SHOWN, cmap: str = "RdBu_r") -> Image:
        """Draw both pictures with a line for each of the strongest pairs.

        Args:
            count: The number of lines.
            cmap: The colour map.
        """
        from ..pictures.lines import Line, lines
        from ..pictures.style import Style

        at_least(1, whole=True, count=count)
        (down, across), (below, beside) = self.grids
        found = [
            Line(((a[0] + 0.5) / down, (a[1] + 0.5) / across), ((b[0] + 0.5) / below, (b[1] + 0.5) / beside), value)
            for a, b, value in self.strongest(count)
        ]
        share = np.abs([value for *_, value in self.strongest(count)]).sum() / max(np.abs(self.relevance).sum(), 1e-30)
        title = f"{self.names[0]} and {self.names[1]} · {self.similarity:.3g} · BiLRP"
        caption = f"ΣR {self.relevance.sum():.4g} of {self.similarity:.4g} · {len(found)} lines, {share:.0%} of all |R|"
        return lines(self.images, found, Style(cmap=cmap, title=title, caption=caption))

    def save(self, path: str | Path, count: int = SHOWN, cmap: str = "RdBu_r") -> Path:
        """Write the figure (.png), or the numbers (.npz, .json).

        Args:
            path: The file.
            count: The number of lines of a figure, or pairs in JSON.
            cmap: The colour map.

        Raises:
            UsageError: Another suffix.
            InputError: The file cannot be written.
        """
        path, buffer = check_file(path), io.BytesIO()
        about = {"similarity": self.similarity, "grids": self.grids, "names": self.names, **self.provenance}
        suffix = path.suffix.lower()
        if suffix == ".png":
            self.figure(count, cmap).save(buffer, "PNG")
        elif suffix == ".npz":
            np.savez_compressed(buffer, relevance=self.relevance, about=np.array(json.dumps(about)))
        else:
            pairs = [{"first": a, "second": b, "relevance": value} for a, b, value in self.strongest(count)]
            buffer.write((json.dumps({**about, "pairs": pairs}, indent=1) + "\n").encode())
        return files.replace(path, buffer.getvalue())


def check_file(path: str | Path) -> Path:
    """Return the path of a file of lines.

    Args:
        path: The file.

    Raises:
        UsageError: It is no .png, .npz or .json.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        named = path.with_suffix(".png") if path.name else path / "lines.png"
        raise UsageError(f"{path}: no such kind of file for lines", f"name a .png, .npz or .json file: '{named}'")
    return path


def bilrp(
    model: Any,
    tensor: str,
    shape: tuple[int, ...],
    composite: Composite,
    samples: tuple[Samples, Samples],
    *,
    cosine: bool = True,
    grid: int = 8,
    projections: int = 0,
    seed: int = 0,
    batch_size: int | None = None,
) -> Lines:
    """Share the similarity of two pictures among pairs of their parts.

    R_pq = Σ_m R_p^(m) R'_q^(m), where R^(m) is the relevance of the m-th value z_m of the layer, in the first and the
    second picture. It factorises, so that one backward pass for each value is enough. ΣR = Σ z z' as far as the rules
    conserve relevance.

    Args:
        model: The model.
        tensor: The tensor of the embedding z.
        shape: Its shape per sample.
        composite: The rules.
        samples: Both pictures, each alone.
        cosine: Divide by ‖z‖ ‖z'‖.
        grid: Parts on the longer side of each picture.
        projections: So many random sums Σ ±z_m / √projections in the place of all values; 0 for all.
        seed: Of these signs.
        batch_size: Values at a time.

    Raises:
        UsageError: The composite gives gradients, or a number is out of its range.
        InputError: Several samples, or a cosine of zeros.
        UnsupportedError: The samples are no pictures.

    References:
        Eberle et al., Building and interpreting deep similarity models, IEEE TPAMI 2022.
    """
    at_least(1, whole=True, grid=grid)
    at_least(0, whole=True, projections=projections)
    if composite.seed == "one":
        raise UsageError(f"{composite.name} gives gradients, and no shares of the similarity", "-m epsilon_plus_flat")
    if any(len(one) != 1 for one in samples):
        raise InputError("BiLRP compares two pictures, and several are given", "compare them one by one")
    pictures = [one.views[0] if one.pictures and one.views else None for one in samples]
    names = tuple(str(one.names[0] or word) for one, word in zip(samples, ("first", "second"), strict=True))
    if pictures[0] is None or pictures[1] is None:
        raise _no_pictures(samples, [one is None for one in pictures])
    size = int(np.prod(shape))
    projections = projections if projections < size else 0
    if projections:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (projections, size)) / np.sqrt(projections)
    else:
        signs = np.eye(size)
    step = batch_size or 32
    maps, values = [], []
    for one in samples:
        rows, found = [], []
        for first in range(0, len(signs), step):
            part = signs[first : first + step].astype(np.float32).reshape(-1, *shape)
            x = np.repeat(one.values, len(part), axis=0)
            out = model.outputs(x, composite, starts=[Start(tensor, "activation", part)])
            rows.append(_pooled(one.kind, out["relevance"], grid))
            found.append(out["value/0"].reshape(-1))
        maps.append(np.concatenate(rows))
        values.append(np.concatenate(found).astype(np.float64))
    relevance, similarity = np.einsum("mp,mq->pq", *(one.reshape(len(one), -1) for one in maps)), values[0] @ values[1]
    if cosine:
        norm = float(np.linalg.norm(values[0]) * np.linalg.norm(values[1]))
        if not norm:
            raise InputError("all values of a picture at the output are zero: there is no cosine", "--similarity dot")
        relevance, similarity = relevance / norm, similarity / norm
    about = {"composite": composite.name, "at": tensor, "values": size, "projections": projections}
    grids = tuple(one.shape[1:] for one in maps)
    return Lines(relevance, grids, float(similarity), (pictures[0], pictures[1]), names, about)  # type: ignore[arg-type]


def _no_pictures(samples: tuple[Samples, Samples], arrays: Sequence[bool]) -> UnsupportedError:
    """The error where samples are arrays or the like, whatever they stand for: lines are drawn over pictures."""
    told = zip(("first", "second"), samples, arrays, strict=True)
    values = [f"the {word} ({one.names[0]})" for word, one, is_array in told if is_array]
    what = "is no picture file" if len(values) == 1 else "are no picture files"
    text = f"BiLRP draws lines between two pictures, and {' and '.join(values)} {what}"
    alone = "explain without the lines, which arrays allow"
    if samples[0].kind.name != "image":
        return UnsupportedError(
            f"{text}: the model reads {samples[0].kind.name}",
            f"{alone}: explain(x, similar_to=other)",
            "leave out --lines: --similar-to alone explains it",
        )
    return UnsupportedError(
        text,
        f"give both as pictures (files or PIL images), or {alone}: explain(x, similar_to=other)",
        "give both as picture files, such as .png, or leave out --lines: --similar-to alone takes arrays",
    )


def _pooled(kind: InputKind, relevance: Array, grid: int) -> Array:
    """Sums of relevance over cells, [m, rows, columns]."""
    heat = kind.summed(relevance.astype(np.float64))
    for axis in (1, 2):
        length = heat.shape[axis]
        cells = max(1, round(grid * length / max(heat.shape[1:])))
        cells = min(cells, length)
        heat = np.add.reduceat(heat, [n * length // cells for n in range(cells)], axis=axis)
    return np.asarray(heat)
