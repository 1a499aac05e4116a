"""Probes of `onnxlrp doctor`. Every probe works on any machine: it returns None for what is missing."""

from __future__ import annotations

import csv
import ctypes
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from ..runtime import INSTALL

T = TypeVar("T")
_WAIT = 180  # seconds for an engine: NVRTC or the host compiler may have to compile


def guarded(probe: Callable[[], T]) -> T | None:
    """Return the finding of a probe, or None where it fails, whatever the error."""
    try:
        return probe()
    except (Exception, SystemExit):
        return None


def version(package: str) -> str | None:
    """Return the installed version of a distribution."""
    return guarded(lambda: importlib.metadata.version(package))


def wheels(module: str) -> list[tuple[str, str]]:
    """Return the distributions of a module and their versions; two of them overwrite each other's files."""

    def probe() -> list[tuple[str, str]]:
        names = sorted(set(importlib.metadata.packages_distributions().get(module, ())))
        return [(name, version(name) or "?") for name in names]

    return guarded(probe) or []


def providers() -> list[str] | None:
    """Return the execution providers that onnxruntime was built with; None where it cannot be imported."""

    def probe() -> list[str]:
        import onnxruntime

        return list(onnxruntime.get_available_providers())

    return guarded(probe)


def gpus() -> list[dict[str, str]]:
    """Return name, memory, driver and compute capability of each GPU, from nvidia-smi."""

    def probe() -> list[dict[str, str]]:
        fields = ("name", "memory.total", "driver_version", "compute_cap")
        text = _output("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader")
        names = ("name", "memory", "driver", "capability")
        rows = csv.reader(text.splitlines(), skipinitialspace=True)
        return [dict(zip(names, row, strict=True)) for row in rows if len(row) == len(names)]

    return guarded(probe) or []


def automatic() -> str:
    """Return the engine that "auto" takes here."""
    from ..engines import factory

    return factory.automatic()


def driver_cuda() -> tuple[int, int] | None:
    """Return the newest CUDA that the driver supports."""

    def probe() -> tuple[int, int]:
        number = ctypes.c_int()
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number)):
            raise OSError("the driver does not answer")
        return _split(number.value)

    return guarded(probe)


def runtime_cuda() -> tuple[int, int] | None:
    """Return the version of the CUDA runtime that CuPy loads."""

    def probe() -> tuple[int, int]:
        import cupy

        return _split(cupy.cuda.get_local_runtime_version())

    return guarded(probe)


def nvrtc() -> tuple[int, int] | None:
    """Return the version of NVRTC that CuPy loads, which compiles kernels at run time."""

    def probe() -> tuple[int, int]:
        import cupy

        major, minor = cupy.cuda.nvrtc.getVersion()
        return int(major), int(minor)

    return guarded(probe)


def cudnn() -> str | None:
    """Return the cuDNN that onnxruntime would find: a wheel's, else the system's."""
    for major in (13, 12):
        if found := version(f"nvidia-cudnn-cu{major}"):
            return f"{found} (nvidia-cudnn-cu{major})"

    def probe() -> str:
        number = int(ctypes.CDLL("libcudnn.so.9").cudnnGetVersion())
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    return guarded(probe)


def nvcc() -> str | None:
    """Return the version and path of the CUDA compiler."""

    def probe() -> str:
        from ..engines.cuda.kernels import build

        path = build.nvcc()
        found = re.search(r"release ([\d.]+)", _output(path or "", "--version"))
        return f"{found[1] if found else '?'} ({path})"

    return guarded(probe)


def fatbin() -> str:
    """Return whether there are compiled kernels, and whether they are of these sources."""

    def probe() -> str:
        from ..engines.cuda.kernels import build
        from ..engines.cuda.runtime import loaders

        path = loaders.fatbin()
        if path is not None:
            return f"current ({path})"
        old = [p for folder in (build.CSRC, build.cache()) for p in folder.glob("kernels-*.fatbin")]
        return "older than the kernels" if old else "none"

    return guarded(probe) or "none"


def emulator() -> str:
    """Return whether the emulator is built, and whether it is of these sources."""

    def probe() -> str:
        from ..engines.cuda.kernels import build
        from ..engines.cuda.runtime import emulated
        from ..errors import OnnxLrpError

        try:
            made = emulated.extension()
        except OnnxLrpError as error:
            return error.message
        own = made.kernels_digest == build.kernels_digest()
        return (
            "current" if own else "its kernels are older than csrc/kernels: the host compiler compiles the present ones"
        )

    return guarded(probe) or "cannot be loaded"


def host_compiler() -> str | None:
    """Return the C++ compiler, which the emulator needs for generated kernels."""

    def probe() -> str:
        from ..engines.cuda.runtime import emulated

        return emulated.host_compiler()

    return guarded(probe)


# -- engines


def engines() -> list[str]:
    """Return the names of the registered engines; those of the package alone where a plugin cannot be loaded."""

    def probe() -> list[str]:
        from ..engines import ENGINES

        return ENGINES.own() if broken_plugin() else list(ENGINES)

    return guarded(probe) or ["ort"]


