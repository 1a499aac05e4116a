"""Rows of a run: what is said of each explanation, in JSON's types, and the same rows as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import UnsupportedError, UsageError
from ..explanation import Explanation, ledger
from ..explanation.maps import block_sums
from ..preprocessing import labels
from .rows import Rows, rows
from .sources import Item

GRID = 16
_TOGETHER = 4096  # rows of a group of a parquet file

# The columns of a table, with the names that pyarrow has for their types.
COLUMNS = {
    "input": "string",
    "item": "string",
    "name": "string",
    "sample": "int64",
    "sha256": "string",
    "method": "string",
    "target": "int64",
    "label": "string",
    "logit": "float64",
    "relevance": "float64",
    **{f"absorbed_{name}": "float64" for name in (*ledger.SINKS, *ledger.FURTHER)},
    "map": "float16s",
    "map_shape": "int32s",
    "map_scale": "float32",
    "files": "strings",
    "error": "string",
}


def of_explanation(
    one: Explanation, item: Item, sample: int, digest: str, paths: Sequence[str], grid: int = 0
) -> list[dict[str, Any]]:
    """Return a row for each target of one sample.

    Args:
        one: The explanation of the sample.
        item: The item that it comes from.
        sample: Its number among the samples of the item.
        digest: The SHA-256 of the item.
        paths: The files that were written of it.
        grid: Rows and columns of its pooled map, 0 for none. The map holds Σ R of each cell over `map_scale`, the
            largest |Σ R| of all, rounded to float16.
    """
    maps = block_sums(_maps(one), grid, grid if one.kind.is_image else grid * grid) if grid else None
    logits, totals, targets = (np.atleast_2d(np.asarray(a)) for a in (one.logit, one.total, one.target))
    conserved = bool(one.ledger) and all(row.conserves for row in one.ledger or ())
    gone = ledger.sums(one.ledger or ()) if conserved else {}
    made = []
    for t in range(len(targets)):
        row = {
            "input": item.origin,
            "item": item.name,
            "name": one.names[0] if one.names else item.name,
            "sample": sample,
            "sha256": digest,
            "method": one.method,
            "target": int(targets[t, 0]),
            "label": labels.name(one.labels, int(targets[t, 0])),
            "logit": float(logits[t, 0]),
            "relevance": float(totals[t, 0]),
            **{f"absorbed_{name}": float(np.atleast_2d(taken)[t, 0]) for name, taken in gone.items()},
        }
        if maps is not None:
            scale = np.float32(np.abs(maps[t]).max())
            shares = (maps[t] / (scale or 1)).astype(np.float16)
            # The shortest numbers that are read as the same float16.
            row |= {"map": [float(str(share)) for share in shares.ravel()], "map_shape": list(shares.shape)}
            row["map_scale"] = float(scale)
        made.append({**row, "files": list(paths)})
    return made


def _maps(one: Explanation) -> Any:
    """The maps [T, H, W] of one sample."""
    relevance = np.asarray(one.relevance)
    several = relevance if one.target.ndim == 2 else relevance[np.newaxis]
    return np.concatenate([one.kind.to_maps(values) for values in several])


def of_rejected(item: Item, digest: str, error: str) -> dict[str, Any]:
    """Return the row of an item that cannot be read."""
    return {"input": item.origin, "item": item.name, "sha256": digest, "error": error}


def check_table(path: str) -> Path:
    """Return the path of a table. Raises UsageError for another suffix, UnsupportedError without pyarrow."""
    suffix = Path(path).suffix.lower()
    if not Path(path).name:
        raise UsageError(f'--table "{path}" is no file', "--table run.jsonl")
    if suffix not in (".jsonl", ".parquet"):
        fix = f"--table {Path(path).with_suffix('.jsonl')}"
        raise UsageError(f"--table {path}: a table is .jsonl or .parquet", fix)
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UnsupportedError(
                f"{path}: .parquet files are written by pyarrow, which is not installed",
                f"pip install pyarrow, or --table {Path(path).with_suffix('.jsonl')}",
            ) from None
    return Path(path)


def write_table(found: Path, path: Path) -> Path:
    """Write the rows of a run as a table.

    Args:
        found: The file of rows.
        path: A `.jsonl` or `.parquet` file.

    Raises:
        InputError: It cannot be written.
    """
    if path.suffix.lower() == ".jsonl":
        with found.open("rb") as file:
            return files.replace(path, iter(lambda: file.read(1 << 20), b""))
    return files.replace(path, _parquet(rows(found)))


def _parquet(found: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """The bytes of a parquet file, a group of rows at a time."""
    import pyarrow as arrow
    from pyarrow import parquet

    kinds = {
        "string": arrow.string(), "int64": arrow.int64(), "float64": arrow.float64(), "float32": arrow.float32(),
        "float16s": arrow.list_(arrow.float16()), "int32s": arrow.list_(arrow.int32()),
        "strings": arrow.list_(arrow.string()),
    }  # fmt: skip
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    pieces = _Pieces()
    with parquet.ParquetWriter(arrow.PythonFile(pieces, "w"), schema) as writer:
        while group := list(islice(found, _TOGETHER)):
            for row in group:
                if row.get("map") is not None:
                    row["map"] = np.array(row["map"], np.float16)
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))
            yield from pieces.taken()
    yield from pieces.taken()


class _Pieces:
    """A file to write to, whose bytes are taken as they come."""

    closed = False

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        """Keep bytes."""
        self._waiting.append(bytes(data))
        self._size += len(self._waiting[-1])
        return len(self._waiting[-1])

    def tell(self) -> int:
        """Return the number of bytes that were written."""
        return self._size

    def flush(self) -> None:
        """Nothing: bytes wait until they are taken."""

    def close(self) -> None:
        """Nothing is kept open."""

    def taken(self) -> Iterator[bytes]:
        """Yield what is kept, once."""
        waiting, self._waiting = self._waiting, []
        yield from waiting


class Table:
    """A table that is written at the end of a run, from rows that are kept beside it until then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = Rows(path)
        self._rows.begin()

    def add(self, made: Sequence[Mapping[str, Any]], **_: Any) -> None:
        """Append the rows of a batch; how many samples they are of does not matter. Raises InputError."""
        self._rows.add(made)

    def end(self) -> None:
        """Write the table. Raises InputError."""
        if self.path.suffix.lower() == ".jsonl":
            self._rows.end()
        else:
            write_table(self._rows.path, self.path)
            self._rows.discard()

    def discard(self) -> None:
        """Leave nothing of a run that does not come to its end."""
        self._rows.discard()
