"""Tar archives: members read where they lie are what the files outside are; what is no archive is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.errors import InputError, NothingToDo
from onnxlrp.streaming.archives import members
from onnxlrp.streaming.batches import Rejected, batches
from onnxlrp.streaming.sources import files
from support.token_models import Bag

DIGITS = Path(__file__).parents[2] / "models" / "digits.onnx"


def packed(path: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            one = tarfile.TarInfo(name)
            one.size = len(data)
            archive.addfile(one, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a/one.png"
        archive.addfile(link)
    return path


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def model() -> onnxlrp.Model:
    return onnxlrp.load(DIGITS, prep="0-1")


def test_members_are_read_as_files_are(tmp_path: Path, model: onnxlrp.Model) -> None:
    shape = model.kind.shape
    array = np.random.default_rng(2).random((3, *shape), dtype=np.float32)
    contents = {
        "a/one.png": png(0),
        "b/one.png": png(1),
        "a/one.json": b"{}",
        "a/.hidden.png": png(3),
        "rows.npy": npy(array),
    }
    source = files([str(packed(tmp_path / "shard.tar", contents))])
    assert [item.name for item in source] == ["a/one", "b/one", "rows"]
    assert {path.name for path in source.paths} == {"shard.tar"}
    for item in source:
        outside = tmp_path / item.origin.rpartition(":")[2].replace("/", "_")
        outside.write_bytes(contents[item.origin.rpartition(":")[2]])
        inside, same = item.read(model), model.read(outside)
        np.testing.assert_array_equal(inside.values, same.values)
        assert inside.pictures == same.pictures
    assert item.read(model).names == ["rows.0", "rows.1", "rows.2"]


def test_a_broken_member_is_rejected_by_its_name(tmp_path: Path, model: onnxlrp.Model) -> None:
    path = packed(tmp_path / "shard.tar", {"good.png": png(0), "bad.png": b"no picture", "rows.npy": b"\x93NUMPY"})
    found = [batch for batch in batches(files([str(path)]), [model], 8) if isinstance(batch, Rejected)]
    assert [row.item.origin for row in found] == [f"{path}:bad.png", f"{path}:rows.npy"]
    assert all(str(row.error.message).startswith(row.item.origin) for row in found)


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = packed(tmp_path / "shard.tar", {"../../up.png": png(0), "/root.png": png(1)})
    assert [item.name for item in files([str(path)])] == ["up", "root"]


def test_what_is_no_archive_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"nothing of the kind" * 100)
    (tmp_path / "packed.tar").write_bytes(gzip.compress(packed(tmp_path / "a.tar", {"a.png": png(0)}).read_bytes()))
    for name in ("no.tar", "packed.tar"):
        with pytest.raises(InputError, match="cannot be read as a tar archive"):
            members(tmp_path / name)
    with pytest.raises(NothingToDo, match="neither pictures"):
        members(packed(tmp_path / "others.tar", {"a.json": b"{}"}))
    with pytest.raises(InputError, match="no such file"):
        members(tmp_path / "missing.tar")


def test_an_archive_that_is_cut_is_said(tmp_path: Path, model: onnxlrp.Model) -> None:
    path = packed(tmp_path / "shard.tar", {"a.png": png(0)})
    (item,) = files([str(path)])
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match="cut"):
        item.read(model)


def test_a_text_in_an_archive_is_what_it_is_outside(tmp_path: Path) -> None:
    lines = b"def f\n\nreturn x\n"
    source = files([str(packed(tmp_path / "texts.tar", {"a.txt": lines, "b.json": b"{}"}))])
    (tmp_path / "a.txt").write_bytes(lines)
    words = onnxlrp.load(Bag(tokens='["[PAD]", "x", "def", "f", "return"]').file)
    for model in (onnxlrp.load(DIGITS.with_name("charlm.onnx")), words):
        (item,) = source
        np.testing.assert_array_equal(item.read(model).values, model.read(tmp_path / "a.txt").values)


def test_texts_beside_pictures_are_captions(tmp_path: Path) -> None:
    source = files([str(packed(tmp_path / "shard.tar", {"a.png": png(0), "a.txt": b"a picture"}))])
    assert [item.origin.rpartition(":")[2] for item in source] == ["a.png"]
