"""What an explanation holds: relevance and scores, where they come from, and how they become files and pictures."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from onnxlrp import files
from onnxlrp.errors import UsageError, did_you_mean
from onnxlrp.pictures import heatmap
from onnxlrp.preprocessing import labels

if TYPE_CHECKING:
    from PIL.Image import Image

    from onnxlrp.preprocessing import Preprocessing

Array = npt.NDArray[Any]

FORMATS = ("png", "npz", "json")
FIELDS = ("stem", "target", "label", "method", "index")
SPACES = ("input", "original")

_FIELD = re.compile(r"\{([^{}]*)\}")
_SHOWN = 4  # figures in a notebook
_NAMED = 5  # targets in the name of a file that holds several


class Row(Protocol):
    """A row of the ledger, as far as an explanation needs to know it."""

    def of(self, samples: Array) -> Row: ...

    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Explanation:
    """The relevance of every input value for one class of each of N samples.

    `relevance` [N, …] has the input's shape, `output` [N, K] the model's scores, `target` [N] the class ids; with
    several targets of every sample `relevance` is [T, N, …], `target` and `logit` [T, N]. `logit` is what was
    propagated: the score before a final Softmax or Sigmoid, taken from `output` where it is not given.
    `layers` holds the recorded relevance of inner layers by path, `ledger` the balance of every layer when asked for.
    `head` is what made the scores of the logits: "Softmax", "LogSoftmax", "Sigmoid", "" for nothing, None if unknown.
    `names` are file stems, `images` the pictures as the model saw them, `originals` as they were.
    `notes` are what the method says besides, by name: an array of the target's shape has one for each.
    """

    relevance: Array
    output: Array
    target: Array
    ledger: Sequence[Row] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    layers: Mapping[str, Array] = field(default_factory=dict)
    images: Sequence[Image | None] | None = None
    preprocessing: Preprocessing | None = None
    logit: Array | None = None
    names: Sequence[str] | None = None
    originals: Sequence[Image | None] | None = None
    head: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("relevance", "output", "target"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        output = self.output.reshape(len(self.output), -1)
        logit = np.take_along_axis(output.T, np.atleast_2d(self.target), axis=0) if self.logit is None else self.logit
        object.__setattr__(self, "logit", np.asarray(logit).reshape(self.target.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self.relevance.dtype:
            if copy is False:
                raise ValueError(f"relevance is {self.relevance.dtype}, {np.dtype(dtype)} of it is a copy")
            return self.relevance.astype(dtype)
        return self.relevance.copy() if copy else self.relevance

    def __len__(self) -> int:
        return len(self.output)

    def __iter__(self) -> Iterator[Explanation]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice) -> Explanation:
        """The explanation of one sample (or of a slice), its batch axis kept."""
        keep = np.arange(len(self))[index]  # raises IndexError, which ends an iteration
        keep = np.atleast_1d(keep)
        several = self.target.ndim == 2

        def cut(values: Array) -> Array:
            return values[:, keep] if several else values[keep]

        def pick(items: Sequence[Any] | None) -> list[Any] | None:
            return None if items is None else [items[i] for i in keep]

        return Explanation(
            relevance=cut(self.relevance),
            output=self.output[keep],
            target=cut(self.target),
            ledger=None if self.ledger is None else [row.of(keep) for row in self.ledger],
            provenance=self.provenance,
            labels=self.labels,
            layers={path: cut(values) for path, values in self.layers.items()},
            images=pick(self.images),
            preprocessing=self.preprocessing,
            logit=None if self.logit is None else cut(self.logit),
            names=pick(self.names),
            originals=pick(self.originals),
            head=self.head,
            notes={
                name: cut(value) if np.shape(value)[: self.target.ndim] == self.target.shape else value
                for name, value in self.notes.items()
            },
        )

    def __repr__(self) -> str:
        return f"Explanation({len(self)} × {self._label(0)}, {self.method}, relevance {self.relevance.shape})"

    @property
    def method(self) -> str:
        """The method's name, of the provenance."""
        return str(self.provenance.get("method", ""))

    @property
    def is_value(self) -> bool:
        """Whether the model gives one number that is no score of a class: regression."""
        return self.head == "" and self.output.size == len(self)

    @property
    def total(self) -> Array:
        """ΣR of each sample, in float64: [N], or [T, N]. Compare with `logit`."""
        total: Array = self.relevance.sum(axis=tuple(range(self.target.ndim, self.relevance.ndim)), dtype=np.float64)
        return total

    @property
    def probabilities(self) -> Array:
        """The scores [N, K] as shown: probabilities as they are (of a Sigmoid, one for each class), log-probabilities
        as probabilities, one value alone as it is, and all else as its softmax."""
        scores = self.output.reshape(len(self), -1).astype(np.float64)
        if self.head == "LogSoftmax":
            logs: Array = np.exp(scores)
            return logs
        if self.head in ("Softmax", "Sigmoid") or scores.shape[1] < 2:
            return scores
        if self.head is None and (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
            return scores
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def top(self, k: int = 3) -> list[list[tuple[int, str, float]]]:
        """The k best classes of each sample, best first: (id, short label or id, probability)."""
        return [
            [(int(i), labels.name(self.labels, int(i)), float(row[i])) for i in np.argsort(-row, kind="stable")[:k]]
            for row in self.probabilities
        ]

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
        if space not in SPACES:
            raise UsageError(f'no space "{space}"', "give input or original")
        several = self.target.ndim == 2
        values = self.relevance[target, sample] if several else self.relevance[sample]
        image = self.images[sample] if self.images else None
        title = " · ".join(filter(None, (self.title(sample, target), self.method)))
        prep = self.preprocessing
        if values.ndim == 1 or (values.ndim == 2 and image is None and prep is None and min(values.shape) < 8):
            return heatmap.strip(values, cmap, clip, title, self._caption(sample, target))
        values = heatmap.sum_channels(values, prep.layout if prep else None)
        original = self.originals[sample] if self.originals and space == "original" else None
        if original is not None and prep is not None:
            image, values = original, prep.map_to_original(values, (original.height, original.width))
        return heatmap.render(values, image, cmap, clip, overlay, title, self._caption(sample, target))

    def title(self, sample: int = 0, target: int = 0) -> str:
        """`zebra · 0.94`: the class that is explained, and how sure the model is of it."""
        return " · ".join(filter(None, (self._label(sample, target), self._shown(sample, target))))

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
        pattern, kind = file_pattern(path, format)
        look: dict[str, Any] = {"cmap": cmap, "clip": clip, "space": space, "overlay": overlay}
        jobs = self._jobs(pattern, kind, **look)
        paths = self._paths(pattern, [(n, t) for n, t, _ in jobs])
        return [files.replace(name, make()) for name, (_, _, make) in zip(paths, jobs, strict=True)]

    def paths(self, path: str | Path, format: str | None = None) -> list[Path]:
        """The files that `save` with the same arguments would write. Raises UsageError."""
        pattern, kind = file_pattern(path, format)
        return self._paths(pattern, [(n, t) for n, t, _ in self._jobs(pattern, kind)])

    def plot(self, sample: int = 0, target: int = 0, **look: Any) -> Any:
        """The figure of one sample as a matplotlib Figure. Raises UsageError where matplotlib is not installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise UsageError("plot() draws with matplotlib, which is not installed", "pip install matplotlib") from None
        picture = self.figure(sample, target, **look)
        drawn = Figure(figsize=(picture.width / 100, picture.height / 100), dpi=100)
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.imshow(np.asarray(picture))
        axes.set_axis_off()
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """Scores, sums, ledger and provenance in JSON's types, without the relevance itself (`npz` holds it)."""
        best = self.top(5)
        logit, total, target = (np.atleast_2d(np.asarray(a)) for a in (self.logit, self.total, self.target))
        data = {
            "samples": [
                {
                    "name": self.names[n] if self.names else None,
                    "targets": [
                        {
                            "id": int(target[t, n]),
                            "label": labels.name(self.labels, int(target[t, n])),
                            "logit": float(logit[t, n]),
                            "relevance_sum": float(total[t, n]),
                        }
                        for t in range(self._targets)
                    ],
                    "top": [
                        {"id": i, "label": label, "value" if self.is_value else "probability": p}
                        for i, label, p in best[n]
                    ],
                }
                for n in range(len(self))
            ],
            "relevance_shape": list(self.relevance.shape),
            "ledger": None if self.ledger is None else [row.to_dict() for row in self.ledger],
            "notes": {name: np.asarray(value).tolist() for name, value in self.notes.items()},
            "provenance": self._origin(),
        }
        if self._assumed:
            data["ASSUMED"] = list(self._assumed)
        plain: dict[str, Any] = _plain(data)
        return plain

    def to_json(self) -> str:
        """`to_dict` as text; NaN and infinity become null."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _repr_png_(self) -> bytes:
        figures = [self.figure(n, t) for n in range(len(self)) for t in range(self._targets)][:_SHOWN]
        return encoded(figures[0] if len(figures) == 1 else heatmap.stack(figures), {})

    @property
    def _targets(self) -> int:
        return len(self.target) if self.target.ndim == 2 else 1

    @property
    def _assumed(self) -> tuple[str, ...]:
        return self.preprocessing.assumed if self.preprocessing else ()

    def _id(self, sample: int, target: int = 0) -> int:
        return int(self.target[target, sample] if self.target.ndim == 2 else self.target[sample])

    def _label(self, sample: int, target: int = 0) -> str:
        return labels.name(self.labels, self._id(sample, target))

    def _shown(self, sample: int, target: int) -> str:
        score = self.probabilities[sample, self._id(sample, target)]
        return f"{score:.4g}" if self.is_value else f"{score:.2f}"

    def _caption(self, sample: int, target: int) -> str:
        logit, total = (np.atleast_2d(np.asarray(a))[target, sample] for a in (self.logit, self.total))
        words = [f"ΣR {total:.4g} of {'value' if self.is_value else 'logit'} {logit:.4g}"]
        if self._assumed:
            words.append("preprocessing ASSUMED: " + ", ".join(self._assumed))
        if self.preprocessing and self.preprocessing.labels_assumed:
            words.append("class names assumed")
        return " · ".join(words)

    def _origin(self) -> dict[str, Any]:
        origin = dict(self.provenance)
        prep = self.preprocessing
        if prep is not None:
            stated = {"source": prep.source, "assumed": list(prep.assumed), "labels_assumed": prep.labels_assumed}
            stated |= {"conflicts": [str(c) for c in prep.conflicts]} if prep.conflicts else {}
            origin.setdefault("preprocessing", {**prep.to_dict(), **stated})
        cleaned: dict[str, Any] = _plain(origin)
        return cleaned

    def _jobs(self, pattern: str, kind: str, **look: Any) -> list[tuple[int, int | None, Callable[[], bytes]]]:
        """The sample, the target (None for all) and the maker of every file."""
        if kind == "png":
            return [(n, t, partial(self._png, n, t, **look)) for n in range(len(self)) for t in range(self._targets)]
        if len(self) > 1 and not ({*FIELDS} - {"method"}) & {*_FIELD.findall(pattern)}:
            return [(0, None, getattr(self, f"_{kind}"))]
        return [(n, None, getattr(self[n], f"_{kind}")) for n in range(len(self))]

    def _png(self, sample: int, target: int, **look: Any) -> bytes:
        words = {"Software": "onnxlrp", "Title": f"{self._label(sample, target)} {self.method}".strip()}
        here = {"target": self._id(sample, target), "label": self._label(sample, target)}
        words["onnxlrp.provenance"] = json.dumps({**self._origin(), **here}, allow_nan=False)
        if self._assumed:
            words["ASSUMED"] = ", ".join(self._assumed)
        return encoded(self.figure(sample, target, **look), words)

    def _npz(self) -> bytes:
        arrays = {"relevance": self.relevance, "output": self.output, "target": self.target, "logit": self.logit}
        arrays |= {f"layers/{path}": values for path, values in self.layers.items()}
        seen = [image for image in self.images or () if image is not None]
        if len(seen) == len(self) and len({image.size for image in seen}) == 1:
            arrays["images"] = np.stack([np.asarray(image.convert("RGB")) for image in seen])
        arrays["provenance"] = np.array(json.dumps(self._origin(), allow_nan=False))
        if self._assumed:
            arrays["ASSUMED"] = np.array(", ".join(self._assumed))
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    def _json(self) -> bytes:
        return self.to_json().encode()

    def _paths(self, pattern: str, places: Sequence[tuple[int, int | None]]) -> list[Path]:
        """A name for each file, no two alike: what the pattern leaves alike is numbered before the suffix."""
        named = [self._fill(pattern, n, t) for n, t in places]
        if len(set(named)) == len(named):
            return [Path(name) for name in named]
        return [Path(name).with_suffix(f".{i}{Path(name).suffix}") for i, name in enumerate(named)]

    def _fill(self, pattern: str, sample: int, target: int | None) -> str:
        shown = range(self._targets) if target is None else [target]
        words = {
            "stem": self.names[sample] if self.names else f"sample{sample}",
            "target": "-".join(str(self._id(sample, t)) for t in shown[:_NAMED]),
            "label": "-".join(self._label(sample, t) for t in shown[:_NAMED]),
            "method": self.method or "relevance",
            "index": sample,
        }

        def fill(found: re.Match[str]) -> str:
            # A label or a stem is no path: it must not leave the folder that the user named.
            word = re.sub(r"[^\w.+-]+", "_", str(words[found[1]]))
            return word if word.strip(".") else "_"

        return _FIELD.sub(fill, pattern)


def file_pattern(path: str | Path, format: str | None = None) -> tuple[str, str]:
    """The file name with the suffix of its format, and the format. Raises UsageError."""
    pattern = str(path)
    suffix = Path(pattern).suffix.lower().lstrip(".")
    kind = (format or suffix).lower().lstrip(".")
    if kind not in FORMATS:
        raise UsageError(f"{pattern}: no format {kind!r}", f"end the name in .{', .'.join(FORMATS)}")
    if kind != suffix:
        pattern = (pattern[: -len(suffix) - 1] if suffix in FORMATS else pattern) + f".{kind}"
    for name in _FIELD.findall(pattern):
        if name not in FIELDS:
            raise UsageError(f"{pattern}: nothing is called {{{name}}}", did_you_mean(name, FIELDS))
    return pattern, kind


def encoded(picture: Image, words: Mapping[str, str]) -> bytes:
    """A PNG file that carries these words."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in words.items():
        info.add_text(key, text) if text.isascii() else info.add_itxt(key, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    """JSON's types: numpy's become Python's, NaN and infinity null, anything else its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
