"""Explanations: one sample of a batch, sums, and the files that they become."""

from __future__ import annotations

import builtins
import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxlrp import files
from onnxlrp.errors import InputError, UnsupportedError, UsageError
from onnxlrp.explanation import Explanation
from onnxlrp.preprocessing.find import find
from onnxlrp.streaming.sinks import planned


class Row:
    def select(self, samples: Any) -> Row:
        return self

    def to_dict(self) -> dict[str, Any]:
        return {"layer": "conv1", "in": np.float32(2.0), "out": float("nan")}


PROVENANCE = {
    "model": "digits.onnx",
    "sha256": "0" * 64,
    "method": "epsilon_plus_flat",
    "options": {"epsilon": np.float64(1e-6)},
    "engine": "ort",
}


def batch(n: int = 2, t: int | None = None, *, strict: bool = False, **more: Any) -> Explanation:
    rng = np.random.default_rng(0)
    lead = (n,) if t is None else (t, n)
    prep = find({"prep": "0-1", "resize": "stretch"} if strict else {}, None, {}, (3, 8, 8))
    pictures = [Image.fromarray(rng.integers(0, 255, (20, 16, 3), dtype=np.uint8)) for _ in range(n)]
    fields: dict[str, Any] = {
        "relevance": rng.normal(size=(*lead, 3, 8, 8)).astype(np.float32),
        "output": rng.normal(size=(n, 4)).astype(np.float32),
        "target": rng.integers(0, 4, lead) if t is None else np.arange(t)[:, None].repeat(n, 1),
        "ledger": [Row()],
        "provenance": PROVENANCE,
        "labels": ("tench, Tinca tinca", "dog", "fox", "Käse/../x"),
        "layers": {"layer4.0": rng.normal(size=(*lead, 5, 2, 2))},
        "images": [prep.view(p) for p in pictures],
        "preprocessing": prep,
        "names": [f"img{i}" for i in range(n)],
        "originals": pictures,
    }
    return Explanation(**{**fields, **more})


def test_it_is_an_array() -> None:
    e = batch(3)
    assert len(e) == 3
    assert np.asarray(e) is e.relevance
    assert np.asarray(e, dtype=np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.abs(e), np.abs(e.relevance))
    with pytest.raises(ValueError, match="copy"):
        e.__array__(np.float64, copy=False)


@pytest.mark.parametrize("t", [None, 2])
def test_one_sample_of_a_batch(t: int | None) -> None:
    e = batch(3, t)
    assert len(list(e)) == 3
    for i, one in enumerate(e):
        assert len(one) == 1
        np.testing.assert_array_equal(
            one.relevance.reshape(-1), np.take(e.relevance, i, axis=e.target.ndim - 1).ravel()
        )
        np.testing.assert_array_equal(one.output, e.output[i : i + 1])
        assert one.names == [f"img{i}"]
        assert one.layers["layer4.0"].shape == ((1, 5, 2, 2) if t is None else (t, 1, 5, 2, 2))
        np.testing.assert_array_equal(one.total, e.total[..., i : i + 1])
        np.testing.assert_array_equal(one.logit, e.logit[..., i : i + 1])
    assert len(e[1:]) == 2
    assert e[-1].names == ["img2"]
    with pytest.raises(IndexError):
        e[3]


def test_sums_and_logits() -> None:
    e = batch(2)
    np.testing.assert_allclose(e.total, e.relevance.astype(np.float64).sum((1, 2, 3)))
    np.testing.assert_array_equal(e.logit, e.output[[0, 1], e.target])
    several = batch(2, 3)
    assert several.total.shape == several.logit.shape == (3, 2)
    np.testing.assert_array_equal(several.logit[2], several.output[:, 2])
    np.testing.assert_array_equal(batch(2, logit=np.array([7, 8])).logit, [7, 8])


