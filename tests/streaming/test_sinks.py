"""Sinks: names are planned first, and no file replaces an input or another."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.explanation import Explanation
from onnxlrp.streaming.sinks import FileSink, GridSink, Plan, Written, planned


def explanation(name: str = "cat", method: str = "gamma") -> Explanation:
    relevance = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    return Explanation(relevance, np.eye(2)[:1], np.array([0]), names=[name], provenance={"method": method})


def test_the_plan_is_made_of_the_pattern(tmp_path: Path) -> None:
    assert planned(None, None, 1, 1) == Plan("{stem}.{target}.png", ("png",))
    assert planned(None, None, 3, 2).pattern == "{stem}.{target}.{method}.png"
    assert planned(str(tmp_path), "npz,json", 3, 1) == Plan(str(tmp_path / "{stem}.{target}.png"), ("npz", "json"))


@pytest.mark.parametrize(
    ("out", "formats", "inputs", "methods", "grid", "said"),
    [
        ("one.png", None, 2, 1, False, "one name for 2 samples"),
        ("{stem}.png", None, 1, 2, False, "one name for 2 methods"),
        ("{stem}.jpg", None, 1, 1, False, "written as PNG"),
        ("{stem}.png", "gif", 1, 1, False, 'no format "gif"'),
        ("{name}.png", None, 1, 1, False, "there is no field"),
        ("{stem}.png", "npz", 1, 2, True, "--grid draws a PNG"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(
    out: str, formats: str | None, inputs: int, methods: int, grid: bool, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        planned(out, formats, inputs, methods, grid)


def test_nothing_is_written_where_one_name_is_taken(tmp_path: Path) -> None:
    taken = tmp_path / "cat.npz"
    taken.write_bytes(b"an input")
    sink = FileSink(Plan(str(tmp_path / "{stem}"), ("png", "npz")), Written([taken]))
    with pytest.raises(UsageError, match="would replace an input"):
        sink.write(explanation(), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.npz"]
    assert taken.read_bytes() == b"an input"


def test_two_files_of_a_run_never_have_one_name(tmp_path: Path) -> None:
    written = Written([])
    sink = FileSink(Plan(str(tmp_path / "{stem}.npz"), ("npz",)), written)
    (path,) = sink.write(explanation(), 0)
    kept = path.read_bytes()
    with pytest.raises(UsageError, match="two files of this run"):
        sink.write(explanation(), 1)
    assert path.read_bytes() == kept
    numbered = FileSink(Plan(str(tmp_path / "{index}.npz"), ("npz",)), written)
    assert [numbered.write(explanation(), n)[0].name for n in (3, 4)] == ["3.npz", "4.npz"]
    assert len(written) == 3


def test_a_sheet_waits_for_every_method(tmp_path: Path) -> None:
    sink = GridSink(Plan(str(tmp_path / "{stem}.{method}.png"), ("png",)), Written([]), 2)
    for name in ("cat", "dog"):
        assert sink.write(explanation(name, "gamma"), 0) == []
        assert [path.name for path in sink.write(explanation(name, "epsilon"), 0)] == [f"{name}.grid.png"]


def test_of_a_written_file_some_bytes_are_kept(tmp_path: Path) -> None:
    count = 3000
    written = Written([])
    paths = [tmp_path / f"{n}.png" for n in range(count)]
    for path in paths:
        path.resolve(), hash(path)  # what a path itself keeps is there before
    gc.collect()
    tracemalloc.start()
    for path in paths:
        written.claim(path)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 30 * count
    assert len(written) == count
    for path in paths[::100]:
        with pytest.raises(UsageError, match="two files of this run"):
            written.claim(path)
    assert len(written) == count
