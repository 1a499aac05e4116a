"""Where the CUDA engine runs: what is done on a GPU, in which order, on a stand-in for CuPy; and why it cannot run."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxlrp.cli import main
from onnxlrp.engines import Forward, providers
from onnxlrp.engines.cuda.engine import Cuda
from onnxlrp.engines.cuda.kernels import build
from onnxlrp.engines.cuda.runtime import device, forward, loaders
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.program.program import SEED, Activation, Instruction, Program, Seed
from support.paths import MODELS

WORDS = ["explain", str(MODELS / "digits.onnx"), str(MODELS / "samples" / "digit_7.png")]


class Refused(Exception):
    pass


class Stream:
    def __init__(self, said: Any) -> None:
        self.said, self.ptr, self.device_id = said, 7, 1

    def __enter__(self) -> None:
        self.said.append("enter")

    def __exit__(self, *_: Any) -> None:
        self.said.append("exit")

    def begin_capture(self, mode: Any) -> None:
        self.said.append(f"capture {mode}")

    def end_capture(self) -> Any:
        self.said.append("captured")
        return types.SimpleNamespace(launch=lambda stream: self.said.append("replay"))


class OnDevice(contextlib.nullcontext[None]):
    def __init__(self, capability: Any) -> None:
        super().__init__()
        self.compute_capability = capability


def stand_in(said: Any, count: int = 1, error: Any = None, kernel_error: Any = None, capability: str = "90") -> Any:
    """As much of CuPy as the engine touches, with what it is told in `said`."""

    def devices() -> Any:
        if error:
            raise error
        return count

    class Module:
        def __init__(self, **how: Any) -> None:
            self.how = how
            said.append(f"module {'path' if 'path' in how else 'code'}")

        def get_function(self, name: Any) -> Callable[..., Any]:
            if kernel_error:
                raise kernel_error
            return lambda grid, block, args, shared_mem, stream: said.append(f"launch {name}")

    runtime = types.SimpleNamespace(
        getDeviceCount=devices,
        streamCaptureModeRelaxed="relaxed",
        memGetInfo=lambda: (1000, 2000),
        deviceSynchronize=lambda: said.append("wait"),
    )
    module: Any = types.ModuleType("cupy")
    module.__spec__ = types.SimpleNamespace()
    module.cuda = types.SimpleNamespace(
        runtime=runtime, Stream=lambda non_blocking: Stream(said), Device=lambda: OnDevice(capability)
    )
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 1000)
    module.empty, module.uint8, module.asarray, module.RawModule = np.empty, np.uint8, np.array, Module
    return module


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`cupy(...)` puts a stand-in in CuPy's place and gives what it is told."""

    def put(**how: Any) -> Any:
        said = []
        monkeypatch.setitem(sys.modules, "cupy", stand_in(said, **how))
        return said

    return put


def test_the_first_run_launches_the_second_is_captured_the_others_replay(cupy: Callable[..., Any]) -> None:
    said = cupy()
    gpu, planned = device.GpuDevice(), types.SimpleNamespace(graph=None, runs=0)
    said.clear()
    for _ in range(4):
        gpu.replay(planned, lambda: said.append("launch"))
    first, second = ["enter", "launch", "exit"], ["enter", "capture relaxed", "launch", "captured", "replay", "exit"]
    assert said == [*first, *second, *["enter", "replay", "exit"] * 2]


def test_the_forward_pass_comes_before_our_graph_never_inside_it(cupy: Callable[..., Any]) -> None:
    said = cupy()
    gpu: Any = device.GpuDevice()
    gpu.session = lambda *_: types.SimpleNamespace(run=lambda inputs, into: said.append("forward"))
    gpu.write, gpu.download = lambda target, array: said.append("seed"), np.array
    steps = (
        Instruction("read", "activation", (), Activation("y"), (3,), False, False),
        Instruction("read", "seed", (), Seed("y", "index"), (3,), False, False),
        Instruction("map", "mul", (0, 1), None, (3,), False, False),
    )
    run = Cuda(gpu).prepare(Forward(lambda dtype, tensors: None, ("x",)), Program(steps, {"relevance": 2}))
    runs = []
    for _ in range(4):
        said.clear()
        run({"x": np.zeros((2, 3), np.float32), SEED: np.zeros(2, np.int64)})
        runs.append([word for word in said if not word.startswith("module")])
    kernels = [word for word in runs[0] if word.startswith("launch ")]
    assert len(kernels) == 2
    before = ["forward", "seed", "enter"]
    assert runs[0] == [*before, *kernels, "exit"]
    assert runs[1] == [*before, "capture relaxed", *kernels, "captured", "replay", "exit"]
    assert runs[2] == runs[3] == [*before, "replay", "exit"]


