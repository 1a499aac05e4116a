"""Samples: arrays in the model's own layout, with the pictures that they come from."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
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

    from ..inputs.counted import CountedText

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
        left_out: The columns of the table that are no feature of the model.
        shown: The values as they were given [N, …], objects: words where `values` has codes; None without words.
        unknown: Of columns of words those that the model does not know, by the column's number.
        trimmed: Of columns of words the cells that were taken without the spaces around them, by the column's number.
        missing: Which values were missing, bool [N, …]; None where none was.
        filled: What became of the missing values of a column, by its number.
        texts: The texts that a model's counts are of; None for other samples.
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
    left_out: tuple[str, ...] = ()
    shown: Array | None = None
    unknown: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    trimmed: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    missing: Array | None = None
    filled: Mapping[int, str] = field(default_factory=dict)
    texts: Sequence[CountedText | None] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def form(self) -> tuple[bool, tuple[int, ...]]:
        """What samples of one batch have in common: whether they are pictures, and the shape of each."""
        return self.pictures, self.kind.shape

    def __getitem__(self, keep: slice) -> Samples:
        return replace(
            self,
            values=self.values[keep],
            views=self.views[keep],
            originals=self.originals[keep],
            names=self.names[keep],
            shown=None if self.shown is None else self.shown[keep],
            missing=None if self.missing is None else self.missing[keep],
            texts=None if self.texts is None else self.texts[keep],
        )


class Opened(NamedTuple):
    """A sample as it was given, or several of them: an array, a picture, a Text or Samples, read but not converted.

    Attributes:
        content: The array, the picture, the table, the Text or the Samples.
        name: The stem of its file, "" for none.
        origin: Its name in messages.
        table: The table that the array comes from.
        text: The text that the array has the counts of.
    """

    content: Any
    name: str = ""
    origin: str = "the input"
    table: tables.Table | None = None
    text: CountedText | None = None


class Encoded(NamedTuple):
    """The bytes of a file that lies in an archive or was dropped: decoded where it is known what model reads them.

    Attributes:
        data: The bytes.
        file: The file's name, whose suffix says what it is.
        name: What the sample is called.
        origin: What it is called in messages.
    """

    data: bytes
    file: str
    name: str
    origin: str


def opened(x: Any, name_column: str | None = None, whole_texts: bool = False) -> list[Opened]:
    """Read the files of samples; arrays and pictures are taken as they are.

    Args:
        x: An array (one sample or a batch), a PIL image, a path, Encoded, Samples, Opened, or a list of these.
        name_column: The column of a table that names its rows.
        whole_texts: A file of text is one sample, but for its last line end; else each of its lines is one.

    Raises:
        InputError: A file cannot be read, or there is no sample.
    """
    items = list(x) if isinstance(x, list | tuple) and not isinstance(x, Opened | Encoded) else [x]
    if not items:
        raise InputError("nothing to explain: the list is empty", "give at least one sample")
    return [made for item in items for made in _all_of(item, name_column, whole_texts)]


def _all_of(item: Any, name_column: str | None, whole_texts: bool) -> list[Opened]:
    if isinstance(item, Encoded):
        return decoded(item, whole_texts)
    return _lines(item, whole_texts) or [_opened(item, name_column)]


def decoded(encoded: Encoded, whole_texts: bool = False) -> list[Opened]:
    """Read samples from the bytes of a file: a picture, an .npy array, a .csv table, or a text of several lines.

    Args:
        encoded: The bytes.
        whole_texts: As of `opened`.

    Raises:
        InputError: It is damaged, or none of these.
    """
    data, file, name, origin = encoded
    suffix = Path(file).suffix.lower()
    if suffix == ".npy":
        return [Opened(images.decode_array(io.BytesIO(data), origin, missing=True), name, origin)]
    if suffix not in (".csv", *TEXTS):
        return [Opened(images.decode(io.BytesIO(data), origin), name, origin)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: cannot be read as text ({reason(error)})", "save it as UTF-8") from None
    if suffix in TEXTS:
        return _texts(text, name, origin, whole_texts)
    table = tables.of_text(text, origin)
    return [Opened(table, name, origin, table)]


def made(
    items: Sequence[Opened],
    kind: InputKind,
    dtype: str,
    preprocessing: Callable[[], Preprocessing],
    own_size: bool = False,
    features: Sequence[str] = (),
    fill: Fill | None = None,
    codes: tables.Codes = MappingProxyType({}),
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
        codes: The codes of the input's columns of words.

    Raises:
        InputError: An array does not fit the input, a table has no column for a feature, or the model does not say what
            becomes of a missing value.
        UnsupportedError: A picture is given, and the input is none.
    """
    reader = _Reader(kind, dtype, features, fill, codes)
    parts = [replace(_made(item, preprocessing, reader), own_size=own_size) for item in items]
    if len(parts) == 1:
        return parts[0]
    return Samples(
        np.concatenate([p.values for p in parts]),
        [view for p in parts for view in p.views],
        [original for p in parts for original in p.originals],
        numbered([name for p in parts for name in p.names]),
        all(p.pictures for p in parts),
        kind,
        own_size,
        parts[0].columns if len({p.columns for p in parts}) == 1 else None,
        any(p.reordered for p in parts),
        next((p.left_out for p in parts if p.left_out), ()),
        np.concatenate([p.values if p.shown is None else p.shown for p in parts]) if codes else None,
        _joined([p.unknown for p in parts]),
        _joined([p.trimmed for p in parts]),
        None
        if all(p.missing is None for p in parts)
        else np.concatenate([np.zeros(p.values.shape, bool) if p.missing is None else p.missing for p in parts]),
        {column: words for p in parts for column, words in p.filled.items()},
        None if all(p.texts is None for p in parts) else [text for p in parts for text in p.texts or [None] * len(p)],
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
    fix = (
        "give those of one size in one call; model.explain_each takes several sizes",
        "give those of one size in one run",
    )
    if pictures:
        fix = ("load the model at one size: load(path, size=(224, 224))", "bring them to one size: --size 224x224")
    return InputError(f"samples of several sizes: {said}", *fix)


def _lines(item: Any, whole: bool) -> list[Opened]:
    """The lines of a file of text, each a sample, or all of it as one; [] for what is no such file."""
    if isinstance(item, Text) or not isinstance(item, str | os.PathLike) or Path(item).suffix.lower() not in TEXTS:
        return []
    path = Path(item)
    try:
        text = read_text(path, _LONGEST_TEXT)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as text ({reason(error)})", "give UTF-8, a text on each line"
        ) from None
    return _texts(text, path.stem, str(path), whole)


