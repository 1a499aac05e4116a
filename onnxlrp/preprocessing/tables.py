"""Tables as samples: `.csv` by the standard library, `.parquet` by pyarrow; a row is a sample, a column a feature."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UnsupportedError, UsageError, did_you_mean, listed
from ..files import check, read_text, reason

SUFFIXES = frozenset({".csv", ".parquet"})
MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"})  # in a column of numbers

_NOTHING = frozenset({"NAType", "NaTType"})  # the types of pandas.NA and pandas.NaT
_LARGEST = 1 << 30  # bytes of text


Codes = Mapping[int, Mapping[str, int]]  # column → word → the number that stands for it; 0 for other words


class Table(NamedTuple):
    """The cells of a table.

    Attributes:
        cells: A row for each sample, all of one length.
        columns: The names of the K columns, None where there is no header.
        rows: The names of the N rows, None without a column of them.
        origin: The file, for messages.
    """

    cells: Sequence[Sequence[Any]]
    columns: tuple[str, ...] | None
    rows: tuple[str, ...] | None
    origin: str = "the table"

    @property
    def height(self) -> int:
        """The number of rows, N."""
        return len(self.cells)

    @property
    def width(self) -> int:
        """The number of columns, K."""
        return len(self.cells[0])

    @property
    def values(self) -> npt.NDArray[Any]:
        """The numbers of a table without words [N, K]: `numbers`."""
        return self.numbers({})

    def ordered(self, places: Sequence[int]) -> Table:
        """Return a table of some of the columns, in an order of their numbers."""
        columns = None if self.columns is None else tuple(self.columns[place] for place in places)
        return self._replace(cells=[[row[place] for place in places] for row in self.cells], columns=columns)

    def numbers(self, codes: Codes) -> npt.NDArray[Any]:
        """Return the cells as numbers [N, K], float64; NaN where a cell is missing, of words their codes.

        Args:
            codes: The codes of columns of words.

        Raises:
            InputError: A cell of another column holds something else than a finite number or nothing.
        """
        values = np.empty((self.height, self.width))
        for n, row in enumerate(self.cells):
            for k, cell in enumerate(row):
                number = _number(cell) if k not in codes else codes[k].get(word(cell, codes[k]), 0)
                if number is None:
                    raise _no_number(self.origin, n, k, cell, self.columns)
                values[n, k] = number
        return values

    def words(self, codes: Codes) -> npt.NDArray[Any] | None:
        """Return the cells with their words [N, K], objects: text where there are codes, else numbers; None without."""
        if not codes:
            return None
        shown = self.numbers(codes).astype(object)
        for n, row in enumerate(self.cells):
            for k in codes:
                shown[n, k] = word(row[k], codes[k])
        return shown

    def trimmed(self, codes: Codes) -> dict[int, tuple[str, ...]]:
        """Return the cells that `word` takes without the spaces around them, by the column's number."""
        found = {}
        for k, known in codes.items():
            texts = dict.fromkeys(_text(row[k]) for row in self.cells if not _is_nothing(row[k]))
            found[k] = tuple(text for text in texts if word(text, known) != text)
        return {k: texts for k, texts in found.items() if texts}


def word(cell: Any, known: Mapping[str, int]) -> str:
    """Return the word that a cell holds, as a model knows it.

    The cell as it stands, spaces included; without the spaces around it only where the model knows that and not the
    cell as it stands (`Table.trimmed` tells which). A missing cell is "", or what the model has for it.

    Args:
        cell: The cell.
        known: The words that the model knows in this column.
    """
    if _is_nothing(cell) or cell == "":
        return next((name for name in ("", "nan", "None") if name in known), "")
    text = _text(cell)
    return text.strip() if text not in known and text.strip() in known else text


def is_table(path: str | Path) -> bool:
    """Return whether a file is a table by its suffix."""
    return Path(path).suffix.lower() in SUFFIXES


def read(path: str | Path, name_column: str | None = None) -> Table:
    """Read a table.

    Args:
        path: A `.csv` file, its first line a header if it holds anything but numbers, or a `.parquet` file.
        name_column: The column that names the rows, which is no feature.

    Raises:
        InputError: The file is missing or damaged.
        UsageError: There is no such column.
        UnsupportedError: A `.parquet` file without pyarrow.
    """
    path = Path(path)
    check(path)
    header, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    named: tuple[str, ...] | None = None
    columns = None if header is None else list(header)
    if name_column is not None:
        if columns is None or name_column not in columns:
            raise UsageError(
                f'{path}: no column is called "{name_column}"',
                did_you_mean(name_column, columns) if columns else "write a header into its first line",
            )
        at = columns.index(name_column)
        named = tuple(str(row[at]).strip() for row in rows)
        if len(set(named)) < len(named):
            raise InputError(f'{path}: names in column "{name_column}" repeat', "name the rows by another column")
        columns.pop(at)
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    if not rows or not rows[0]:
        raise InputError(f"{path}: holds no numbers", "give a line of numbers for each sample")
    return Table(rows, None if columns is None else tuple(columns), named, str(path))


