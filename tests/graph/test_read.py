"""What the loader says about files that are no models."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, helper

from onnxlrp import runtime
from onnxlrp.errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from onnxlrp.graph.load import load
from onnxlrp.graph.reading.printable import printable
from support.tiny_models import conv, model, node, values


def small() -> Any:
    return model([conv("x", "c", "w"), node("Relu", ["c"], ["y"])], {"w": values(4, 4, 3, 3)})


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "PNG image"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"PK\x03\x04" + b"\0" * 40, "zip archive"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 40, "HDF5"),
        (b"hello, this is text", "not an ONNX model"),
        (b"\x08\x08", "not an ONNX model|no graph"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: Any, what: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError, match=what) as caught:
        load(path)
    assert caught.value.code == 3
    assert caught.value.fix
    assert "\n" not in caught.value.message


def test_truncated_at_any_byte_is_an_input_error() -> None:
    data = small().SerializeToString()
    for length in range(1, len(data), 7):
        with pytest.raises(InputError):
            load(data[:length])


def test_missing_file_names_what_is_there(tmp_path: Path) -> None:
    onnx.save_model(small(), tmp_path / "there.onnx")
    with pytest.raises(InputError, match="no such file") as caught:
        load(tmp_path / "absent.onnx")
    assert "there.onnx" in caught.value.fix


def test_directory_suggests_a_file(tmp_path: Path) -> None:
    onnx.save_model(small(), tmp_path / "there.onnx")
    with pytest.raises(InputError, match="is a directory") as caught:
        load(tmp_path)
    assert "there.onnx" in caught.value.fix


def test_graph_without_nodes() -> None:
    with pytest.raises(InputError, match="without nodes"):
        load(model([], outputs=["x"]))


def test_other_types_are_refused() -> None:
    with pytest.raises(InputError, match="int is no model"):
        load(3)  # type: ignore[arg-type]


def test_external_data_is_read_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    external = small()
    external_data_helper.convert_model_to_external_data(external, location="weights.bin", size_threshold=0)
    onnx.save_model(external, tmp_path / "model.onnx")
    monkeypatch.chdir("/")
    graph = load(tmp_path / "model.onnx")
    assert graph.constants["w"].shape == (4, 4, 3, 3)
    (tmp_path / "weights.bin").write_bytes(b"\0" * 10)
    with pytest.raises(InputError, match=r'"weights.bin" is cut off'):
        load(tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InputError, match=r'"weights.bin" is missing'):
        load(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="in another file"):
        load((tmp_path / "model.onnx").read_bytes())


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", ""])
def test_external_data_stays_in_the_folder(tmp_path: Path, location: str) -> None:
    external = small()
    external_data_helper.convert_model_to_external_data(external, location="weights.bin", size_threshold=0)
    onnx.save_model(external, tmp_path / "model.onnx")
    stored = onnx.load_model(tmp_path / "model.onnx", load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    (tmp_path / "model.onnx").write_bytes(stored.SerializeToString())
    with pytest.raises(InputError, match="outside the model's folder"):
        load(tmp_path / "model.onnx")


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31mb\n") == "a\\x1b[31mb\\n"
    hidden = "\x9b\u202e\u2066\u200b\u00ad\u2028\ufeff\ue000\ud800"
    assert printable(hidden).isascii()
    assert printable("Schäfer 猫 Σ") == "Schäfer 猫 Σ"
    assert str(InputError(f"a{hidden}", f"b{hidden}")).isascii()
    unknown = model([node("Made\x1bUp", ["x"], ["y"], name="n\n")])
    with pytest.raises(UnsupportedError) as caught:
        load(unknown)
    assert "\x1b" not in str(caught.value)


def test_unknown_operators_are_named() -> None:
    strange = model([node("Frobnicate", ["x"], ["y"], name="f1", domain="com.example")])
    strange.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedError, match=r"com\.example") as caught:
        load(strange)
    assert caught.value.code == 4


def test_without_onnxruntime_a_graph_is_the_same_and_the_fix_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(small())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert [layer.op for layer in load(small()).layers] == [layer.op for layer in whole.layers]
    with pytest.raises(UsageError) as caught:
        runtime.onnxruntime()
    assert caught.value.fix == "pip install onnxruntime"


def test_the_layer_ir_needs_neither_onnx_nor_onnxruntime() -> None:
    import subprocess

    code = (
        "import sys; sys.modules['onnx'] = sys.modules['onnxruntime'] = None; "
        "import onnxlrp.graph.graph, onnxlrp.graph.facts"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damage_is_an_error_of_ours() -> None:
    rng = np.random.default_rng(0)
    sound = small().SerializeToString()
    for _ in range(150):
        data = bytearray(sound)
        data[rng.integers(len(data))] = rng.integers(256)
        with contextlib.suppress(OnnxLrpError):
            load(bytes(data))
