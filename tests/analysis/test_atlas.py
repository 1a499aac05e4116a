"""The atlas: against slow reference implementations, cut and resumed, with what cannot be read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from scenes import CLASSES, render

import onnxlrp
from onnxlrp.analysis import Atlas
from onnxlrp.analysis.atlas.build import Interrupted
from onnxlrp.errors import InputError, NothingToDo, UsageError
from support.open_models import pooled
from support.paths import MODELS

SHAPES, DIGITS = MODELS / "shapes.onnx", MODELS / "digits.onnx"
LAYERS = r"blocks\.[13]\.relu1|blocks\.3\.conv2"


@pytest.fixture(scope="module")
def shapes() -> Any:
    return onnxlrp.load(SHAPES)


def scenes(folder: Path, count: int, start: int = 3_000_000, by_class: bool = False) -> Path:
    for n in range(count):
        image, _, label = render(start + n)
        place = folder / CLASSES[label] if by_class else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"s{n:04}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes(tmp_path_factory.mktemp("scenes"), 21)


def activations_of_the_file(tensor: str, x: Any) -> Any:
    """A tensor of the untouched file, by onnxruntime."""
    import onnxruntime

    proto = onnx.load(SHAPES)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([tensor], {session.get_inputs()[0].name: x})[0]


def reference(values: Any, top: int) -> list[list[tuple[float, int]]]:
    """The largest values of each channel with their samples, by sorting pairs; ties by the number of the sample."""
    return [sorted(((float(v), n) for n, v in enumerate(column)), key=lambda one: (-one[0], one[1]))[:top]
            for column in values.T]  # fmt: skip


def same(layer: Any, by: str, values: Any, maps: Any) -> None:
    """The tops of a layer are those of values [N, C], at the largest elements of maps [N, C, H, W]."""
    top = layer.tops[by]
    for c, expected in enumerate(reference(values, top.values.shape[1])):
        np.testing.assert_allclose(top.values[c], [value for value, _ in expected], rtol=2e-4, atol=2e-6)
        for k, (value, sample) in enumerate(expected):
            gaps = [abs(value - other) for n, (other, _) in enumerate(expected) if n != k]
            if min(gaps) > 1e-4 * abs(value) + 1e-6 and abs(np.sort(values[:, c])[-len(expected) - 1] - value) > 1e-5:
                assert top.samples[c, k] == sample
        for sample, flat in zip(top.samples[c], top.positions[c], strict=True):
            picture = maps[sample, c]
            assert picture.flat[flat] == pytest.approx(picture.max(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("value", ["sum", pytest.param("max", marks=pytest.mark.slow)])
def test_tops_are_those_of_a_slow_reference(tmp_path: Path, shapes: Any, pictures: Path, value: str) -> None:
    atlas = Atlas.build(shapes, pictures, tmp_path, method="epsilon_plus", layers=LAYERS, top=5, value=value)
    x = np.stack([shapes.read(file).values[0] for file in sorted(pictures.iterdir())])
    total = (lambda maps: maps.sum(axis=(2, 3))) if value == "sum" else (lambda maps: maps.max(axis=(2, 3)))
    assert [layer.label for layer in atlas.layers] == ["blocks.1.relu1", "blocks.3.relu1", "blocks.3.conv2"]
    for layer in atlas.layers:
        seen = activations_of_the_file(layer.unit.tensor, x)
        same(layer, "activation", total(seen), seen)
        one_by_one = [shapes.explain(one, method="epsilon_plus", record=[layer.label]) for one in x]
        relevance = np.concatenate([one.layers[layer.label] for one in one_by_one])
        shares = total(relevance) / np.abs(total(relevance)).sum(axis=1, keepdims=True)
        same(layer, "relevance", shares, relevance)


def test_ties_are_ordered_by_index(tmp_path: Path, shapes: Any) -> None:
    folder = tmp_path / "same"
    scenes(folder, 1)
    for n in range(1, 20):
        shutil.copy(folder / "s0000.png", folder / f"s{n:04}.png")
    # One at a time: two samples of one batch may differ in the last bit.
    atlas = Atlas.build(shapes, folder, tmp_path / "atlas", layers=LAYERS, top=4, batch_size=1)
    for layer in atlas.layers:
        for top in layer.tops.values():
            assert (top.samples == np.arange(4)).all()


@pytest.mark.slow
def test_classes_and_their_units(tmp_path: Path, shapes: Any) -> None:
    folder = scenes(tmp_path / "scenes", 24, by_class=True)
    atlas = Atlas.build(
        shapes, folder, tmp_path / "atlas", method="epsilon_plus", layers=r"blocks\.3\.relu1", folders=True
    )
    files = [(file, CLASSES.index(file.parent.name)) for file in sorted(folder.glob("*/*.png"))]
    shares: dict[int, list[Any]] = {}
    for file, label in files:
        one = shapes.explain(file, label, method="epsilon_plus", record=["blocks.3.relu1"])
        total = one.layers["blocks.3.relu1"][0].sum(axis=(1, 2))
        shares.setdefault(label, []).append(total / np.abs(total).sum())
    assert atlas.classes.ids == sorted(shares)
    for n, label in enumerate(atlas.classes.ids):
        mean = np.mean(shares[label], axis=0)
        np.testing.assert_allclose(atlas.classes.means("relevance/0")[n], mean, atol=1e-5)
        (best,) = atlas.units(CLASSES[label], count=1)
        assert (best.layer, best.channel) == ("blocks.3.relu1", mean.argmax())
        assert atlas.classes.counts[n] == len(shares[label])


def test_it_is_read_again(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    made = Atlas.build(shapes, pictures, tmp_path, layers=LAYERS, top=3)
    again = Atlas.read(tmp_path)
    assert again.top("blocks.3.relu1:7", "relevance") == made.top("blocks.3.relu1:7", "relevance")
    assert again.units(0) == made.units(0)
    hit = again.top("blocks.1.relu1:2")[0]
    assert hit.name in {file.stem for file in pictures.iterdir()}
    data = json.loads((tmp_path / "atlas.json").read_text())
    assert data["layers"][0]["units"][2]["activation"][0] == {
        "sample": hit.sample,
        "name": hit.name,
        "value": pytest.approx(hit.value),
        "position": list(hit.position),
        "box": [list(line) for line in hit.box],
    }
    for word, error in (
        ("blocks.3.relu1:99", "to :63"),
        ("blocks.3.relo1:1", "did you mean"),
        ("blocks.3.relu1", "to :63"),
    ):
        with pytest.raises(UsageError, match=error):
            again.top(word)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


CUT: dict[str, Any] = {"layers": LAYERS, "top": 3, "batch_size": 4, "every": 0.0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, shapes: Any, pictures: Path) -> tuple[Path, Path]:
    """A folder with a file of many samples and a damaged one, and its atlas."""
    folder = tmp_path_factory.mktemp("cut") / "scenes"
    shutil.copytree(pictures, folder)
    x = np.concatenate([shapes.read(file).values for file in sorted(pictures.iterdir())])
    np.save(folder / "s0004b.npy", x[::-1])
    (folder / "s0007b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Atlas.build(shapes, folder, folder.parent / "whole", **CUT)
    return folder, folder.parent / "whole"


@pytest.mark.few(1)
@pytest.mark.parametrize("after", [8, 1, 3, 5, 10])
@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_was_cut_goes_on_to_the_same_files(
    tmp_path: Path, shapes: Any, whole: tuple[Path, Path], after: int, killed: bool
) -> None:
    folder, expected = whole
    calls = []

    def progress(done: int, total: int) -> bool:
        calls.append(done)
        if killed and len(calls) == after + 1:
            raise MemoryError  # rows are written already that the state does not know of
        return killed or len(calls) < after

    with pytest.raises(MemoryError if killed else Interrupted):
        Atlas.build(shapes, folder, tmp_path, progress=progress, **CUT)
    assert (tmp_path / "atlas.state.npz").exists()
    assert not (tmp_path / "manifest.json").exists()
    atlas = Atlas.build(shapes, folder, tmp_path, resume=True, **CUT)
    assert atlas.about["rejected"] == 1
    assert contents(tmp_path) == contents(expected)


@pytest.mark.few(1)
@pytest.mark.parametrize("last", ["samples.jsonl", "units.npz", "manifest.json"])
def test_a_run_that_was_cut_at_its_end_goes_on(
    tmp_path: Path, shapes: Any, whole: tuple[Path, Path], last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs behind the file that is the last one to be there, as if the process had been killed."""
    folder, expected = whole
    moved, removed, done = os.replace, Path.unlink, []

    def replace(source: Any, target: Any) -> None:
        if done:
            raise MemoryError
        moved(source, target)
        done.extend([target] if Path(target).name == last else [])

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: done or removed(self, missing_ok))
    with contextlib.suppress(MemoryError):
        Atlas.build(shapes, folder, tmp_path, **CUT)
    monkeypatch.undo()
    assert done
    assert (tmp_path / "atlas.state.npz").exists()
    Atlas.build(shapes, folder, tmp_path, resume=True, **CUT)
    assert contents(tmp_path) == contents(expected)


