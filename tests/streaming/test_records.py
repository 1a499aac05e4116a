"""Tables of a run: the rows of the explanations, as JSON lines or parquet."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.streaming import records
from onnxlrp.streaming.sources import Item
from support.paths import MODELS

DIGITS = MODELS / "digits.onnx"


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    shape = onnxlrp.load(DIGITS).kind.shape
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((5, *shape), dtype=np.float32))
    return tmp_path / "x.npy"


def test_a_pooled_map_holds_the_sums_of_its_cells(samples: Path) -> None:
    model = onnxlrp.load(DIGITS)
    whole = model.explain(samples, targets=[1, 7])
    for n in range(len(whole)):
        rows = records.of_explanation(whole[n], Item("x", samples), n, "", [], grid=5)
        assert [row["target"] for row in rows] == [1, 7]
        for t, row in enumerate(rows):
            relevance = whole.relevance[t, n].sum(axis=0)
            edges = [k * 28 // 5 for k in range(6)]
            sums = [[relevance[a:b, c:d].sum() for c, d in pairwise(edges)] for a, b in pairwise(edges)]
            cells = np.reshape(row["map"], row["map_shape"]) * row["map_scale"]
            np.testing.assert_allclose(cells, sums, atol=1e-3 * row["map_scale"])
            assert np.abs(row["map"]).max() == 1
            assert row["relevance"] == pytest.approx(float(relevance.sum()), rel=1e-4)


def test_a_table_of_a_run(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    words = ["explain", str(DIGITS), str(samples), "-q", "-o", f"{tmp_path}/o/", "--table"]
    assert main([*words, str(out), "--pool", "4", "-m", "gradient,epsilon_plus_flat"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["sample"], row["method"]) for row in rows] == [
        (n, method) for n in range(5) for method in ("gradient", "epsilon_plus_flat")
    ]
    assert {row["map_shape"][0] for row in rows} == {4}
    assert all(("absorbed_bias" in row) == (row["method"] != "gradient") for row in rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o", "t.jsonl", "x.npy"]


def test_parquet_holds_the_same(samples: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    words = ["explain", str(DIGITS), str(samples), "-q", "-o", f"{tmp_path}/o/"]
    for name in ("t.jsonl", "t.parquet"):
        assert main([*words, "--table", str(tmp_path / name)]) == 0
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(records.COLUMNS)
    assert str(table.schema.field("map").type) in ("list<item: halffloat>", "list<element: halffloat>")
    for row, found in zip(rows, table.to_pylist(), strict=True):
        assert {name: value for name, value in found.items() if value is not None}.keys() == row.keys()
        assert [np.float16(share) for share in found["map"]] == [np.float16(share) for share in row["map"]]
        assert all(found[name] == value for name, value in row.items() if name not in ("map", "map_scale"))
        assert found["map_scale"] == np.float32(row["map_scale"])


def test_a_run_that_fails_leaves_no_table(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    words = ["explain", str(DIGITS), str(samples), str(tmp_path / "broken.png"), "-q", "-o", f"{tmp_path}/o/"]
    assert main([*words, "--table", str(tmp_path / "t.jsonl")]) == 3
    assert not list(tmp_path.glob("t.jsonl*"))
    assert main([*words, "--table", str(tmp_path / "t.jsonl"), "--on-error", "skip"]) == 3
    rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [("error" in row) for row in rows] == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--table", "t.csv"], "t.jsonl"),
        (["--table", ""], "is no file"),
        (["--table", "t.jsonl", "--pool", "-1"], "pool=-1"),
    ],
)
def test_bad_tables(samples: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(DIGITS), str(samples), *words]) == 2
    assert said in capsys.readouterr().err
