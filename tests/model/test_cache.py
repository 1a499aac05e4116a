"""Answers from the cache: those of a run without it, bit by bit, and never those of another model or method."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.cache import digests
from onnxlrp.cache.later import finish
from onnxlrp.compile import compiler
from onnxlrp.engines import blocked
from onnxlrp.errors import InputError
from onnxlrp.graph import load as loading
from onnxlrp.graph.writing.packed import FileConstants
from onnxlrp.methods.registry import METHODS, composites
from onnxlrp.model.model import Model
from support.paths import MODELS
from support.small_nets import NETS, Net

Array = np.ndarray[Any, Any]
X = np.random.default_rng(3).normal(size=(2, 2, 5, 5)).astype(np.float32)
ALONE = [name for name in composites() if "patterns" not in METHODS[name].options]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ONNXLRP_CACHE", str(folder))
    monkeypatch.setattr("onnxlrp.cache.store._MOST", 1000)
    monkeypatch.setattr("onnxlrp.cache.store.has_foreign", lambda: False)  # other tests register some
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    onnx.save(NETS["residual"](), file)
    return file


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets a word whenever a model is read by passes, or a program compiled."""
    done: list[str] = []

    def counted(word: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*words: Any, **named: Any) -> Any:
            done.append(word)
            return call(*words, **named)

        return run

    monkeypatch.setattr(loading, "load", counted("read", loading.load))
    monkeypatch.setattr(compiler, "compile", counted("compiled", compiler.compile))
    return done


def same(a: onnxlrp.Explanation, b: onnxlrp.Explanation) -> None:
    np.testing.assert_array_equal(a.relevance, b.relevance)
    np.testing.assert_array_equal(a.output, b.output)
    np.testing.assert_array_equal(a.target, b.target)
    assert a.provenance == b.provenance
    assert (a.ledger is None) == (b.ledger is None)


def opened(path: Path, **how: Any) -> Model:
    return onnxlrp.load(path, cache=True, **how)


@pytest.mark.few(3)
@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize("net", ["residual", "maxpool", "everything"])
def test_every_method_gives_the_same(tmp_path: Path, worked: list[str], net: str, method: str) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(NETS[net](), path)
    plain = onnxlrp.load(path)
    x = np.random.default_rng(0).normal(size=(2, *plain.graph.inputs[0].shape)).astype(np.float32)
    options: dict[str, Any] = {"low": -3.0, "high": 3.0} if "low" in METHODS[method].options else {}
    expected = plain.explain(x, "top1", method, ledger=True, **options)
    first = opened(path).explain(x, "top1", method, ledger=True, **options)
    del worked[:]
    again = opened(path).explain(x, "top1", method, ledger=True, **options)
    assert not worked
    same(first, expected)
    same(again, expected)
    assert digests.digest(again.ledger) == digests.digest(first.ledger) == digests.digest(expected.ledger)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A model of as many channels as onnxruntime's blocked layout takes, with lanes behind the last of 24."""
    n = Net(3, 8, 8, seed=11)
    a = n.clip(n.conv("x", 3, 24, strides=[2, 2]), 2.0)
    b = n.relu(n.op("Add", n.conv(n.relu(n.conv(a, 24, 24, group=24)), 24, 24), a))
    c = n.op("MaxPool", n.relu(n.conv(b, 24, 32)), kernel_shape=[2, 2], strides=[2, 2])
    d = n.op("GlobalAveragePool", n.relu(n.norm(n.conv(c, 32, 40, kernel=(1, 1)), 40)))
    file = tmp_path / "wide.onnx"
    onnx.save(n.model(n.dense(n.op("Flatten", d), 40, 4)), file)
    return file


@pytest.mark.few(3)
@pytest.mark.parametrize("method", ALONE)
def test_the_layout_of_what_is_kept_changes_no_bit(wide: Path, cache: Path, method: str) -> None:
    """Elementwise nodes in the layout of convolutions, for any number of samples."""
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    options: dict[str, Any] = {"low": -3.0, "high": 3.0} if "low" in METHODS[method].options else {}
    expected = onnxlrp.load(wide).explain(x, "top2", method, ledger=True, **options)
    opened(wide).explain(x, "top2", method, ledger=True, **options)
    finish()
    kept = opened(wide)
    same(kept.explain(x, "top2", method, ledger=True, **options), expected)
    one = kept.explain(x[:1], "top2", method, ledger=True, **options)
    same(one, onnxlrp.load(wide).explain(x[:1], "top2", method, ledger=True, **options))
    assert np.isfinite(expected.relevance).all()


