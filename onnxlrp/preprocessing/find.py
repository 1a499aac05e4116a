"""Find the preprocessing of a model: every field from the first source that states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError
from ..inputs import InputKind, decide
from . import sources
from .resolve import class_names, numpy_name, resolve
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
    """Find the preprocessing of a model.

    Each field comes from the first of `sources.SOURCES` that states it; the rest is assumed.

    Args:
        flags: Fields that the user states: `prep` (a preset or a `.toml`), `mean`, `std`, `scale`, `color`, `layout`,
            `size`, `resize`, `crop`, `interpolation`, `labels`; None is not given.
        model_path: The model's file, for files beside it.
        metadata: The model's `metadata_props`.
        input_shape: The shape of one sample; dimensions below 1 are free.
        input_dtype: The type of the input.
        n_outputs: The number of classes, to check class names; None where it is not known.
        strict: Refuse to assume anything.
        high: The largest pixel value, 255 or 1, that the graph's own arithmetic on its input expects.
        kind: The kind of the input; None to decide by what is stated, else by its shape.

    Raises:
        UsageError: A flag is wrong.
        InputError: A file or the metadata is wrong.
        UnsupportedError: The input is no picture; or, with `strict`, a field is not stated.
    """
    model = Path(model_path).name if model_path is not None else "the model"
    shape, dtype = tuple(input_shape), numpy_name(input_dtype, model)
    kind = kind or decide(shape, dtype, stated=find_picture(flags, model_path, metadata))
    context = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata, kind, dtype, high)
    found = sources.read(context, n_outputs)
    stated = found.stated
    prep = resolve(stated, model, kind, dtype)
    names, guessed = class_names(stated, n_outputs)
    by = [source.name for key, (_, source) in stated.items() if key != "labels"]
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
            f"{model}: the preprocessing is not stated ({', '.join(prep.assumed)}), and --strict assumes nothing",
            f"if it is right, add {prep.flags()}",
        )
    return prep


def find_labels(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str], n_outputs: int | None
) -> tuple[tuple[str, ...] | None, bool]:
    """Find the class names of a model whose input is no picture, and whether they are assumed. Raises as `find`."""
    context = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    return class_names(sources.read(context, n_outputs).stated, n_outputs)


def find_size(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]
) -> tuple[int, int] | None:
    """Find the height and width that a source states, for a model that leaves them open. Raises as `find`."""
    context = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    size: tuple[int, int] | None = sources.read(context).stated.get("size", (None, None))[0]
    return size


def states_geometry(flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]) -> bool:
    """Return whether a source states the size of pictures or what is cut of them. Raises as `find`."""
    context = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    return not {"size", "resize", "crop", "resize_to"}.isdisjoint(sources.read(context).stated)


def find_picture(
    flags: Mapping[str, Any], model_path: str | Path | None, metadata: Mapping[str, str]
) -> tuple[str, str | None] | None:
    """Find whether a source states a preprocessing of pictures: the input is then one.

    Returns:
        The name of the source, and the layout where it is stated; None where no source states any.
    """
    context = SourceContext(flags, Path(model_path) if model_path is not None else None, metadata)
    stated = sources.read(context).stated
    if "layout" in stated:
        layout, source = stated["layout"]
        return source.name, layout
    names = [
        source.name for key, (_, source) in stated.items() if key not in ("labels", "size")
    ]  # a signal has these too
    return (names[0], None) if names else None
