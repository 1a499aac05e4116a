"""Names of the files of an explanation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UnsupportedError, UsageError, did_you_mean
from ..graph.outputs.places import SIZES
from .result import Result, class_id, label, target_count

FORMATS = ("png", "npz", "json", "html", "safetensors")
FIELDS = ("stem", "target", "label", "method", "index")

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAMED = 5  # targets in the name of a file that holds several


def file_pattern(path: str | Path, format: str | None = None) -> tuple[str, str]:
    """Return the file name with the suffix of its format, and the format.

    Raises:
        UsageError: There is no such format or field.
        UnsupportedError: The library that writes the format is not installed.
    """
    pattern = str(path)
    suffix = Path(pattern).suffix.lower().lstrip(".")
    kind = (format or suffix).lower().lstrip(".")
    if kind not in FORMATS:
        raise UsageError(f"{pattern}: no format {kind!r}", f"end the name in .{', .'.join(FORMATS)}")
    if kind == "safetensors":
        try:
            import safetensors.numpy  # noqa: F401
        except ImportError:
            raise UnsupportedError(
                f"{pattern}: .safetensors files are written by safetensors, which is not installed",
                "pip install safetensors, or write .npz, which has the same arrays",
            ) from None
    if kind != suffix:
        pattern = (pattern[: -len(suffix) - 1] if suffix in FORMATS else pattern) + f".{kind}"
    for name in _FIELD.findall(pattern):
        if name not in FIELDS:
            raise UsageError(f"{pattern}: there is no field {{{name}}}", did_you_mean(name, FIELDS))
    return pattern, kind


def file_word(text: str) -> str:
    """Return a label or a stem as part of a file name, which does not lead out of the folder that the user named."""
    word = re.sub(r"[^\w.+-]+", "_", text)
    return word if word.strip(".") else "_"


def file_path(text: str) -> str:
    """Return a stem with folders before it as a relative path; each part as of `file_word`."""
    return "/".join(file_word(part) for part in text.split("/") if part) or "_"


def distinguishes(pattern: str) -> bool:
    """Return whether the pattern tells the samples apart."""
    return bool(({*FIELDS} - {"method"}) & {*_FIELD.findall(pattern)})


def paths(result: Result, pattern: str, places: Sequence[tuple[int, int | None]]) -> list[Path]:
    """Return a unique name for each file; equal names are numbered before the suffix."""
    named = [_filled(result, pattern, n, t) for n, t in places]
    if len(set(named)) == len(named):
        return [Path(name) for name in named]
    return [Path(name).with_suffix(f".{i}{Path(name).suffix}") for i, name in enumerate(named)]


def _is_coordinate(result: Result) -> bool:
    """Return whether coordinates of a box are explained, not its classes."""
    return bool(result.boxes) and result.head == "Values" and tuple(result.labels or ()) == SIZES


def _filled(result: Result, pattern: str, sample: int, target: int | None) -> str:
    shown = (range(target_count(result)) if target is None else [target])[:_NAMED]
    names = [label(result, sample, t) for t in shown]
    coordinate = _is_coordinate(result)
    ids = names if coordinate else [str(class_id(result, sample, t)) for t in shown]
    box = f"box{result.boxes[sample].chosen + 1}{'-' if coordinate else '.'}" if result.boxes else ""
    words = {
        "stem": result.names[sample] if result.names else f"sample{sample}",
        "target": box + "-".join(ids),
        "label": box + "-".join(names),
        "method": result.method or "relevance",
        "index": sample,
    }

    def fill(found: re.Match[str]) -> str:
        word = str(words[found[1]])
        return file_path(word) if found[1] == "stem" else file_word(word)

    return _FIELD.sub(fill, pattern)
