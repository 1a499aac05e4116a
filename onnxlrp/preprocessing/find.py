"""The preprocessing of a model: every piece from the first source that states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError
from ..inputs import InputKind, decide
from . import sources
from .resolve import class_names, numpy_name, settle
from .sources.statement import SourceContext
from .transform import Preprocessing


def find(
    flags: Mapping[str, Any],
    model_path: str | Path | None,
    metadata: Mapping[str, str],
    input_shape: Sequence[int],
    input_dtype: str = "float32",
    n_outputs: int | None = None,
    strict: bool = False,
    high: float | None = None,
    kind: InputKind | None = None,
) -> Preprocessing:
    """The preprocessing of a model with one input of the per-sample shape, each piece from the first source of
    `sources.LADDER` that states it, the rest assumed.

    Flags are `prep` (a preset or a `.toml`), `mean`, `std`, `scale`, `color`, `layout`, `size`, `resize`, `crop`,
    `interpolation`, `labels`; None is not given. `high` is what the graph's own arithmetic takes a pixel's largest
    value for; `kind` is what the input is (default: by what is stated, else by its shape). Raises UsageError (flags),
    InputError (files, metadata), UnsupportedError (an input that is no picture; with `strict` an assumption, naming the
    flags to paste).
    """
    model = Path(model_path).name if model_path is not None else "the model"
    shape, dtype = tuple(input_shape), numpy_name(input_dtype, model)
    kind = kind or decide(shape, dtype, stated=find_picture(flags, model_path, metadata))
    place = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata, kind, dtype, high)
    found = sources.read(place, n_outputs)
    stated = found.stated
    prep = settle(stated, model, kind, dtype)
    names, guessed = class_names(stated, n_outputs)
    by = [rung.name for key, (_, rung) in stated.items() if key != "labels"]
    prep = replace(
        prep,
        labels=names,
        labels_assumed=guessed,
        source=" + ".join(dict.fromkeys(by)) or "assumed",
        conflicts=found.conflicts,
        notes=found.notes,
    )
    if strict and prep.assumed:
        raise UnsupportedError(
            f"{model}: nobody states the preprocessing ({', '.join(prep.assumed)}), and --strict assumes nothing",
            f"if it is right, add {prep.flags()}",
        )
    return prep


def find_labels(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str], n_outputs: int | None
) -> tuple[tuple[str, ...] | None, bool]:
    """The class names alone, for a model whose input is no picture, and whether they are assumed. Raises as `find`."""
    place = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    return class_names(sources.read(place, n_outputs).stated, n_outputs)


def find_size(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]
) -> tuple[int, int] | None:
    """Height and width as somebody states them, for a model that leaves them open. Raises as `find`."""
    place = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    size: tuple[int, int] | None = sources.read(place).stated.get("size", (None, None))[0]
    return size


def find_picture(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]
) -> tuple[str, str | None] | None:
    """Who states how a picture becomes the input, so that it is one, and the layout if that is stated; None where
    nobody does. Raises as `find`."""
    place = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    stated = sources.read(place).stated
    if "layout" in stated:
        layout, rung = stated["layout"]
        return rung.name, layout
    by = [rung.name for key, (_, rung) in stated.items() if key not in ("labels", "size")]  # a signal has these too
    return (by[0], None) if by else None
