"""Loaders of the kernels of csrc/kernels: a fatbin, NVRTC, or the emulator, behind one launch call."""

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
from .emulated import EmulatedKernels

LOADERS = ("auto", "fatbin", "nvrtc", "emulator")


def load(which: str = "auto", *, check: bool = False, seed: int = 0) -> Kernels:
    """Load the kernels.

    Args:
        which: One of LOADERS; "auto" takes the fatbin if there is one for these sources, else NVRTC.
        check: In the emulator, check every access to memory; slow.
        seed: In the emulator, orders the threads.

    Raises:
        UsageError: There is no such loader, or it cannot run here.
    """
    if which not in LOADERS:
        raise UsageError(f'there is no kernel loader "{which}"', did_you_mean(which, LOADERS))
    if which == "emulator":
        return EmulatedKernels(check=check, seed=seed)
    cupy = _cupy()
    path = fatbin()
    if which == "fatbin" and path is None:
        raise UsageError(
            "the kernels have not been compiled to a fatbin", "python -m onnxlrp.engines.cuda.kernels.build"
        )
    if path is not None and which != "nvrtc":
        whole = cupy.RawModule(path=str(path))
        return CupyKernels("fatbin", cupy, lambda kernel: whole)
    return CupyKernels("nvrtc", cupy, lambda kernel: _nvrtc(cupy, build.alone(kernel)))


# ---- On a GPU ----

_LEAST = 80  # ten times the compute capability with asynchronous copies and TF32
_STATIC_LIMIT = 48 << 10  # bytes of dynamic shared memory beyond which a kernel needs an attribute


class CupyKernels:
    """Kernels of CuPy modules, which run on the current device.

    Args:
        name: The loader's name.
        cupy: CuPy.
        module: Returns the module of a kernel by its name.
    """

    def __init__(self, name: str, cupy: Any, module: Callable[[str], Any]) -> None:
        self.name, self._cupy, self._module = name, cupy, module
        self._functions: dict[str, Any] = {}
        self._shared_limits: dict[str, int] = {}

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Enqueue a kernel on `stream`, or on the current one."""
        function = self._functions.get(name) or self._function(name)
        if shared > max(_STATIC_LIMIT, self._shared_limits.get(name, 0)):
            function.max_dynamic_shared_size_bytes = self._shared_limits[name] = shared
        function(grid, block, tuple(map(_argument, args)), shared_mem=shared, stream=stream)

    def _function(self, name: str) -> Any:
        """Return a kernel's function; CuPy compiles or loads its module now."""
        try:
            found = self._functions[name] = self._module(name).get_function(name)
            return found
        except Exception as error:  # of many types: NVRTC is missing or fails, or there is no code for this GPU
            fix = (
                'pip install "cupy-cuda13x[ctk]"; or install nvcc and run: python -m onnxlrp.engines.cuda.kernels.build'
            )
            raise UsageError(f"the kernel {name} cannot be loaded ({self.name}): {_first_line(error)}", fix) from error

    def from_source(self, code: str) -> CupyKernels:
        """Return the kernels of generated source, compiled by NVRTC; CuPy caches the result on disk."""
        whole = _nvrtc(self._cupy, with_ptx(code))
        return CupyKernels("nvrtc", self._cupy, lambda kernel: whole)

    def launchers(self, launches: Sequence[Launch]) -> Mapping[str, Launcher]:
        """Compile the kernels of these launches, by NVRTC on as many threads as there are processors.

        Each generated kernel is a module of its own, which other batch sizes and models find in CuPy's cache.
        """
        found = {one.kernel: one for one in launches}
        made = {name: self.from_source(module([one])) if one.source else self for name, one in found.items()}
        device = self._cupy.cuda.Device()

        def get(name: str) -> None:
            with device:  # a new thread's current device is the first one
                made[name]._function(name)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(get, made):
                pass
        return made


def _argument(value: Any) -> Any:
    """Return an argument as CuPy passes it correctly: None would be 0xffffffff (cupy#9046), a float a double."""
    if value is None:
        return np.uint64(0)
    return np.float32(value) if type(value) is float else value


def _nvrtc(cupy: Any, code: str) -> Any:
    return cupy.RawModule(code=code, options=("-std=c++17",))


def _cupy() -> Any:
    if importlib.util.find_spec("cupy") is None:
        raise UsageError(
            "the CUDA engine needs CuPy, which is not installed",
            'pip install "onnxruntime-gpu[cuda,cudnn]" "cupy-cuda13x[ctk]", or use --engine ort (any machine)',
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


def why_unavailable() -> str:
    """Return why kernels cannot run on a GPU here; "" where there is CuPy and a GPU that works."""
    try:
        _cupy()
    except UsageError as error:
        return error.message
    return ""


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    return lines[0] if lines else type(error).__name__


def fatbin() -> Path | None:
    """Return the file of kernels compiled from exactly these sources, of the package or of this user; None without."""
    name = build.fatbin_name()
    return next((p for p in (build.CSRC / name, build.cache() / name) if p.is_file()), None)