def test_a_capture_that_fails_ends(cupy: Callable[..., Any]) -> None:
    said = cupy()
    gpu, planned = device.GpuDevice(), types.SimpleNamespace(graph=None, runs=1)

    def launch() -> Any:
        raise Refused

    with pytest.raises(Refused):
        gpu.replay(planned, launch)
    assert said[-2:] == ["captured", "exit"]
    assert planned.graph is None


def test_free_memory_counts_what_the_pool_holds(cupy: Callable[..., Any]) -> None:
    cupy()
    assert device.GpuDevice().free() == 1800


def test_memory_that_is_not_there_is_said_with_the_fix(cupy: Callable[..., Any]) -> None:
    cupy()
    gpu = device.GpuDevice()
    gpu._cupy.cuda.memory = types.SimpleNamespace(OutOfMemoryError=MemoryError)

    def none_left(*_: Any) -> Any:
        raise MemoryError

    gpu._cupy.empty = none_left
    with pytest.raises(UnsupportedError, match=r"512\.0 MiB") as caught:
        gpu.empty(2**29)
    assert "--batch-size" in caught.value.fix


@pytest.mark.parametrize("there", [True, False])
def test_a_fatbin_of_these_sources_comes_before_nvrtc(
    cupy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    monkeypatch.setattr(build, "CSRC", tmp_path) if not there else None
    monkeypatch.setattr(build, "cache", lambda: tmp_path)
    monkeypatch.setattr(build, "fatbin_name", lambda: "kernels-1.fatbin")
    monkeypatch.setattr(build, "source", lambda: "")
    if there:
        (tmp_path / "kernels-1.fatbin").touch()
    said = cupy()
    assert loaders.load().name == ("fatbin" if there else "nvrtc")
    assert said == (["module path"] if there else [])  # NVRTC compiles what is asked for
    if not there:
        with pytest.raises(UsageError, match="not been compiled"):
            loaders.load("fatbin")


class Wanted:
    """A forward session's model: y = x + x."""

    ends = tuple(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", ends[:1], ends[1:])
    model = forward.SharedWeightModel(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    )


def test_large_weights_are_handed_over_and_not_copied_into_the_model() -> None:
    w = np.arange(6, dtype=np.float32)
    large = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[6], data_location=TensorProto.EXTERNAL)
    large.external_data.add(key="location", value="apart")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 6]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [large])
    named = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    given = Forward(lambda *_: None, ("x",), lambda dtype, tensors: (named, {"w": w}))
    into = {"y": np.zeros(6, np.float32)}
    session = forward.CpuSession(
        forward.shared_weight_model(given, ["y"]), ["y"], lambda target, array: np.copyto(target, array[0])
    )
    session.run({"x": np.ones((1, 6), np.float32)}, into)
    assert into["y"].tolist() == [1, 2, 3, 4, 5, 6]


def test_results_are_copied_together_and_waited_for_once(cupy: Callable[..., Any]) -> None:
    said = cupy()

    class There:
        shape, dtype, nbytes = (3,), np.float32, 12

        def get(self, stream: Any, out: Any, blocking: Any) -> None:
            said.append(f"copy {blocking}")
            out[...] = 5

    gpu = device.GpuDevice()
    gpu._cupy.cuda.alloc_pinned_memory = bytearray
    gpu.stream.synchronize = lambda: said.append("wait")
    said.clear()
    found = gpu.download([There(), There()])
    assert said == ["copy False", "copy False", "wait"]
    assert [a.tolist() for a in found] == [[5, 5, 5]] * 2


