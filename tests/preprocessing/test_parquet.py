"""Parquet tables, as pyarrow writes them: numbers of every type, names of columns and rows, what is no number."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, UsageError
from onnxlrp.preprocessing import tables
from support.input_models import dense

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

COLUMNS: dict[str, Any] = {
    "age": pyarrow.array([41, 23, 67], pyarrow.int8()),
    "income": pyarrow.array([5.25e4, 1.125e5, 0.0], pyarrow.float32()),
    "share": pyarrow.array([0.1, 0.2, 0.3], pyarrow.float64()),
    "count": pyarrow.array([1, 2**40, 3], pyarrow.int64()),
    "price": pyarrow.array([Decimal("1.50"), Decimal("-2.25"), Decimal("0.00")], pyarrow.decimal128(8, 2)),
    "member": pyarrow.array([True, False, True]),
}
VALUES = [[41, 52500, 0.1, 1, 1.5, 1], [23, 112500, 0.2, 2**40, -2.25, 0], [67, 0, 0.3, 3, 0, 1]]
PEOPLE = pyarrow.array(["ann", "ben", "cy"]).dictionary_encode()


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def test_numbers_of_every_type_and_names(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", **COLUMNS)
    read = tables.read(path)
    np.testing.assert_array_equal(read.values, VALUES)
    assert read.columns == tuple(COLUMNS)
    assert read.rows is None
    path = write(tmp_path / "named.parquet", who=PEOPLE, **COLUMNS)
    read = tables.read(path, "who")
    np.testing.assert_array_equal(read.values, VALUES)
    assert (read.columns, read.rows) == (tuple(COLUMNS), ("ann", "ben", "cy"))


def test_a_folder_is_no_column(tmp_path: Path) -> None:
    """Readers of data sets take the folder "year=2020" for a column."""
    read = tables.read(write(tmp_path / "year=2020" / "t.parquet", **COLUMNS))
    assert read.columns == tuple(COLUMNS)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["a", "b", "c"], "'a' is no finite number"),
        ([1.0, float("inf"), 2.0], "row 2, column \"odd\": 'inf' is no finite number"),
        ([date(2020, 1, 1)] * 3, "'2020-01-01' is no finite number"),
        ([[1.0], [2.0], [3.0]], "'[1.0]' is no finite number"),
    ],
    ids=["text", "infinity", "date", "list"],
)
def test_what_is_no_number_is_refused_by_its_place(tmp_path: Path, cells: list[Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        _ = tables.read(write(tmp_path / "t.parquet", **COLUMNS, odd=pyarrow.array(cells))).values
    assert said in error.value.message


@pytest.mark.parametrize("cells", [[1.0, None, 2.0], [1.0, float("nan"), 2.0], [1, None, 2]], ids=str)
def test_nulls_and_nan_are_missing_values(tmp_path: Path, cells: list[Any]) -> None:
    read = tables.read(write(tmp_path / "t.parquet", **COLUMNS, odd=pyarrow.array(cells)))
    np.testing.assert_array_equal(read.values[:, -1], [1, np.nan, 2])


def test_empty_damaged_and_unnamed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", **{name: cells[:0] for name, cells in COLUMNS.items()})
    with pytest.raises(InputError, match="holds no numbers"):
        tables.read(path)
    path = write(tmp_path / "t.parquet", **COLUMNS)
    with pytest.raises(UsageError, match='no column is called "incme"'):
        tables.read(path, "incme")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"a damaged \.parquet file"):
        tables.read(path)


def test_a_row_is_explained_as_the_same_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.onnx"
    onnx.save(dense((6,)), file)
    path = write(tmp_path / "t.parquet", who=PEOPLE, **COLUMNS)
    words = ["explain", str(file), str(path), "--name-column", "who", "--json", "-o", str(tmp_path / "{stem}.npz")]
    assert main(words) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    made = sorted(tmp_path.glob("*.npz"))
    assert [name.stem for name in made] == ["t.ann", "t.ben", "t.cy"]
    assert len(records) == 3
    want = onnxlrp.load(file).explain(np.array(VALUES, np.float32))
    for n, name in enumerate(made):
        np.testing.assert_array_equal(np.load(name)["relevance"], want.relevance[n : n + 1])