def test_fewer_tensors_are_reordered_in_what_is_kept(wide: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    plain = blocked.move_elementwise

    def noted(*given: Any) -> Any:
        seen.append(plain(*given))
        return seen[-1]

    monkeypatch.setattr(blocked, "move_elementwise", noted)
    opened(wide).explain(np.ones((1, 3, 8, 8), np.float32), method="epsilon_plus_flat")
    finish()
    (saved,) = seen
    if not saved.before:
        pytest.skip("onnxruntime has no blocked layout on this processor")
    assert saved.after < saved.before
    (graph,) = cache.glob("*/graph.onnx")
    assert sum("Reorder" in node.op_type for node in onnx.load(graph).graph.node) == saved.after


@pytest.mark.parametrize(
    "how",
    [
        {"target": "top3"},
        {"target": 2},
        {"target": [0, 3]},
        {"record": ["conv0"]},
        {"conditions": {"conv0": [1]}},
        {"rules": [("*", onnxlrp.rule("gradient"))]},
        {"batch_size": 1},
        {"seed": None},
    ],
    ids=lambda how: next(iter(how)),
)
def test_what_else_is_asked_is_another_program(path: Path, worked: list[str], how: dict[str, Any]) -> None:
    how = {key: value for key, value in how.items() if value is not None}
    opened(path).explain(X, method="gamma")
    expected = onnxlrp.load(path).explain(X, **{"method": "gamma", **how})
    for _ in range(2):
        found = opened(path).explain(X, **{"method": "gamma", **how})
        same(found, expected)
        assert found.layers.keys() == expected.layers.keys()
        for name, value in expected.layers.items():
            np.testing.assert_array_equal(found.layers[name], value)
    del worked[:]
    opened(path).explain(X, **{"method": "gamma", **how})
    assert not worked


def test_a_method_that_hides_gives_the_same(path: Path, worked: list[str]) -> None:
    expected = onnxlrp.load(path).explain(X, method="occlusion", window=2)
    opened(path).explain(X, method="occlusion", window=2)
    del worked[:]
    same(opened(path).explain(X, method="occlusion", window=2), expected)
    assert not worked


def test_other_engines_take_the_graph_alone(path: Path, cache: Path, worked: list[str]) -> None:
    expected = onnxlrp.load(path, engine="reference").explain(X, method="gamma")
    for _ in range(2):
        same(opened(path, engine="reference").explain(X, method="gamma"), expected)
    assert worked == ["read", "compiled"] * 2 + ["compiled"]  # without the cache, and the first time with it
    assert not entries(cache, "program.pickle")


def test_a_quantised_model_gives_the_same(tmp_path: Path, worked: list[str]) -> None:
    quantization: Any = pytest.importorskip("onnxruntime.quantization")
    float_path, path = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(NETS["plain"](), float_path)

    rows = iter(X)
    next_row = {"get_next": lambda self: next(({"x": row[None]} for row in rows), None)}
    reader = type("Samples", (quantization.CalibrationDataReader,), next_row)
    quantization.quantize_static(float_path, path, reader())
    expected = onnxlrp.load(path).explain(X, method="epsilon")
    opened(path).explain(X, method="epsilon")
    del worked[:]
    same(opened(path).explain(X, method="epsilon"), expected)
    assert not worked


def test_a_file_that_changes_in_place_is_read_anew(path: Path) -> None:
    before = opened(path).explain(X, 1, "gamma")
    model = NETS["residual"]()
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "w0")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), "w0"))
    status = path.stat()
    onnx.save(model, path)
    assert path.stat().st_size == status.st_size
    found = opened(path).explain(X, 1, "gamma")
    assert not np.array_equal(found.relevance, before.relevance)
    same(found, onnxlrp.load(path).explain(X, 1, "gamma"))
    same(opened(path).explain(X, 1, "gamma"), found)


def test_a_data_file_that_changes_in_place_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    save: dict[str, Any] = {"save_as_external_data": True, "location": "outside.data", "size_threshold": 0}
    onnx.save(NETS["residual"](), path, **save)
    opened(path).explain(X, 1, "gamma")
    same(opened(path).explain(X, 1, "gamma"), onnxlrp.load(path).explain(X, 1, "gamma"))
    data = tmp_path / "outside.data"
    values = np.frombuffer(data.read_bytes(), np.float32)
    with data.open("r+b") as file:
        file.write((values * np.float32(0.5)).tobytes())
    found = opened(path).explain(X, 1, "gamma")
    same(found, onnxlrp.load(path).explain(X, 1, "gamma"))
    data.unlink()
    with pytest.raises(InputError, match="missing"):
        opened(path)