def test_the_forward_pass_leaves_its_results_where_the_program_reads_them() -> None:
    def write(target: Any, array: Any) -> None:
        target[...] = array.reshape(-1)

    session = forward.CpuSession(Wanted.model, ["y"], write)
    into = {"y": np.zeros(6, np.float32)}
    session.run({"x": np.arange(6, dtype=np.float32).reshape(2, 3)}, into)
    assert into["y"].tolist() == [0, 2, 4, 6, 8, 10]
    session.run({"x": np.full((2, 3), np.nan, np.float32)}, {})  # nothing is read: nothing runs


def test_without_the_cuda_provider_the_forward_pass_runs_on_the_cpu_and_v_says_so(
    cupy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cupy()
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with caplog.at_level("INFO", "onnxlrp"):
        assert isinstance(device.GpuDevice().session(Wanted.model, ["y"], False), forward.CpuSession)
    assert "runs on the CPU" in caplog.text


def test_errors_of_onnxruntime_are_ours() -> None:
    session = forward.CpuSession(Wanted.model, ["y"], None)
    with pytest.raises(UnsupportedError, match="fails in the forward pass"):
        session.run({"x": np.zeros((2, 5), np.float32)}, {"y": None})


WHY = "out of memory"


class Fail(Exception):
    """As onnxruntime's own errors."""


Fail.__module__ = "onnxruntime.capi"


class Runtime:
    """As much of onnxruntime as a session on a GPU touches. `refuses` names a provider option that it does not take."""

    def __init__(self, refuses: str = "", loaded: bool = True) -> None:
        self.said, self.sessions, self.refuses, self.loaded = [], [], refuses, loaded

    def preload_dlls(self) -> None:
        self.said.append("preload")

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    class SessionOptions:
        def __init__(self) -> None:
            self.entries = {}

        def add_session_config_entry(self, key: Any, value: Any) -> None:
            self.entries[key] = value

    class RunOptions:
        def __init__(self) -> None:
            self.entries = {}

        def add_run_config_entry(self, key: Any, value: Any) -> None:
            self.entries[key] = value

    def InferenceSession(
        self, serialized: Any, options: Any, providers: Any, disabled_optimizers: Any, enable_fallback: Any
    ) -> Any:
        assert enable_fallback == 0
        assert "DoubleQDQPairsRemover" in disabled_optimizers
        if providers == ["CPUExecutionProvider"]:
            return OnCpu("on the CPU")
        (name, given), cpu = providers
        assert (name, cpu) == ("CUDAExecutionProvider", "CPUExecutionProvider")
        self.said.append(given)
        if self.refuses in given:
            raise Fail("this session cannot use the graph capture feature")

        def run(binding: Any, options: Any) -> None:
            if self.refuses == "run" or self.refuses in options.entries:
                raise Fail(WHY)
            self.said.append((dict(options.entries), binding.bound))

        return OnGpu(
            get_providers=lambda: [name, cpu] if self.loaded else [cpu],
            get_outputs=lambda: [types.SimpleNamespace(name="y", shape=["N", 3])],
            io_binding=lambda: Binding(self.said),
            run_with_iobinding=run,
        )


class OnGpu:
    """Stands for a session; like one it can be referred to weakly, which a plain namespace cannot."""

    def __init__(self, **methods: Any) -> None:
        self.__dict__.update(methods)


class OnCpu(str):
    """The same for one on the CPU."""


class Binding:
    def __init__(self, said: Any) -> None:
        said.append("binding")
        self.bound = {}

    def bind_input(self, name: Any, where: Any, number: Any, dtype: Any, shape: Any, pointer: Any) -> None:
        self.bound[name] = (where, number, np.dtype(dtype), tuple(shape), pointer)

    bind_output = bind_input


class Onboard(np.ndarray):
    """A numpy array with CuPy's way to say where it lies, and to take what is on the host."""

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def set(self, array: Any, stream: Any) -> None:
        assert stream.ptr == 7
        self[...] = array


def onboard(count: Any) -> Any:
    return np.zeros(count, np.float32).view(Onboard)


@pytest.fixture
def runtime(cupy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`runtime(...)` puts stand-ins in onnxruntime's and CuPy's place, and gives the former and a device."""

    def put(**how: Any) -> tuple[Any, Any]:
        cupy()
        made = Runtime(**how)
        monkeypatch.setitem(sys.modules, "onnxruntime", made)
        gpu = device.GpuDevice()
        gpu.empty = lambda size: np.zeros(size, np.uint8).view(Onboard)
        return made, gpu

    return put


OPTIONS = {
    "device_id": "1",
    "user_compute_stream": "7",
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "enable_cuda_graph": "1",
}


def test_the_forward_pass_is_a_graph_of_its_own_with_fixed_addresses(runtime: Callable[..., Any]) -> None:
    """A number for each batch size; the same arrays in every run; nothing is bound twice."""
    made, gpu = runtime()
    session = gpu.session(Wanted.model, ["y", "unread"], False)
    assert made.said == ["preload", OPTIONS]
    made.said.clear()
    arrays = {batch: {"y": onboard(3 * batch), "target": None} for batch in (2, 5)}
    for batch in (2, 2, 5, 2, 5):
        session.run({"x": np.full((batch, 3), batch, np.float32)}, arrays[batch])
    runs = [said for said in made.said if said != "binding"]
    assert made.said.count("binding") == 2
    assert [options["gpu_graph_id"] for options, _ in runs] == ["1", "1", "2", "1", "2"]
    assert {options["disable_synchronize_execution_providers"] for options, _ in runs} == {"1"}
    for batch, (_, bound) in zip((2, 2, 5, 2, 5), runs, strict=True):
        assert bound["y"] == ("cuda", 1, np.float32, (batch, 3), arrays[batch]["y"].data.ptr)
        assert bound["x"][:4] == ("cuda", 1, np.float32, (batch, 3))
        assert bound["x"][4] == session._bound[batch].inputs["x"].data.ptr
        assert session._bound[batch].inputs["x"].tolist() == [batch] * 3 * batch


def test_arrays_that_move_are_bound_and_captured_anew(runtime: Callable[..., Any]) -> None:
    made, gpu = runtime()
    session = gpu.session(Wanted.model, ["y"], False)
    for _ in range(2):
        session.run({"x": np.zeros((1, 3), np.float32)}, {"y": onboard(3)})
    assert [said[0]["gpu_graph_id"] for said in made.said if isinstance(said, tuple)] == ["1", "2"]


def test_fast_asks_for_tf32(runtime: Callable[..., Any]) -> None:
    made, gpu = runtime()
    gpu.session(Wanted.model, ["y"], True)
    assert made.said[-1] == {**OPTIONS, "use_tf32": "1"}


def test_what_cannot_be_captured_is_launched_node_by_node_and_v_says_so(
    runtime: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    made, gpu = runtime(refuses="enable_cuda_graph")
    with caplog.at_level("INFO", "onnxlrp"):
        session = gpu.session(Wanted.model, ["y"], False)
    assert "cannot be captured" in caplog.text
    assert made.said[1:] == [OPTIONS, {key: OPTIONS[key] for key in OPTIONS if key != "enable_cuda_graph"}]
    session.run({"x": np.zeros((1, 3), np.float32)}, {"y": onboard(3)})
    assert "gpu_graph_id" not in made.said[-1][0]


def test_what_fails_while_it_is_captured_is_launched_node_by_node(
    runtime: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A node that waits for its result is refused when it runs, and leaves the stream capturing."""
    made, gpu = runtime(refuses="gpu_graph_id")
    with caplog.at_level("INFO", "onnxlrp"):
        session, into = gpu.session(Wanted.model, ["y"], False), {"y": onboard(3)}
        for _ in range(2):
            session.run({"x": np.zeros((1, 3), np.float32)}, into)
    assert caplog.text.count("cannot be captured") == 1
    assert not session.captures
    assert [said for said in made.said if isinstance(said, tuple) and "gpu_graph_id" in said[0]] == []
    assert made.said.count("binding") == 2


def test_a_cuda_provider_that_does_not_load_is_not_taken(
    runtime: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    _, gpu = runtime(loaded=False)
    with caplog.at_level("INFO", "onnxlrp"):
        assert isinstance(gpu.session(Wanted.model, ["y"], False), forward.CpuSession)
    assert "doctor" in caplog.text


def test_a_forward_pass_that_fails_on_the_gpu(runtime: Callable[..., Any]) -> None:
    _, gpu = runtime(refuses="run")
    with pytest.raises(UnsupportedError, match="out of memory"):
        gpu.session(Wanted.model, ["y"], False).run({"x": np.zeros((1, 3), np.float32)}, {"y": onboard(3)})


def test_a_provider_without_cudnn_says_which_wheel_is_missing(
    runtime: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loads, and fails at the first convolution."""
    _, gpu = runtime(refuses="run")
    said = "Non-zero status code returned while running Conv node: cuDNN is not available. Install cuDNN, ..."
    monkeypatch.setattr(sys.modules[__name__], "WHY", said)
    with pytest.raises(UnsupportedError, match="cuDNN") as caught:
        gpu.session(Wanted.model, ["y"], False).run({"x": np.zeros((1, 3), np.float32)}, {"y": onboard(3)})
    assert caught.value.fix == 'pip install "onnxruntime-gpu[cudnn]"'


def test_what_onnxruntime_prints_of_libraries_is_no_output_of_ours(
    runtime: Callable[..., Any], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = runtime()
    made.preload_dlls = lambda: print("Failed to load libcublas.so.13")
    with caplog.at_level("INFO", "onnxlrp"):
        providers.preload()
    assert capsys.readouterr().out == ""
    assert "libcublas.so.13" in caplog.text


def test_nothing_runs_where_nothing_is_read(runtime: Callable[..., Any]) -> None:
    made, gpu = runtime()
    gpu.session(Wanted.model, ["y"], False).run({"x": np.zeros((1, 3), np.float32)}, {})
    assert made.said == ["preload", OPTIONS]


# -- why it cannot run


CANNOT: dict[str, tuple[dict[str, Any], str]] = {
    "there is no GPU": ({"count": 0}, "no NVIDIA GPU"),
    "the GPU is too old": ({"capability": "75"}, "this GPU has 7.5"),
    "there is no driver": ({"error": Refused("cudaErrorInsufficientDriver: too old")}, "cudaErrorInsufficientDriver"),
    "CuPy says it in many lines": ({"error": Refused("\n====\nfirst\nsecond")}, "first"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_where_it_cannot_run_it_says_why_in_two_lines(
    cupy: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    how, said = CANNOT[name]
    monkeypatch.chdir(tmp_path)
    cupy(**how)
    assert main([*WORDS, "--engine", "cuda"]) == 2
    error, fix = capsys.readouterr().err.strip().splitlines()
    assert error.startswith("error ")
    assert said in error
    assert fix.startswith("fix ")
    assert "ort" in fix or "pip install" in fix


def test_a_kernel_that_cannot_be_loaded(cupy: Callable[..., Any]) -> None:
    cupy(kernel_error=Refused("libnvrtc.so.13 is missing\nmore"))
    with pytest.raises(UsageError, match=r"libnvrtc\.so\.13 is missing") as caught:
        loaders.load("nvrtc").launch("axpy", (1,), (32,), ())
    assert "[ctk]" in caught.value.fix


def test_a_cupy_that_is_missing_or_cannot_be_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main([*WORDS, "--engine", "cuda"]) == 2
    assert "which is not installed" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "somewhere")

    def broken(name: Any) -> Any:
        raise ImportError(f"{name}: libcudart.so.13 is missing")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(UsageError, match=r"cannot be loaded: cupy: libcudart\.so\.13 is missing"):
        loaders.load("nvrtc")


def test_v_says_which_engine_auto_took_and_why(
    cupy: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    cupy(count=0)
    assert main([*WORDS, "-v"]) == 0
    said = capsys.readouterr().err
    assert "engine ort, by auto" in said
    assert "no NVIDIA GPU" in said
    cupy()
    assert main([*WORDS, "-v"]) == 0
    assert "--engine cuda" in capsys.readouterr().err
    assert main(WORDS) == 0
    assert "engine ort" not in capsys.readouterr().err