def _texts(text: str, name: str, origin: str, whole: bool) -> list[Opened]:
    """The lines of a text that are not empty, each a sample, or all of it. Raises InputError for an empty one."""
    if whole:
        text = text.replace("\r\n", "\n").removesuffix("\n")
        if not text:
            raise InputError(f"{origin}: holds no text", "give a text")
        return [Opened(Text(text), name, origin)]
    found = [(n, line) for n, line in enumerate((line.strip() for line in text.splitlines()), 1) if line]
    if not found:
        raise InputError(f"{origin}: holds no text", "give a text on each line")
    return [Opened(Text(line), name, f"{origin}, line {n}" if len(found) > 1 else origin) for n, line in found]


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
            return Opened(table, name, origin, table)
        item = images.read_array(path, missing=True) if path.suffix.lower() == ".npy" else images.open_image(path)
    if isinstance(item, Samples):
        return Opened(item)
    if hasattr(item, "convert") and hasattr(item, "getbands"):
        return Opened(item if images.is_deep(item) else images.rgb(item), name, origin)
    if hasattr(item, "columns") and (frame := tables.of_array(item)) is not None:
        return Opened(frame, name, origin, frame)
    return Opened(np.asarray(item), name, origin)


class _Reader(NamedTuple):
    """What arrays and tables become samples by: see `made`."""

    kind: InputKind
    dtype: str
    features: Sequence[str]
    fill: Fill | None
    codes: tables.Codes

    @property
    def size(self) -> int:
        """The number of values of a sample."""
        return int(np.prod(self.kind.shape))

    @property
    def names(self) -> Sequence[str] | None:
        """The names of a vector's features."""
        return self.features if self.kind.name == "vector" and len(self.features) == self.size else None