def test_probabilities_and_top() -> None:
    e = batch(2)
    np.testing.assert_allclose(e.probabilities.sum(1), 1)
    best = e.top(3)[0]
    assert [row[0] for row in best] == list(np.argsort(-e.output[0])[:3])
    assert {0: "tench", 3: "Käse/../x"}.get(best[0][0], best[0][1]) == best[0][1]
    softmaxed = Explanation(np.zeros((1, 2)), np.array([[0.25, 0.75]]), np.array([1]))
    assert softmaxed.top(1) == [[(1, "1", 0.75)]]
    huge = Explanation(np.zeros((1, 2)), np.array([[1e4, -1e4]]), np.array([0]))
    np.testing.assert_array_equal(huge.probabilities, [[1, 0]])


def test_png_carries_its_provenance(tmp_path: Path) -> None:
    (path,) = batch(1, target=np.array([0])).save(tmp_path / "cat.png")
    with Image.open(path) as picture:
        words = picture.text  # type: ignore[attr-defined]
    origin = json.loads(words["onnxlrp.provenance"])
    assert origin["sha256"] == "0" * 64
    assert origin["method"] == "epsilon_plus_flat"
    assert (origin["target"], origin["label"]) == (0, "tench")
    assert origin["preprocessing"]["assumed"] == ["color", "scale", "mean", "std", "resize", "crop"]
    assert words["ASSUMED"] == "color, scale, mean, std, resize, crop"
    (path,) = batch(1, strict=True).save(tmp_path / "cat.png")
    with Image.open(path) as picture:
        assert "ASSUMED" not in picture.text  # type: ignore[attr-defined]


def test_json() -> None:
    e = batch(2, 2)
    data = json.loads(e.to_json())
    assert data["ASSUMED"] == ["color", "scale", "mean", "std", "resize", "crop"]
    assert data["ledger"] == [{"layer": "conv1", "in": 2.0, "out": None}]
    assert data["relevance_shape"] == [2, 2, 3, 8, 8]
    sample = data["samples"][1]
    assert [t["id"] for t in sample["targets"]] == [0, 1]
    assert sample["targets"][0]["relevance_sum"] == pytest.approx(float(e.total[0, 1]))
    assert "ASSUMED" not in json.loads(batch(1, strict=True).to_json())


def test_npz_holds_the_numbers(tmp_path: Path) -> None:
    e = batch(2)
    (path,) = e.save(tmp_path / "a.npz")
    with np.load(path, allow_pickle=False) as data:
        np.testing.assert_array_equal(data["relevance"], e.relevance)
        np.testing.assert_array_equal(data["output"], e.output)
        np.testing.assert_array_equal(data["target"], e.target)
        np.testing.assert_array_equal(data["layers/layer4.0"], e.layers["layer4.0"])
        assert json.loads(str(data["provenance"]))["engine"] == "ort"
        assert "ASSUMED" in data


def test_safetensors_hold_the_arrays_of_npz_by_the_library_itself(tmp_path: Path) -> None:
    reader = pytest.importorskip("safetensors")
    e = batch(2)
    (path,) = e.save(tmp_path / "a.safetensors")
    (arrays,) = e.save(tmp_path / "a.npz")
    with reader.safe_open(path, "numpy") as tensors, np.load(arrays, allow_pickle=False) as data:
        assert {*tensors.keys(), "provenance", "ASSUMED"} == {*data.files}
        for name in tensors.keys():  # noqa: SIM118  # no mapping
            np.testing.assert_array_equal(tensors.get_tensor(name), data[name])
            assert tensors.get_tensor(name).dtype == data[name].dtype
        about = tensors.metadata()
    assert {type(value) for value in about.values()} == {str}
    said = json.loads(about["provenance"])
    assert said.pop("ASSUMED") == str(np.load(arrays)["ASSUMED"])
    assert said == json.loads(str(np.load(arrays)["provenance"]))
    assert [p.read_bytes() for p in e.save(tmp_path / "b.safetensors")] == [path.read_bytes()]