def broken_plugin() -> tuple[str, str] | None:
    """Return what is wrong with a plugin that cannot be loaded, and how to repair it."""
    from ..errors import OnnxLrpError
    from ..registry import load_plugins

    try:
        load_plugins()
    except OnnxLrpError as error:
        return error.message, error.fix
    return None


def tried(engine: str) -> dict[str, Any]:
    """Run a tiny program on an engine, in a process of its own, since unsuitable libraries may crash it.

    Args:
        engine: The engine's name.

    Returns:
        "ready"; where it is False, "reason" and "fix"; of ort and cuda also "provider", where the forward pass ran.
    """
    code = f"from onnxlrp.commands.probes import attempt; attempt({engine!r})"
    try:
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=_WAIT, check=False)
        lines = [line for line in run.stdout.splitlines() if line.startswith("{")]
        if lines:
            found: dict[str, Any] = json.loads(lines[-1])
            return found
        said = (run.stderr.strip().splitlines() or ["no output"])[-1]
        ended = f"its process ended with {run.returncode}: {said}"
    except subprocess.TimeoutExpired:
        ended = f"no result within {_WAIT} s"
    except (OSError, ValueError) as error:
        ended = str(error)
    return {"ready": False, "reason": ended, "fix": "see the problems above; else report it with this output"}


def attempt(name: str) -> None:
    """Run a tiny program on an engine and print the outcome as JSON."""
    from ..errors import OnnxLrpError

    try:
        found = {"ready": True, **_run(name)}
    except OnnxLrpError as error:
        found = {"ready": False, "reason": error.message, "fix": error.fix}
    except BaseException as error:
        if missing := getattr(error, "name", None) if isinstance(error, ImportError) else None:
            found = {"ready": False, "reason": f"{missing} is not installed", "fix": _INSTALL.get(missing, _REPORT)}
        else:
            said = (str(error).strip().splitlines() or [""])[0]
            found = {"ready": False, "reason": f"{type(error).__name__}: {said}", "fix": _REPORT}
    print(json.dumps(found))


_INSTALL = {"onnxruntime": INSTALL}
_REPORT = "see the problems above; else report it with this output"


def _run(name: str) -> dict[str, Any]:
    """(2x + 1)·w: a forward pass of a convolution, which requires cuDNN, and a program of a map and a linear map."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from ..engines import Forward
    from ..engines.factory import make_engine
    from ..errors import CheckFailed
    from ..program.linear import Matmul
    from ..program.program import Activation, Constant, Instruction, Program

    kind = TensorProto.DOUBLE if name == "reference" else TensorProto.FLOAT

    def model(dtype: type, tensors: Any) -> Any:
        ends = [helper.make_tensor_value_info(tensor, kind, ["N", 8]) for tensor in ("x", "y")]
        filters = 2 * np.eye(8, dtype=helper.tensor_dtype_to_np_dtype(kind)).reshape(8, 8, 1, 1)
        constants = {"filters": filters, "picture": np.array([0, 8, 1, 1]), "row": np.array([0, 8])}
        nodes = [
            helper.make_node("Reshape", ["x", "picture"], ["a"]),
            helper.make_node("Conv", ["a", "filters"], ["b"], name="twice"),
            helper.make_node("Reshape", ["b", "row"], ["y"]),
        ]
        held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
        graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], held)
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])

    weight = np.linspace(-1, 1, 40).reshape(8, 5)
    steps = (
        Instruction("read", "activation", (), Activation("y"), (8,), False, False),
        Instruction("read", "constant", (), Constant(np.ones(())), (), True, False),
        Instruction("map", "add", (0, 1), None, (8,), False, False),
        Instruction("read", "constant", (), Constant(weight), (8, 5), True, False),
        Instruction("linear", "Matmul", (2, 3), Matmul((8,), (5,)), (5,), False, False),
    )
    run = make_engine(name).prepare(Forward(model, ("x",)), Program(steps, {"y": 4}))
    x: Any = np.arange(16, dtype=np.float64 if name == "reference" else np.float32).reshape(2, 8)
    for _ in range(3):  # on a GPU: launched, captured, replayed
        found = run({"x": x})["y"]
    if not np.allclose(found, (2 * x + 1) @ weight, rtol=1e-5, atol=1e-4):
        raise CheckFailed("a tiny program gives wrong numbers", "report it with this output; meanwhile --engine ort")
    return {} if name in ("reference", "emulator") else {"provider": _provider(model(np.float32, ("y",)))}


def _provider(model: Any) -> str:
    """The provider of a forward pass: onnxruntime falls back to the CPU when libraries of CUDA are missing."""
    import onnxruntime

    from ..engines.providers import CUDA, preload

    preload()
    here = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    wanted = [name for name in (CUDA, "CPUExecutionProvider") if name in here]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=wanted)
    return str(session.get_providers()[0])


def _output(*command: str) -> str:
    path = shutil.which(command[0]) or command[0]
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def _split(number: int) -> tuple[int, int]:
    return number // 1000, number % 1000 // 10