def of_array(array: Any) -> Table | None:
    """Return the table that an array of objects or text is, or a data frame, whose columns have names; None of others.

    Args:
        array: One row, or several.
    """
    columns = getattr(array, "columns", None)
    if columns is not None and hasattr(array, "to_numpy"):
        cells = np.asarray(array.to_numpy(), dtype=object)
        names: tuple[str, ...] | None = tuple(map(str, columns))
    else:
        cells, names = np.asarray(array), None
        if cells.dtype.kind not in "OUS" or cells.ndim not in (1, 2):
            return None
    cells = np.atleast_2d(cells)
    return None if not cells.size else Table(cells.tolist(), names, None, "the input")


def column(path: str | Path, name: str | None = None) -> list[str]:
    """Return the texts of one column of a table with a header.

    Args:
        path: A `.csv` or `.parquet` file.
        name: The column; None for the only one.

    Raises:
        InputError: The file is missing or damaged.
        UsageError: There is no such column, or several of which none is named.
        UnsupportedError: A `.parquet` file without pyarrow.
    """
    path = Path(path)
    check(path)
    header, rows = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if header is None:
        raise UsageError(f"{path}: its columns have no names", "write a header into its first line")
    if name is None and len(header) > 1:
        raise UsageError(
            f"{path}: {len(header)} columns, {listed(header)}", f"name that of the paths: --path-column {header[0]}"
        )
    if name is not None and name not in header:
        raise UsageError(f'{path}: no column is called "{name}"', did_you_mean(name, header))
    at = 0 if name is None else header.index(name)
    return ["" if row[at] is None else str(row[at]) for row in rows]


_AS_TEXT = "save it as UTF-8 text with a line for each sample and commas, semicolons or tabs between its numbers"


def of_text(text: str, origin: str) -> Table:
    """Return the table that the text of a `.csv` file is. Raises InputError where it is damaged.

    Args:
        text: The text.
        origin: What it is called in messages.
    """
    header, rows = _parsed(text, origin)
    if not rows or not rows[0]:
        raise InputError(f"{origin}: holds no numbers", "give a line of numbers for each sample")
    return Table(rows, None if header is None else tuple(header), None, origin)


def _csv(path: Path) -> tuple[list[str] | None, list[list[Any]]]:
    try:
        text = read_text(path, _LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a table ({reason(error)})", _AS_TEXT) from None
    return _parsed(text, str(path))


def _parsed(text: str, origin: str) -> tuple[list[str] | None, list[list[Any]]]:
    """The header, if there is one, and the rows of the text of a `.csv` file. Raises InputError."""
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    mark = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=mark) if row]  # spaces may be part of a word
    except csv.Error as error:
        raise InputError(f"{origin}: cannot be read as a table ({reason(error)})", _AS_TEXT) from None
    if not rows:
        raise InputError(f"{origin}: an empty table", _AS_TEXT)
    header = None
    if any(_number(cell) is None for cell in rows[0]) and (len(rows) == 1 or _looks_like_header(rows)):
        header = [name.strip() for name in rows.pop(0)]
    width = len(header or rows[0])
    for n, row in enumerate(rows):
        if len(row) != width:
            raise InputError(f"{origin}: row {n + 1} has {len(row)} cells, the first has {width}", _AS_TEXT)
    return header, rows


def _looks_like_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether no cell of the first row is a number, or one is text above numbers."""
    texts = [_number(cell) is None for cell in rows[0]]
    below = [next((cell for cell in column if not _is_missing(cell)), "") for column in zip(*rows[1:], strict=False)]
    return all(texts) or any(text and _number(cell) is not None for text, cell in zip(texts, below, strict=False))


def _parquet(path: Path) -> tuple[list[str], list[list[Any]]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedError(
            f"{path}: .parquet files are read by pyarrow, which is not installed", "pip install pyarrow"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:  # not read_table, for which a folder "year=2020" is one more column
            table = file.read()
        columns = [column.to_pylist() for column in table.columns]
    except Exception as error:  # pyarrow raises several kinds of its own on a damaged file
        raise InputError(f"{path}: a damaged .parquet file ({reason(error)})", "write it again") from None
    return [str(name) for name in table.column_names], [list(row) for row in zip(*columns, strict=True)]


def _number(cell: Any) -> float | None:
    """Return a finite number, NaN for a missing one, None for anything else."""
    if _is_missing(cell):
        return math.nan
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _is_missing(cell: Any) -> bool:
    """Return whether a cell holds no value: empty, null, or a word that tables have for it."""
    if isinstance(cell, str):
        return cell.strip().lower() in MISSING
    return _is_nothing(cell)


def _is_nothing(cell: Any) -> bool:
    """Return whether a cell is null, NaN, or what data frames have for nothing: their NA compares to no truth."""
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or type(cell).__name__ in _NOTHING


def _text(cell: Any) -> str:
    """Return a cell as text; columns of a .parquet file that do not say they are text hold its bytes."""
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)


def _no_number(origin: str, row: int, column: int, cell: Any, columns: Sequence[str] | None) -> InputError:
    name = f'column "{columns[column]}"' if columns else f"column {column + 1}"
    fix = "encode categories as the model was trained on them; a missing value is an empty cell"
    if columns:
        fix += f"; a column of names: --name-column '{columns[column]}'"
    return InputError(f"{origin}: row {row + 1}, {name}: {str(cell)[:40]!r} is no finite number", fix)