def _made(item: Opened, preprocessing: Callable[[], Preprocessing], reader: _Reader) -> Samples:
    content, kind = item.content, reader.kind
    if isinstance(content, Samples):
        if content.values.shape[1:] != kind.shape:
            said, taken = (" x ".join(map(str, shape)) for shape in (content.values.shape[1:], kind.shape))
            raise InputError(
                f"{content.names[0]}: a sample of {said}, the model takes {taken}", "give the picture or array itself"
            )
        return content if content.kind == kind else replace(content, kind=kind)
    table = item.table
    if table is None and reader.codes and isinstance(content, np.ndarray):
        table = tables.of_array(content)
    if table is not None:
        return _rows(item, table, reader)
    if isinstance(content, np.ndarray):
        return _array(content, item, reader.names, reader)
    prep = preprocessing()
    return Samples(prep.apply(content), [prep.view(content)], [images.rgb(content)], [item.name or "image"], True, kind)


def _rows(item: Opened, table: tables.Table, reader: _Reader) -> Samples:
    """The rows of a table as samples: a number for each value of the input, by their names, else in its own order."""
    kind, codes = reader.kind, reader.codes
    table, reordered, left_out = arranged(table, reader.features, reader.size, item.origin)
    values = table.numbers(codes)
    made = _array(values.reshape(-1, *kind.shape), item, table.columns or reader.names, reader)
    names = made.names if table.rows is None else [f"{item.name}.{row}" for row in table.rows]
    shown = table.words(codes)
    unknown = {} if shown is None else {k: tuple(dict.fromkeys(shown[values[:, k] == 0, k])) for k in codes}
    return replace(
        made,
        names=names,
        columns=table.columns,
        reordered=reordered,
        left_out=left_out,
        shown=None if shown is None else shown.reshape(-1, *kind.shape),
        unknown={k: words for k, words in unknown.items() if words},
        trimmed=table.trimmed(codes),
    )


def arranged(
    table: tables.Table,
    features: Sequence[str],
    count: int,
    origin: str,
    source: str = "feature_names in the model's metadata",
) -> tuple[tables.Table, bool, tuple[str, ...]]:
    """Return a table with a column for each feature, whether they stood in another order, and the columns left out.

    Args:
        table: The table.
        features: The names of the features in the model's order; the columns are found by them.
        count: The number of features.
        origin: What the table is called in messages.
        source: Where the names come from, for messages.

    Raises:
        InputError: A feature has no column, or columns without a name to find them by are too many or too few.
    """
    places = None
    if table.columns is not None and len(features) == count and table.width >= count:
        places = feature_names.order(table.columns, features, origin, source)
    if places is not None:
        left = tuple(name for n, name in enumerate(table.columns or ()) if n not in places)
        order = sorted(range(table.width), key=lambda n: (n not in places, n))[:count]
        return table.ordered(places), places != order, left
    if table.width != count:
        named = f" ({listed(table.columns)})" if table.columns else ""
        raise InputError(
            f"{origin}: {table.width} columns{named}, the model takes {count}",
            "leave out what is no input, such as the answer; a column of names: --name-column NAME",
        )
    return table, False, ()


def _array(array: Array, item: Opened, columns: Sequence[str] | None, reader: _Reader) -> Samples:
    """An array as samples; `columns` are the names of a vector's features."""
    kind, fill = reader.kind, reader.fill
    missing: Array | None = None
    filled: dict[int, str] = {}

    def decided(values: Array) -> Array:
        nonlocal missing, filled
        assert fill is not None
        missing = np.isnan(values)
        values, filled = fill(values, item.origin, columns if kind.name == "vector" else None)
        return values

    values = images.batched(array, kind.shape, reader.dtype, item.origin, None if fill is None else decided)
    n, name = len(values), item.name or "array"
    names = [name] if n == 1 else [f"{name}.{i}" for i in range(n)]
    texts = None if item.text is None else [item.text]
    return Samples(values, [None] * n, [None] * n, names, False, kind, missing=missing, filled=filled, texts=texts)


def _joined(found: Sequence[Mapping[int, tuple[str, ...]]]) -> dict[int, tuple[str, ...]]:
    """The words of each column that any of several parts has, once each."""
    return {k: tuple(dict.fromkeys(word for one in found for word in one.get(k, ()))) for part in found for k in part}


def numbered(names: Sequence[str]) -> list[str]:
    """Number the names of samples that do not come from files."""
    return [f"{name}.{i}" if name in ("array", "image") else name for i, name in enumerate(names)]