def test_without_safetensors_the_format_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UnsupportedError, match="not installed") as error:
        planned(str(tmp_path / "{stem}"), "png,safetensors", 1, 1)
    assert "pip install safetensors" in error.value.fix
    with pytest.raises(UnsupportedError, match="not installed"):
        batch(1).save(tmp_path / "a.safetensors")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("n", "t", "pattern", "names"),
    [
        (1, None, "a.png", ["a.png"]),
        (2, None, "a.png", ["a.0.png", "a.1.png"]),
        (2, None, "{stem}.png", ["img0.png", "img1.png"]),
        (2, 2, "{stem}.{target}.{method}.png", [f"img{i}.{t}.epsilon_plus_flat.png" for i in (0, 1) for t in (0, 1)]),
        (1, 4, "{label}.png", ["Käse_.._x.png", "dog.png", "fox.png", "tench.png"]),
        (2, 2, "x{index}.png", ["x0.0.png", "x0.1.png", "x1.2.png", "x1.3.png"]),
        (2, None, "a.npz", ["a.npz"]),
        (2, None, "{stem}.json", ["img0.json", "img1.json"]),
    ],
)
def test_names(tmp_path: Path, n: int, t: int | None, pattern: str, names: list[str]) -> None:
    written = batch(n, t).save(tmp_path / pattern)
    assert sorted(p.name for p in written) == sorted(names)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)


def test_format_gives_the_suffix(tmp_path: Path) -> None:
    e = batch(1)
    assert [p.name for p in e.save(tmp_path / "a.png", "json")] == ["a.json"]
    assert [p.name for p in e.save(tmp_path / "v1.2", "npz")] == ["v1.2.npz"]


def test_bad_names(tmp_path: Path) -> None:
    e = batch(1)
    with pytest.raises(UsageError, match="stm"):
        e.save(tmp_path / "{stm}.png")
    with pytest.raises(UsageError):
        e.save(tmp_path / "{stem.__class__}.png")
    for name in ("a.jpg", "a"):
        with pytest.raises(UsageError):
            e.save(tmp_path / name)
    (tmp_path / "d.png").mkdir()
    with pytest.raises(InputError):
        e.save(tmp_path / "d.png")
    with pytest.raises(InputError):
        e.save(tmp_path / ("x" * 300 + ".png"))
    assert [p.name for p in tmp_path.iterdir()] == ["d.png"]


def test_files_are_renamed_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(InputError, match="disk full"):
            files.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_spaces() -> None:
    e = batch(1)
    seen, whole = e.figure(), e.figure(space="original")
    assert whole.height > seen.height * 0.9
    assert whole.size != seen.size
    with pytest.raises(UsageError):
        e.figure(space="outer")


def test_other_inputs() -> None:
    def of(shape: tuple[int, ...]) -> Explanation:
        return Explanation(np.ones((1, *shape)), np.array([[1.0, 2.0]]), np.array([1]))

    for shape in ((30,), (2, 30), (28, 28), (3, 9, 9), (9, 9, 1), (3, 4, 5, 6), (2, 3, 4, 5, 6)):
        assert of(shape).figure().mode == "RGB"


@pytest.mark.parametrize(("n", "t"), [(1, None), (3, None), (2, 2)])
def test_notebooks(n: int, t: int | None) -> None:
    with Image.open(io.BytesIO(batch(n, t)._repr_png_())) as picture:
        picture.load()
        assert picture.format == "PNG"


def test_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(UsageError) as caught:
            batch(1).plot()
    assert caught.value.fix == "pip install matplotlib"


def test_plot_with_matplotlib() -> None:
    pytest.importorskip("matplotlib")
    assert batch(1).plot().axes


def test_repr_says_what_it_is() -> None:
    assert repr(batch(2, target=np.array([1, 1]))).startswith("Explanation(2 × dog, epsilon_plus_flat")


def test_paths_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert batch(1).save("a.png") == [Path("a.png")]
