"""Where the CUDA engine runs: what is done on a GPU, in which order, on a stand-in for CuPy; and why it cannot run."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxlrp.cli import main
from onnxlrp.engines.cuda import build, device, loaders
from onnxlrp.errors import UsageError

MODELS = Path(__file__).parents[2] / "models"
WORDS = ["explain", str(MODELS / "digits.onnx"), str(MODELS / "samples" / "digit_7.png")]


class Refused(Exception):
    pass


class Stream:
    def __init__(self, said):
        self.said, self.ptr = said, 7

    def __enter__(self):
        self.said.append("enter")

    def __exit__(self, *_):
        self.said.append("exit")

    def begin_capture(self, mode):
        self.said.append(f"capture {mode}")

    def end_capture(self):
        self.said.append("captured")
        return types.SimpleNamespace(launch=lambda stream: self.said.append("replay"))


def stand_in(said, count=1, error=None, kernel_error=None):
    """As much of CuPy as the engine touches, with what it is told in `said`."""

    def devices():
        if error:
            raise error
        return count

    class Module:
        def __init__(self, **how):
            self.how = how
            said.append(f"module {'path' if 'path' in how else 'code'}")

        def get_function(self, name):
            if kernel_error:
                raise kernel_error
            return lambda grid, block, args, shared_mem, stream: said.append(f"launch {name}")

    runtime = types.SimpleNamespace(
        getDeviceCount=devices,
        streamCaptureModeRelaxed="relaxed",
        memGetInfo=lambda: (1000, 2000),
        deviceSynchronize=lambda: said.append("wait"),
    )
    module = types.ModuleType("cupy")
    module.__spec__ = types.SimpleNamespace()
    module.cuda = types.SimpleNamespace(runtime=runtime, Stream=lambda non_blocking: Stream(said))
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 1000)
    module.empty, module.uint8, module.asarray, module.RawModule = np.empty, np.uint8, np.array, Module
    return module


@pytest.fixture
def cupy(monkeypatch):
    """`cupy(...)` puts a stand-in in CuPy's place and gives what it is told."""

    def put(**how):
        said = []
        monkeypatch.setitem(sys.modules, "cupy", stand_in(said, **how))
        return said

    return put


def test_the_first_run_launches_the_second_is_captured_the_others_replay(cupy):
    said = cupy()
    gpu, planned = device.Gpu(), types.SimpleNamespace(graph=None, runs=0)
    said.clear()
    for _ in range(4):
        gpu.replay(planned, lambda: said.append("launch"))
    first, second = ["enter", "launch", "exit"], ["enter", "capture relaxed", "launch", "captured", "replay", "exit"]
    assert said == [*first, *second, *["enter", "replay", "exit"] * 2]


def test_a_capture_that_fails_ends(cupy):
    said = cupy()
    gpu, planned = device.Gpu(), types.SimpleNamespace(graph=None, runs=1)

    def launch():
        raise Refused

    with pytest.raises(Refused):
        gpu.replay(planned, launch)
    assert said[-2:] == ["captured", "exit"]


def test_free_memory_counts_what_the_pool_holds(cupy):
    cupy()
    assert device.Gpu().free() == 1800


@pytest.mark.parametrize("there", [True, False])
def test_a_fatbin_of_these_sources_comes_before_nvrtc(cupy, monkeypatch, tmp_path, there):
    monkeypatch.setattr(build, "CSRC", tmp_path) if not there else None
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    monkeypatch.setattr(build, "fatbin_name", lambda: "kernels-1.fatbin")
    monkeypatch.setattr(build, "source", lambda: "")
    if there:
        (tmp_path / "kernels-1.fatbin").touch()
    said = cupy()
    assert loaders.load().name == ("fatbin" if there else "nvrtc")
    assert said == ["module path" if there else "module code"]
    if not there:
        with pytest.raises(UsageError, match="not been compiled"):
            loaders.load("fatbin")


class Wanted:
    """A forward session's model: y = x + x."""

    ends = tuple(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


def test_the_forward_pass_leaves_its_results_where_the_program_reads_them():
    def write(target, array):
        target[...] = array.reshape(-1)

    session = device.OnCpu(Wanted.model, ["y"], write)
    into = {"y": np.zeros(6, np.float32)}
    session.run({"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, into)
    assert into["y"].tolist() == [0, 2, 4, 6, 8, 10]
    session.run({"x": np.full((2, 3), np.nan, np.float32)}, {})  # nothing is read: nothing runs


def test_without_the_cuda_provider_the_forward_pass_runs_on_the_cpu_and_v_says_so(cupy, monkeypatch, caplog):
    cupy()
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with caplog.at_level("INFO", "onnxlrp"):
        assert isinstance(device.Gpu().session(Wanted.model, ["y"]), device.OnCpu)
    assert "runs on the CPU" in caplog.text


# -- why it cannot run


CANNOT = {
    "there is no GPU": ({"count": 0}, "no NVIDIA GPU"),
    "there is no driver": ({"error": Refused("cudaErrorInsufficientDriver: too old")}, "cudaErrorInsufficientDriver"),
    "CuPy says it in many lines": ({"error": Refused("\n====\nfirst\nsecond")}, "first"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_where_it_cannot_run_it_says_why_in_two_lines(cupy, capsys, monkeypatch, tmp_path, name):
    how, said = CANNOT[name]
    monkeypatch.chdir(tmp_path)
    cupy(**how)
    assert main([*WORDS, "--engine", "cuda"]) == 2
    error, fix = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error ")
    assert said in error
    assert fix.startswith("fix ")
    assert "ort" in fix or "pip install" in fix


def test_a_kernel_that_cannot_be_loaded(cupy):
    cupy(kernel_error=Refused("libnvrtc.so.13 is missing\nmore"))
    with pytest.raises(UsageError, match=r"libnvrtc\.so\.13 is missing") as caught:
        loaders.load("nvrtc").launch("axpy", (1,), (32,), ())
    assert "[ctk]" in caught.value.fix


def test_a_cupy_that_is_missing_or_cannot_be_loaded(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(loaders.importlib.util, "find_spec", lambda name: None)
    assert main([*WORDS, "--engine", "cuda"]) == 2
    assert "which is not installed" in capsys.readouterr().err
    monkeypatch.setattr(loaders.importlib.util, "find_spec", lambda name: "somewhere")

    def broken(name):
        raise ImportError(f"{name}: libcudart.so.13 is missing")

    monkeypatch.setattr(loaders.importlib, "import_module", broken)
    with pytest.raises(UsageError, match=r"cannot be loaded: cupy: libcudart\.so\.13 is missing"):
        loaders.load("nvrtc")


def test_v_says_which_engine_auto_took(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "-v"]) == 0
    assert "engine ort" in capsys.readouterr().err
    assert main(WORDS) == 0
    assert "engine ort" not in capsys.readouterr().err
