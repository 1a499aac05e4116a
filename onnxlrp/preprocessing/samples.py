"""Samples: arrays in the model's own layout, with the pictures that they come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError, listed
from ..files import read_text, reason
from ..inputs import InputKind
from ..inputs.text import Text
from . import feature_names, images, tables
from .transform import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

# Given samples with missing values (NaN), what they are called and the names of their columns, returns what the model
# is given and by column what became of the missing values.
Fill = Callable[[Array, str, Sequence[str] | None], tuple[Array, dict[int, str]]]

TEXTS = (".txt",)
_LONGEST_TEXT = 64 << 20


@dataclass(frozen=True, eq=False)
class Samples:
    """A batch of samples.

    Attributes:
        values: The model's input [N, …].
        views: The pictures as the model sees them, resized and cut; None for arrays.
        originals: The whole pictures; None for arrays.
        names: File stems.
        pictures: Whether all samples are pictures.
        kind: The kind of the input.
        own_size: Whether pictures are taken at their own size.
        columns: The header of the table that the samples come from, in the order of the model's features.
        reordered: The columns of the table stood in another order.
        missing: Which values were missing, bool [N, …]; None where none was.
        filled: What became of the missing values of a column, by its number.
    """

    values: Array
    views: Sequence[Image | None]
    originals: Sequence[Image | None]
    names: Sequence[str]
    pictures: bool
    kind: InputKind
    own_size: bool = False
    columns: tuple[str, ...] | None = None
    reordered: bool = False
    missing: Array | None = None
    filled: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, keep: slice) -> Samples:
        return replace(
            self,
            values=self.values[keep],
            views=self.views[keep],
            originals=self.originals[keep],
            names=self.names[keep],
            missing=None if self.missing is None else self.missing[keep],
        )


class Opened(NamedTuple):
    """A sample as it was given, or several of them: an array, a picture, a Text or Samples, read but not converted.

    Attributes:
        content: The array, the picture, the Text or the Samples.
        name: The stem of its file, "" for none.
        origin: Its name in messages.
        table: The table that the array comes from.
    """

    content: Any
    name: str = ""
    origin: str = "the input"
    table: tables.Table | None = None


def opened(x: Any, name_column: str | None = None) -> list[Opened]:
    """Read the files of samples; arrays and pictures are taken as they are.

    Args:
        x: An array (one sample or a batch), a PIL image, a path, Samples, what is opened already, or a list of these.
        name_column: The column of a table that names its rows.

    Raises:
        InputError: A file cannot be read, or there is no sample.
    """
    items = list(x) if isinstance(x, list | tuple) and not isinstance(x, Opened) else [x]
    if not items:
        raise InputError("nothing to explain: the list is empty", "give at least one sample")
    return [made for item in items for made in (_lines(item) or [_opened(item, name_column)])]


def made(
    items: Sequence[Opened],
    kind: InputKind,
    dtype: str,
    preprocessing: Callable[[], Preprocessing],
    own_size: bool = False,
    features: Sequence[str] = (),
    fill: Fill | None = None,
) -> Samples:
    """Convert samples to the model's input.

    Args:
        items: The samples.
        kind: The kind of the input.
        dtype: The type of the input.
        preprocessing: Gives the preprocessing; called for pictures only.
        own_size: Whether pictures are taken at their own size.
        features: The names of a vector's features in the model's order; the columns of a table are found by them.
        fill: Decides about missing values; None refuses them.

    Raises:
        InputError: An array does not fit the input, a table has no column for a feature, or the model does not say what
            becomes of a missing value.
        UnsupportedError: A picture is given, and the input is none.
    """
    parts = [replace(_made(item, kind, dtype, preprocessing, features, fill), own_size=own_size) for item in items]
    if len(parts) == 1:
        return parts[0]
    return Samples(
        np.concatenate([p.values for p in parts]),
        [view for p in parts for view in p.views],
        [original for p in parts for original in p.originals],
        _numbered([name for p in parts for name in p.names]),
        all(p.pictures for p in parts),
        kind,
        own_size,
        parts[0].columns if len({p.columns for p in parts}) == 1 else None,
        any(p.reordered for p in parts),
        None
        if all(p.missing is None for p in parts)
        else np.concatenate([np.zeros(p.values.shape, bool) if p.missing is None else p.missing for p in parts]),
        {column: words for p in parts for column, words in p.filled.items()},
    )


def several_sizes(sizes: Mapping[tuple[int, ...], Sequence[str]], pictures: bool) -> InputError:
    """Return the error of samples that are not of one size, where one array holds the results of all.

    Args:
        sizes: The names of the samples of each shape.
        pictures: They are pictures, which can be brought to one size.
    """
    said = "; ".join(
        f"{' x '.join(map(str, shape))} ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for shape, names in sizes.items()
    )
    fix = ("give those of one size in one call", "give those of one size in one run")
    if pictures:
        fix = ("load the model at one size: load(path, size=(224, 224))", "bring them to one size: --size 224x224")
    return InputError(f"samples of several sizes: {said}", *fix)


def _lines(item: Any) -> list[Opened]:
    """The lines of a file of text, each a sample; [] for what is no such file."""
    if isinstance(item, Text) or not isinstance(item, str | os.PathLike) or Path(item).suffix.lower() not in TEXTS:
        return []
    path = Path(item)
    try:
        lines = [line.strip() for line in read_text(path, _LONGEST_TEXT).splitlines()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as text ({reason(error)})", "give UTF-8, a text on each line"
        ) from None
    found = [(n, line) for n, line in enumerate(lines, 1) if line]
    if not found:
        raise InputError(f"{path}: holds no text", "give a text on each line")
    return [Opened(Text(line), path.stem, f"{path}, line {n}" if len(found) > 1 else str(path)) for n, line in found]


def _opened(item: Any, name_column: str | None) -> Opened:
    name, origin = "", "the input"
    if isinstance(item, Opened):
        return item
    if isinstance(item, Text):
        return Opened(item, "text", "the text")
    if isinstance(item, str | os.PathLike):
        path = Path(item)
        name, origin = path.stem, str(path)
        if tables.is_table(path):
            table = tables.read(path, name_column)
            return Opened(table.values, name, origin, table)
        item = images.read_array(path, missing=True) if path.suffix.lower() == ".npy" else images.open_image(path)
    if isinstance(item, Samples):
        return Opened(item)
    if hasattr(item, "convert") and hasattr(item, "getbands"):
        return Opened(item if images.is_deep(item) else images.rgb(item), name, origin)
    return Opened(np.asarray(item), name, origin)


def _made(
    item: Opened,
    kind: InputKind,
    dtype: str,
    preprocessing: Callable[[], Preprocessing],
    features: Sequence[str],
    fill: Fill | None,
) -> Samples:
    content = item.content
    if isinstance(content, Samples):
        return content if content.kind == kind else replace(content, kind=kind)
    if item.table is not None:
        return _rows(item, item.table, kind, dtype, features, fill)
    if isinstance(content, np.ndarray):
        names = features if len(features) == np.prod(kind.shape) else None
        return _array(content, kind, dtype, item, names, fill)
    prep = preprocessing()
    return Samples(prep.apply(content), [prep.view(content)], [images.rgb(content)], [item.name or "image"], True, kind)


def _rows(
    item: Opened, table: tables.Table, kind: InputKind, dtype: str, features: Sequence[str], fill: Fill | None
) -> Samples:
    """The rows of a table as samples: a number for each value of the input, by their names, else in its own order."""
    count = int(np.prod(kind.shape))
    values = table.values
    if values.shape[1] != count:
        named = f" ({listed(table.columns)})" if table.columns else ""
        raise InputError(
            f"{item.origin}: {values.shape[1]} columns of numbers{named}, the model takes {count}",
            "leave out what is no input, such as the answer; a column of names: --name-column NAME",
        )
    columns, reordered = table.columns, False
    if columns is not None and len(features) == count:
        places = feature_names.order(columns, features, item.origin)
        if places is not None:
            reordered = places != list(range(count))
            values, columns = values[:, places], tuple(columns[place] for place in places)
    made = _array(values.reshape(-1, *kind.shape), kind, dtype, item, columns, fill)
    names = made.names if table.rows is None else [f"{item.name}.{row}" for row in table.rows]
    return replace(made, names=names, columns=columns, reordered=reordered)


def _array(
    array: Array, kind: InputKind, dtype: str, item: Opened, columns: Sequence[str] | None, fill: Fill | None
) -> Samples:
    """An array as samples; `columns` are the names of a vector's features."""
    missing: Array | None = None
    filled: dict[int, str] = {}

    def decided(values: Array) -> Array:
        nonlocal missing, filled
        assert fill is not None
        missing = np.isnan(values)
        values, filled = fill(values, item.origin, columns if kind.name == "vector" else None)
        return values

    values = images.batched(array, kind.shape, dtype, item.origin, None if fill is None else decided)
    n, name = len(values), item.name or "array"
    names = [name] if n == 1 else [f"{name}.{i}" for i in range(n)]
    return Samples(values, [None] * n, [None] * n, names, False, kind, missing=missing, filled=filled)


def _numbered(names: list[str]) -> list[str]:
    """Number the names of samples that do not come from files."""
    return [f"{name}.{i}" if name in ("array", "image") else name for i, name in enumerate(names)]