def test_another_version_reads_and_compiles_anew(
    path: Path, worked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(path).explain(X, method="gamma")
    monkeypatch.setattr("onnxlrp.model.kept_graphs.surroundings", lambda: "another")
    monkeypatch.setattr("onnxlrp.model.kept_programs.surroundings", lambda: "another")
    del worked[:]
    opened(path).explain(X, method="gamma")
    assert worked == ["read", "compiled"]


def test_preprocessing_that_changes_the_size_is_read_anew(tmp_path: Path, worked: list[str]) -> None:
    model = NETS["residual"]()
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    path = tmp_path / "open.onnx"
    onnx.save(model, path)
    sidecar = tmp_path / "open.prep.toml"
    for side in (8, 9, 8):
        sidecar.write_text(f"size = [{side}, {side}]\nscale = 1.0\n", encoding="utf-8")
        assert opened(path).graph.inputs[0].shape == (2, side, side) == onnxlrp.load(path).graph.inputs[0].shape
    del worked[:]
    opened(path)
    assert not worked


def entries(cache: Path, name: str) -> list[Path]:
    finish()
    return sorted(cache.glob(f"*/{name}"))


@pytest.mark.few(6)
@pytest.mark.parametrize("name", ["graph.pickle", "program.pickle", "graph.onnx", "weights.bin", "names.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "changed"])
def test_damaged_entries_are_made_again(path: Path, cache: Path, worked: list[str], name: str, how: str) -> None:
    expected = opened(path).explain(X, method="gamma")
    for file in entries(cache, name):
        data = file.read_bytes()
        if how == "gone":
            file.unlink()
        else:
            file.write_bytes(data[: len(data) // 2] if how == "cut" else data[:-9] + b"\xff" * 9)
    same(opened(path).explain(X, method="gamma"), expected)
    del worked[:]
    same(opened(path).explain(X, method="gamma"), expected)
    assert not worked


def test_constants_are_read_when_they_are_asked_for(tmp_path: Path, worked: list[str]) -> None:
    path = MODELS / "shapes.onnx"
    plain = onnxlrp.load(path).graph
    opened(path)
    del worked[:]
    graph = opened(path).graph
    assert isinstance(graph.constants, FileConstants)
    assert list(graph.constants) == list(plain.constants)
    assert all(graph.constant_shape(name) == value.shape for name, value in plain.constants.items())
    assert not worked
    for name, value in plain.constants.items():
        np.testing.assert_array_equal(graph.constants[name], value)
    assert worked == ["read"]
    assert "no such constant" not in graph.constants


def test_a_changed_copy_of_a_graph_is_another(path: Path) -> None:
    opened(path).explain(X, method="gamma")
    model = opened(path)
    constants = {name: -value for name, value in model.graph.constants.items()}
    changed = replace(model, graph=replace(model.graph, constants=constants))
    plain = onnxlrp.load(path)
    expected = replace(plain, graph=replace(plain.graph, constants=constants)).explain(X, 0, "gamma")
    np.testing.assert_array_equal(changed.explain(X, 0, "gamma").relevance, expected.relevance)


def test_a_file_that_changes_after_it_was_found_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((MODELS / "shapes.onnx").read_bytes())
    opened(path)
    graph = opened(path).graph
    path.write_bytes((MODELS / "digits.onnx").read_bytes())
    with pytest.raises(InputError, match="changed"):
        list(graph.constants.values())


def test_nothing_is_kept_beside_what_others_register(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("onnxlrp.cache.store.has_foreign", lambda: True)
    with caplog.at_level(logging.INFO, logger="onnxlrp"):
        opened(path).explain(X, method="gamma")
    assert "other packages" in caplog.text
    assert not list(cache.glob("*"))


def test_rules_of_others_are_not_kept(path: Path, cache: Path) -> None:
    class Half:
        def __call__(self, op: Any, relevance: Any) -> Any:
            return onnxlrp.rule("gradient")(op, relevance)

    composite = onnxlrp.Composite([("*", Half())])
    found = opened(path).explain(X, 0, composite)
    same(found, onnxlrp.load(path).explain(X, 0, composite))
    assert not entries(cache, "program.pickle")


def test_without_cache_nothing_is_written(path: Path, cache: Path) -> None:
    onnxlrp.load(path).explain(X, method="gamma")
    assert not cache.exists()


def test_sessions_with_options_of_ones_own_are_not_kept(path: Path, cache: Path) -> None:
    opened(path, providers=["CPUExecutionProvider"]).explain(X, method="gamma")
    assert not entries(cache, "program.pickle")


@pytest.mark.slow
def test_processes_at_once_agree(path: Path, cache: Path) -> None:
    code = (
        "import sys, numpy as np, onnxlrp\n"
        "x = np.random.default_rng(3).normal(size=(2, 2, 5, 5)).astype(np.float32)\n"
        "e = onnxlrp.load(sys.argv[1], cache=True).explain(x, method='gamma')\n"
        "sys.stdout.buffer.write(e.relevance.tobytes())\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    found = [process.communicate()[0] for process in running]
    expected = onnxlrp.load(path).explain(X, method="gamma").relevance.tobytes()
    assert found == [expected] * 4
    assert len(entries(cache, "program.pickle")) == 1
    assert not list(cache.glob(".*"))


def test_the_surroundings_are_those_of_this_code() -> None:
    assert len(digests.surroundings()) == 64
