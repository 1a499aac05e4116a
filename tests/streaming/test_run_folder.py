"""Run folders: a run that was cut anywhere goes on to the files of one that was not."""

from __future__ import annotations

import gc
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp import files
from onnxlrp.cli import main
from onnxlrp.streaming.run_folder import MANIFEST, ROWS, Items, Left, RunFolder
from onnxlrp.streaming.sources import Files, Item
from support.paths import MODELS

DIGITS = MODELS / "digits.onnx"
OPTIONS = ["--batch-size", "3", "-q", "--format", "png,npz", "--resume"]


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Pictures in two folders, one of them broken, and an array of seven samples, which batches of three cut."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "in"
    for name in ("a", "b", "more/a", "more/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    shape = onnxlrp.load(DIGITS).kind.shape
    np.save(folder / "more" / "b.npy", rng.random((7, *shape), dtype=np.float32))
    return folder


def command(inputs: Path, out: Path, *more: str) -> list[str]:
    return ["explain", str(DIGITS), str(inputs), "-r", "-o", f"{out}/", *OPTIONS, *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(inputs: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of a run that nothing cut."""
    assert main(command(inputs, tmp_path / "whole")) == 3
    found = contents(tmp_path / "whole")
    assert len(found) == 2 * 11 + 2
    return found


def test_rows_say_what_was_explained_and_what_was_not(whole: dict[str, bytes], inputs: Path) -> None:
    rows = [json.loads(line) for line in whole[ROWS].splitlines()]
    assert [(row["item"], row.get("sample")) for row in rows] == [
        ("a", 0), ("b", 0), ("broken", None), ("more/a", 0), *(("more/b", n) for n in range(7)), ("more/c", 0),
    ]  # fmt: skip
    model = onnxlrp.load(DIGITS)
    for row in rows:
        if "error" in row:
            assert "not a picture" in row["error"]
            assert "logit" not in row
            continue
        one = model.explain(row["input"])
        one = one if len(one) == 1 else one[row["sample"]]
        assert row["target"] == int(np.ravel(one.target)[0])
        assert row["logit"] == pytest.approx(float(np.ravel(one.logit)[0]), rel=1e-5)
        absorbed = sum(value for name, value in row.items() if name.startswith("absorbed_"))
        assert row["relevance"] + absorbed == pytest.approx(row["logit"], abs=1e-4 * abs(row["logit"]) + 1e-5)
        assert all(name in whole for name in row["files"])
    state = json.loads(whole[MANIFEST])
    assert (state["samples"], state["rejected"], state["finished"]) == (11, 1, True)


@pytest.mark.few(4)
@pytest.mark.parametrize("step", range(0, 29, 4))
def test_a_run_cut_at_any_write_goes_on_to_the_same_files(
    inputs: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    calls = 0
    replace = files.replace

    def failing(path: Any, data: Any) -> Path:
        nonlocal calls
        calls += 1
        if calls == step + 1:
            raise KeyboardInterrupt
        return replace(path, data)

    out = tmp_path / "cut"
    with monkeypatch.context() as patched:
        patched.setattr(files, "replace", failing)
        assert main(command(inputs, out)) == 130
    assert main(command(inputs, out)) == 3
    assert contents(out) == whole
    assert main(command(inputs, out)) == 3  # nothing is left to do
    assert contents(out) == whole


def test_new_inputs_are_added(inputs: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    out = tmp_path / "whole"
    Image.new("L", (28, 28), 200).save(inputs / "more" / "d.png")
    assert main(command(inputs, out)) == 3
    found = contents(out)
    assert {name for name in found if name not in whole and "more/d" in name}
    assert all(found[name] == data for name, data in whole.items() if name not in (ROWS, MANIFEST))
    assert found[ROWS].startswith(whole[ROWS])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda inputs, words: [*words, "-m", "gradient"], "another methods"),
        (lambda inputs, words: [*words, "--cmap", "bwr"], "another options"),
        (lambda inputs, words: [*words, "--prep", "-1-1"], "another preprocessing"),
        (lambda inputs, words: [words[0], str(MODELS / "shapes.onnx"), *words[2:]], "another model"),
        (lambda inputs, words: (inputs / "b.png").unlink() or words, "b.png was explained in this run, and is not"),
        (lambda inputs, words: Image.new("L", (28, 28)).save(inputs / "b.png") or words, "b.png was changed since"),
    ],
    ids=["method", "option", "preprocessing", "model", "gone", "changed"],
)
def test_another_run_is_refused(
    inputs: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path, list[str]], list[str]],
    said: str,
) -> None:
    words = change(inputs, command(inputs, tmp_path / "whole"))
    capsys.readouterr()
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert contents(tmp_path / "whole") == whole


@pytest.mark.parametrize("pattern", ["", "{index}.{stem}"])
def test_files_that_are_gone_are_made_again_and_no_others(
    pattern: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["explain", str(DIGITS), str(inputs), "-r", "-o", f"{out}/{pattern}", *OPTIONS]
    assert main(words) == 3
    whole = contents(out)
    gone = [next(name for name in whole if part in name and name.endswith(".npz")) for part in ("more/a", "more/b.4")]
    for name in gone:
        (out / name).unlink()
    kept = {name: (out / name).stat().st_mtime_ns for name in whole if "more/c" in name}
    capsys.readouterr()
    assert main([word for word in words if word != "-q"]) == 3
    assert "2 whose files are gone" in capsys.readouterr().err
    found = contents(out)
    assert found.keys() == whole.keys()
    assert (found[ROWS], found[MANIFEST]) == (whole[ROWS], whole[MANIFEST])
    assert kept == {name: (out / name).stat().st_mtime_ns for name in kept}
    for name in gone:
        # Another batch may round otherwise.
        then, now = (np.load(io.BytesIO(files[name]))["relevance"] for files in (whole, found))
        np.testing.assert_allclose(now, then, atol=1e-5 * np.abs(then).max())


def test_files_of_a_run_that_was_cut_are_made_again_before_it_goes_on(
    inputs: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is cut amid the samples of an array, one of which loses its file."""
    out, replace = tmp_path / "cut", files.replace

    def failing(path: Any, data: Any) -> Path:
        if "b.4" in str(path):
            raise KeyboardInterrupt
        return replace(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(files, "replace", failing)
        assert main(command(inputs, out)) == 130
    next((out / "more").glob("b.1.*.png")).unlink()
    assert main(command(inputs, out)) == 3
    found = contents(out)
    assert found.keys() == whole.keys()
    assert (found[ROWS], found[MANIFEST]) == (whole[ROWS], whole[MANIFEST])


@pytest.mark.parametrize("option", ["--baseline", "--labels", "hidden"])
def test_another_content_of_a_file_that_an_option_names_is_another_run(
    option: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnxlrp.load(DIGITS)

    def write(n: int) -> None:
        np.save("b.npy", np.full(model.kind.shape, n, np.float32))
        Path("l.txt").write_text("\n".join(f"digit {n}{k}" for k in range(10)))

    words = {
        "--baseline": ["-m", "integrated_gradients", "--baseline", "b.npy"],
        "--labels": ["--labels", "l.txt"],
        "hidden": ["-m", "occlusion", "--baseline", "b.npy"],
    }[option]
    write(0)
    assert main(command(inputs, tmp_path / "run", *words)) == 3
    assert main(command(inputs, tmp_path / "run", *words)) == 3
    write(1)
    capsys.readouterr()
    assert main(command(inputs, tmp_path / "run", *words)) == 2
    assert "made with another" in capsys.readouterr().err


def test_damaged_folders_are_refused_and_no_folder_too(
    inputs: Path, tmp_path: Path, whole: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "whole"
    (out / ROWS).write_bytes(whole[ROWS][: whole[ROWS].index(b"\n") + 1])
    assert main(command(inputs, out)) == 3
    assert "shorter than the run left it" in capsys.readouterr().err
    (out / ROWS).write_bytes(whole[ROWS][:100])
    assert main(command(inputs, out)) == 3
    assert "a damaged row" in capsys.readouterr().err
    (out / MANIFEST).write_text("{}")
    assert main(command(inputs, out)) == 3
    assert "not the manifest of a run" in capsys.readouterr().err
    assert main(["explain", str(DIGITS), str(inputs / "a.png"), "--resume"]) == 2
    assert "-o run/" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_files(
    inputs: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    rng = random.Random(0)
    out = tmp_path / "killed"
    argv = [sys.executable, "-m", "onnxlrp", *command(inputs, out)]

    def written() -> int:
        return sum(path.is_file() for path in out.rglob("*"))

    killed = 0
    for _ in range(20):
        until = written() + rng.randrange(1, 12)  # files, of 24
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and written() < until:
            time.sleep(0.0005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if (out / MANIFEST).exists() and json.loads((out / MANIFEST).read_text())["finished"]:
            for path in sorted(out.rglob("*"), reverse=True):  # begin anew: twenty kills in all
                path.unlink() if path.is_file() else path.rmdir()
    assert killed >= 5
    assert subprocess.run(argv, check=False, capture_output=True).returncode == 3
    assert contents(out) == whole


def test_what_is_left_of_a_run_is_kept_as_positions(tmp_path: Path) -> None:
    """Of an item that is left to do a run keeps some bytes, not its name and path, which the source has."""
    count = 4000
    source = Files([Item(f"{n:06}", tmp_path / f"{n:06}.png") for n in range(count)]).compact()
    run = RunFolder.begin(tmp_path / "run", {})
    gc.collect()
    tracemalloc.start()
    left = run.left(source.items, lambda path: path)
    rest = Files(Items(left))
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 16 * count
    assert most < 64 * count
    assert list(rest) == list(source)
    assert [n for n, _ in left] == list(range(count))


def test_what_is_left_starts_where_an_item_was_cut(tmp_path: Path) -> None:
    items = [Item(name, tmp_path / name) for name in "abcd"]
    left = Left(items, [1, 3], 1, 5)
    assert list(left) == [(1, items[1]._replace(start=5)), (3, items[3])]
    assert left[-1:] == [(3, items[3])]
    assert Items(left)[:] == [items[1]._replace(start=5), items[3]]
