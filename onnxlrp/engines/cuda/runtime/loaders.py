"""Three ways to run the kernels of csrc/kernels behind one launch call: a fatbin, NVRTC, and the emulator."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import UsageError, did_you_mean
from ..kernels import build
from ..kernels.build import with_ptx
from ..kernels.elementwise import module
from ..kernels.launch import Axes, Kernels, Launch, Launcher
from .emulated import Emulator

LOADERS = ("auto", "fatbin", "nvrtc", "emulator")


def load(which: str = "auto", *, check: bool = False, seed: int = 0) -> Kernels:
    """The kernels, ready to launch; "auto" takes the fatbin if there is one for these sources, else NVRTC.

    `check` and `seed` are for the emulator: look at every access (slow), and the order in which threads run.
    """
    if which not in LOADERS:
        raise UsageError(f'there is no kernel loader "{which}"', did_you_mean(which, LOADERS))
    if which == "emulator":
        return Emulator(check=check, seed=seed)
    cupy = _cupy()
    path = fatbin()
    if which == "fatbin" and path is None:
        raise UsageError(
            "the kernels have not been compiled to a fatbin", "python -m onnxlrp.engines.cuda.kernels.build"
        )
    if path is not None and which != "nvrtc":
        whole = cupy.RawModule(path=str(path))
        return OnGpu("fatbin", cupy, lambda kernel: whole)
    return OnGpu("nvrtc", cupy, lambda kernel: _nvrtc(cupy, build.alone(kernel)))


# ---- On a GPU ----

_LEAST = 80  # asynchronous copies, TF32
_STATIC_LIMIT = 48 << 10  # dynamic shared memory beyond this must be asked for


class OnGpu:
    """Kernels of the CuPy modules that `module` gives for their names; they run on the current device."""

    def __init__(self, name: str, cupy: Any, module: Callable[[str], Any]) -> None:
        self.name, self._cupy, self._module = name, cupy, module
        self._functions: dict[str, Any] = {}
        self._asked: dict[str, int] = {}

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Enqueue on `stream`, or on the current one."""
        function = self._functions.get(name) or self._function(name)
        if shared > max(_STATIC_LIMIT, self._asked.get(name, 0)):
            function.max_dynamic_shared_size_bytes = self._asked[name] = shared
        function(grid, block, tuple(map(_argument, args)), shared_mem=shared, stream=stream)

    def _function(self, name: str) -> Any:
        """A kernel; CuPy compiles or loads its module now."""
        try:
            found = self._functions[name] = self._module(name).get_function(name)
            return found
        except Exception as error:  # of many types: NVRTC is not there, refuses, or there is no code for this GPU
            fix = (
                'pip install "cupy-cuda13x[ctk]"; or install nvcc and run: python -m onnxlrp.engines.cuda.kernels.build'
            )
            raise UsageError(f"the kernel {name} cannot be loaded ({self.name}): {_first_line(error)}", fix) from error

    def generated(self, code: str) -> OnGpu:
        """Compiled by NVRTC, whose results CuPy keeps on disk."""
        whole = _nvrtc(self._cupy, with_ptx(code))
        return OnGpu("nvrtc", self._cupy, lambda kernel: whole)

    def compiled(self, launches: Sequence[Launch]) -> Mapping[str, Launcher]:
        """Each generated kernel in a module of its own, which other batch sizes and models find in CuPy's cache.

        NVRTC compiles on as many threads as there are processors.
        """
        found = {one.kernel: one for one in launches}
        made = {name: self.generated(module([one])) if one.source else self for name, one in found.items()}
        device = self._cupy.cuda.Device()

        def get(name: str) -> None:
            with device:  # a thread begins on the first one
                made[name]._function(name)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(get, made):
                pass
        return made


def _argument(value: Any) -> Any:
    """What CuPy passes wrongly, made right: None becomes 0xffffffff there (cupy#9046), a float a C double."""
    if value is None:
        return np.uint64(0)
    return np.float32(value) if type(value) is float else value


def _nvrtc(cupy: Any, code: str) -> Any:
    return cupy.RawModule(code=code, options=("-std=c++17",))


def _cupy() -> Any:
    if importlib.util.find_spec("cupy") is None:
        raise UsageError(
            "the CUDA engine needs CuPy, which is not installed",
            'pip install "onnxlrp[cuda]", or use --engine ort (any machine)',
        )
    try:
        cupy = importlib.import_module("cupy")
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's own errors have no common type, and its libraries may be missing
        broken = "cupy" not in sys.modules
        what = "CuPy cannot be loaded" if broken else "CuPy finds no GPU that works"
        fix = "install NVIDIA's driver, or one of 580 or later (nvidia-smi, onnxlrp doctor)"
        fix = 'pip install --force-reinstall "cupy-cuda13x[ctk]"' if broken else fix
        raise UsageError(f"{what}: {_first_line(error)}", f"{fix}; or use --engine ort") from error
    if not count:
        raise UsageError("this machine has no NVIDIA GPU", "use --engine ort")
    capability = int(cupy.cuda.Device().compute_capability)  # ten times it
    if capability < _LEAST:
        what = f"the kernels need an A100 or later (compute capability 8.0), and this GPU has {capability / 10}"
        raise UsageError(what, "use --engine ort")
    return cupy


def absent() -> str:
    """Why kernels cannot run on a GPU here; "" where there is CuPy and a GPU that answers."""
    try:
        _cupy()
    except UsageError as error:
        return error.message
    return ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    return lines[0] if lines else type(error).__name__


def fatbin() -> Path | None:
    """The compiled kernels for just these sources: installed with the package, or built for this user."""
    name = build.fatbin_name()
    return next((p for p in (build.CSRC / name, build.cache() / name) if p.is_file()), None)