KILLED = """
import json, sys, time
import onnxlrp
from onnxlrp.analysis import Atlas
how = json.loads(sys.argv[4])
Atlas.build(onnxlrp.load(sys.argv[1]), sys.argv[2], sys.argv[3], **how,
            progress=lambda done, of: print(done, flush=True) or True)
print("end", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
@pytest.mark.parametrize(("line", "wait"), [(1, 0.0), (2, 0.02), (3, 0.001), (5, 0.005), (6, 0.0)])
def test_a_process_that_was_killed_goes_on_to_the_same_files(
    tmp_path: Path, shapes: Any, whole: tuple[Path, Path], line: int, wait: float
) -> None:
    folder, expected = whole
    command = [sys.executable, "-c", KILLED, str(SHAPES), str(folder), str(tmp_path), json.dumps(CUT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(line):
            assert child.stdout.readline()
        time.sleep(wait)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    Atlas.build(shapes, folder, tmp_path, resume=True, **CUT)
    assert contents(tmp_path) == contents(expected)


def test_files_under_temporary_names_are_removed(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    (tmp_path / "units").mkdir()
    left = [tmp_path / f".{'0f' * 8}.tmp", tmp_path / "units" / f".{'a1' * 8}.tmp"]
    kept = tmp_path / ".mine.tmp"
    for path in (*left, kept):
        path.write_bytes(b"half")
    Atlas.build(shapes, pictures, tmp_path, layers=LAYERS, top=1, by="activation")
    assert not any(path.exists() for path in left)
    assert kept.exists()


def test_what_cannot_be_read_is_a_row(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(pictures, folder)
    (folder / "s0002b.png").write_bytes(b"")
    told = []
    atlas = Atlas.build(shapes, folder, tmp_path / "atlas", layers=LAYERS, reject=told.append)
    rows = [json.loads(line) for line in (tmp_path / "atlas" / "samples.jsonl").read_text().splitlines()]
    assert [row["sample"] for row in rows] == list(range(22))
    assert [row["name"] for row in rows if "error" in row] == ["s0002b"]
    assert "empty" in rows[3]["error"]
    assert [row.item.name for row in told] == ["s0002b"]
    assert (atlas.about["samples"], atlas.about["rejected"]) == (22, 1)
    for layer in atlas.layers:
        assert 3 not in layer.tops["activation"].samples
    assert all("predicted" in row for row in rows if "error" not in row)


def test_another_run_is_refused_and_says_what_differs(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    how: dict[str, Any] = {"layers": LAYERS, "top": 3, "batch_size": 4, "every": 0.0}

    def stop(done: int, total: int) -> bool:
        return False

    with pytest.raises(Interrupted):
        Atlas.build(shapes, pictures, tmp_path, progress=stop, **how)
    other = onnxlrp.load(MODELS / "clever_hans.onnx")
    moved = onnxlrp.load(SHAPES, prep={"mean": "0.1,0.1,0.1"})
    for model, changed, what in (
        (other, {}, "another model"),
        (shapes, {"method": "gradient"}, "another method"),
        (shapes, {"top": 4}, "another top"),
        (moved, {}, "another preprocessing"),
    ):
        with pytest.raises(UsageError, match=what):
            Atlas.build(model, pictures, tmp_path, resume=True, **{**how, **changed})
    Atlas.build(shapes, pictures, tmp_path, resume=True, **how)
    with pytest.raises(UsageError, match="another model"):  # of a finished one too
        Atlas.build(other, pictures, tmp_path, resume=True, **how)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="manifest"):
        Atlas.build(shapes, pictures, tmp_path, resume=True, **how)


@pytest.mark.slow
def test_a_folder_begun_anew_goes_on_as_what_it_was_begun_as(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    how: dict[str, Any] = {"layers": LAYERS, "batch_size": 4, "every": 0.0}
    Atlas.build(shapes, pictures, tmp_path, top=3, **how)

    def stop(done: int, total: int) -> bool:
        return False

    with pytest.raises(Interrupted):
        Atlas.build(shapes, pictures, tmp_path, top=2, progress=stop, **how)
    atlas = Atlas.build(shapes, pictures, tmp_path, top=2, resume=True, **how)
    assert atlas.layers[0].tops["activation"].values.shape[1] == 2


def test_bad_requests(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    def build(images: Any = pictures, **words: Any) -> Any:
        return Atlas.build(shapes, images, tmp_path / "atlas", **{"layers": LAYERS, **words})

    for words, message in (
        ({"layers": "blocks.9.*"}, "no layer fits"),
        ({"layers": "("}, "not a regular expression"),
        ({"top": 0}, "top=0"),
        ({"by": "size"}, 'no by "size"'),
        ({"value": "mean"}, 'no value "mean"'),
        ({"target": "top3"}, "one class at a time"),
        ({"target": "hexagon"}, "no class has this name"),
        ({"method": "rise"}, "no composite"),
        ({"colour": 1}, 'no option "colour"'),
        ({"folders": True}, "lies in no folder"),
    ):
        with pytest.raises(UsageError, match=message):
            build(**words)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToDo):
        build(tmp_path / "empty")
    scenes(tmp_path / "named" / "hexagon", 1)
    with pytest.raises(UsageError, match='"hexagon" names no class'):
        build(tmp_path / "named", folders=True)
    with pytest.raises(InputError, match="no finished atlas"):
        Atlas.read(tmp_path / "empty")
    assert not (tmp_path / "atlas" / "manifest.json").exists()


def test_activations_alone_need_no_backward_pass(tmp_path: Path, shapes: Any, pictures: Path) -> None:
    atlas = Atlas.build(shapes, pictures, tmp_path, layers=LAYERS, by="activation")
    assert set(atlas.layers[0].tops) == {"activation"}
    with pytest.raises(UsageError, match="not ordered by relevance"):
        atlas.top("blocks.1.relu1:0", "relevance")


def digits(count: int) -> Any:
    rng = np.random.default_rng(0)
    return rng.random((count, 1, 28, 28)).astype(np.float32)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    model = onnxlrp.load(DIGITS)
    peaks = []
    for count in (100, 500, 2000):  # the first one warms up
        folder = tmp_path / str(count)
        folder.mkdir()
        for n, one in enumerate(digits(count)):
            Image.fromarray((one[0] * 255).astype(np.uint8)).save(folder / f"{n:05}.png")
        tracemalloc.start()
        Atlas.build(model, folder, tmp_path / f"atlas{count}", batch_size=64, layers="relu[12]", top=2)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 1500 * 1000  # the list of files has less than a kilobyte for each


def test_a_run_that_is_refused_midway_leaves_no_folder(tmp_path: Path) -> None:
    onnx.save(pooled("H", "W"), tmp_path / "m.onnx")
    for n, side in enumerate((12, 12, 20)):
        Image.new("RGB", (side, side), (9 * n, 80, 7)).save(tmp_path / f"{n}.png")
    asked = {"layers": ".*", "batch_size": 1, "by": ["activation"]}
    with pytest.raises(InputError, match="several sizes"):
        Atlas.build(onnxlrp.load(tmp_path / "m.onnx"), str(tmp_path / "*.png"), tmp_path / "atlas", **asked)
    assert not (tmp_path / "atlas").exists()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="several sizes"):
        Atlas.build(onnxlrp.load(tmp_path / "m.onnx"), str(tmp_path / "*.png"), tmp_path / "own", **asked)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["mine.txt"]
