"""Weights in other files: where they may lie, and that they are mapped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, numpy_helper

import onnxlrp
from onnxlrp.errors import InputError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import conv, model, node, values


def saved(path: Any, source: Any = None) -> Any:
    """A model whose weights all lie in weights.bin beside it."""
    source = source or model([conv("x", "c", "w"), node("Relu", ["c"], ["y"])], {"w": values(4, 4, 3, 3)})
    external_data_helper.convert_model_to_external_data(source, location="weights.bin", size_threshold=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(source, path)
    return path


def is_mapped(value: Any) -> bool:
    while value is not None and not isinstance(value, np.memmap):
        value = getattr(value, "base", None)
    return value is not None


def test_weights_are_mapped_and_not_writable(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx")
    weight = load(path).constants["w"]
    np.testing.assert_array_equal(weight, values(4, 4, 3, 3))
    assert is_mapped(weight)
    assert not weight.flags.writeable


@pytest.mark.parametrize("kind", ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "INT4", "UINT4"])
def test_every_type_reads_as_onnx_reads_it(tmp_path: Path, kind: str) -> None:
    """An odd number of values at an odd place: packed types end in half a byte."""
    number = getattr(TensorProto, kind)
    inline = onnx.helper.make_tensor("w", number, [3], [1, 2, 3])
    inline = numpy_helper.from_array(numpy_helper.to_array(inline), "w")
    # As stored: `from_array` keeps the packed bytes.
    from onnxlrp.graph.reading import external_data

    (tmp_path / "w.bin").write_bytes(b"\xff" + inline.raw_data)
    stored = TensorProto(name="w", dims=[3], data_type=number, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", "offset": 1, "length": len(inline.raw_data)}.items():
        stored.external_data.add(key=key, value=str(value))
    read = external_data.read(stored, external_data.Home(tmp_path / "m.onnx"), "m")
    np.testing.assert_array_equal(read.astype(np.float64), [1, 2, 3])
    assert read.dtype == numpy_helper.to_array(inline).dtype


def test_half_precision_in_another_file(tmp_path: Path) -> None:
    weight = values(4, 4, 3, 3).astype(np.float16)
    source = model([conv("x", "c", "w"), node("Relu", ["c"], ["y"])], {"w": weight}, kind=TensorProto.FLOAT16)
    graph = load(saved(tmp_path / "half.onnx", source))
    np.testing.assert_array_equal(graph.constants["w"], weight.astype(np.float32))


def cache(folder: Any) -> tuple[Any, Any]:
    """A Hugging Face cache: REPO/snapshots/HASH/onnx/model.onnx and its data, links to REPO/blobs."""
    repo = folder / "models--org--name"
    plain = saved(folder / "plain" / "model.onnx")
    (repo / "blobs").mkdir(parents=True)
    snapshot = repo / "snapshots" / ("a" * 40) / "onnx"
    snapshot.mkdir(parents=True)
    for blob, file in (("1" * 64, plain), ("2" * 64, plain.with_name("weights.bin"))):
        (repo / "blobs" / blob).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(repo / "blobs" / blob, snapshot))
    return snapshot / "model.onnx", plain


def test_the_hugging_face_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, plain = cache(tmp_path)
    assert verify(load(path), plain) < 1e-6
    monkeypatch.chdir(path.parent)
    load("model.onnx")
    linked = tmp_path / "link"
    linked.symlink_to(path.parent)
    load(linked / "model.onnx")
    # Two repositories that share a blob by a hard link.
    os.link(path.with_name("weights.bin").resolve(), tmp_path / "other")
    load(path)


def test_the_cache_of_another_repository_is_outside(tmp_path: Path) -> None:
    path, _ = cache(tmp_path / "one")
    other, _ = cache(tmp_path / "two")
    data = path.with_name("weights.bin")
    data.unlink()
    data.symlink_to(other.with_name("weights.bin").resolve())
    with pytest.raises(InputError, match="outside the model's folder"):
        load(path)


def test_a_model_behind_a_link_finds_the_data_beside_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "far" / "net.onnx")
    link = tmp_path / "net.onnx"
    link.symlink_to(path)
    load(link)


@pytest.mark.parametrize("how", ["hard", "soft"])
def test_linked_data_is_allowed_where_it_is_asked_for(tmp_path: Path, how: str) -> None:
    path = saved(tmp_path / "model" / "net.onnx")
    data, outside = path.with_name("weights.bin"), tmp_path / "outside.bin"
    data.rename(outside)
    if how == "hard":
        os.link(outside, data)
    else:
        data.symlink_to(outside)
    with pytest.raises(InputError, match="hard link" if how == "hard" else "outside the model's folder") as caught:
        load(path)
    assert "--allow-linked-data" in caught.value.fix
    assert load(path, allow_linked_data=True).constants["w"].shape == (4, 4, 3, 3)
    assert onnxlrp.load(path, allow_linked_data=True).graph.sha256


def test_a_link_within_the_folder_passes(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx")
    (tmp_path / "data").mkdir()
    path.with_name("weights.bin").rename(tmp_path / "data" / "w")
    path.with_name("weights.bin").symlink_to(Path("data") / "w")
    load(path)


def test_tied_weights_share_their_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx")
    source = onnx.load_model(path, load_external_data=False)
    twin = source.graph.initializer.add()
    twin.CopyFrom(source.graph.initializer[0])
    twin.name = "v"
    source.graph.node[1].CopyFrom(conv("c", "y", "v", name="second"))
    path.write_bytes(source.SerializeToString())
    graph = load(path)
    np.testing.assert_array_equal(graph.constants["w"], graph.constants["v"])


@pytest.mark.slow
def test_a_model_of_more_than_two_gigabytes_is_read(tmp_path: Path) -> None:
    """Its data file is all hole: no disk is used, and no memory either."""
    width = 24576
    source = model([node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])], shape=("N", width))
    weight = source.graph.initializer.add()
    weight.CopyFrom(TensorProto(name="w", dims=[width, width], data_type=1, data_location=TensorProto.EXTERNAL))
    weight.external_data.add(key="location", value="weights.bin")
    path = tmp_path / "large.onnx"
    path.write_bytes(source.SerializeToString())
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(4 * width * width)
    loaded = onnxlrp.load(path, max_memory="4G")
    assert is_mapped(loaded.graph.constants["w"])
    assert loaded.graph.outputs[0].shape == (width,)
