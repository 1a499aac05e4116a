"""Tables as samples: `.csv` by the standard library, `.parquet` by pyarrow; a row is a sample, a column a feature."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UnsupportedError, UsageError, did_you_mean, listed
from ..files import check, read_text, reason

SUFFIXES = frozenset({".csv", ".parquet"})
MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"})  # in a column of numbers

_LARGEST = 1 << 30  # bytes of text


class Table(NamedTuple):
    """The numbers of a table.

    Attributes:
        values: The numbers [N, K], float64; NaN where a cell is missing.
        columns: The names of the K columns, None where the file has no header.
        rows: The names of the N rows, None without a column of them.
    """

    values: npt.NDArray[Any]
    columns: tuple[str, ...] | None
    rows: tuple[str, ...] | None


def is_table(path: str | Path) -> bool:
    """Return whether a file is a table by its suffix."""
    return Path(path).suffix.lower() in SUFFIXES


def read(path: str | Path, name_column: str | None = None) -> Table:
    """Read a table.

    Args:
        path: A `.csv` file, its first line a header if it holds anything but numbers, or a `.parquet` file.
        name_column: The column that names the rows, which is no feature.

    Raises:
        InputError: The file is missing or damaged, or a cell holds something else than a finite number or nothing.
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
        named = tuple(str(row[at]) for row in rows)
        if len(set(named)) < len(named):
            raise InputError(f'{path}: names in column "{name_column}" repeat', "name the rows by another column")
        columns.pop(at)
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    if not rows or not rows[0]:
        raise InputError(f"{path}: holds no numbers", "give a line of numbers for each sample")
    values = np.empty((len(rows), len(rows[0])))
    for n, row in enumerate(rows):
        for k, cell in enumerate(row):
            number = _number(cell)
            if number is None:
                raise _no_number(path, n, k, cell, columns)
            values[n, k] = number
    return Table(values, None if columns is None else tuple(columns), named)


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


def _csv(path: Path) -> tuple[list[str] | None, list[list[Any]]]:
    fix = "save it as UTF-8 text with a line for each sample and commas, semicolons or tabs between its numbers"
    try:
        text = read_text(path, _LARGEST).removeprefix("\ufeff")
        first = text.partition("\n")[0]
        mark = max(",;\t", key=first.count)
        rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=mark) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({reason(error)})", fix) from None
    if not rows:
        raise InputError(f"{path}: an empty table", fix)
    header = None
    if any(_number(cell) is None for cell in rows[0]) and (len(rows) == 1 or _looks_like_header(rows)):
        header = rows.pop(0)
    width = len(header or rows[0])
    for n, row in enumerate(rows):
        if len(row) != width:
            raise InputError(f"{path}: row {n + 1} has {len(row)} cells, the first has {width}", fix)
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
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _no_number(path: Path, row: int, column: int, cell: Any, columns: Sequence[str] | None) -> InputError:
    name = f'column "{columns[column]}"' if columns else f"column {column + 1}"
    fix = "encode categories as the model was trained on them; a missing value is an empty cell"
    if columns:
        fix += f"; a column of names: --name-column '{columns[column]}'"
    return InputError(f"{path}: row {row + 1}, {name}: {str(cell)[:40]!r} is no finite number", fix)
