"""Three ways to run the kernels of csrc/kernels behind one launch call: a fatbin, NVRTC, and the emulator."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import UsageError, did_you_mean
from . import build

LOADERS = ("auto", "fatbin", "nvrtc", "emulator")

Size = tuple[int, ...]


class Kernels(Protocol):
    """Compiled kernels.

    `args` are arrays (CuPy's on a GPU, numpy's in the emulator), None for a null pointer, numpy scalars, Python ints
    for integers of any width, and Python floats for a C `float`. `shared` is the dynamic shared memory in bytes.
    """

    name: str

    def launch(
        self, name: str, grid: Size, block: Size, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None: ...

    def generated(self, code: str) -> Kernels:
        """Kernels of generated source, with what ptx.cuh offers; the compiled result is cached on disk."""
        ...


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
        raise UsageError("the kernels have not been compiled to a fatbin", "python -m onnxlrp.engines.cuda.build")
    if path is not None and which != "nvrtc":
        return OnGpu("fatbin", cupy, cupy.RawModule(path=str(path)))
    return OnGpu("nvrtc", cupy, _nvrtc(cupy, build.source()))


# ---- On a GPU ----

_STATIC_LIMIT = 48 << 10  # dynamic shared memory beyond this must be asked for


class OnGpu:
    """A CuPy module; its kernels run on the current device."""

    def __init__(self, name: str, cupy: Any, module: Any) -> None:
        self.name, self._cupy, self._module = name, cupy, module
        self._functions: dict[str, Any] = {}
        self._asked: dict[str, int] = {}

    def launch(
        self, name: str, grid: Size, block: Size, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Enqueue on `stream`, or on the current one."""
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = self._function(name)
        if shared > max(_STATIC_LIMIT, self._asked.get(name, 0)):
            function.max_dynamic_shared_size_bytes = self._asked[name] = shared
        function(grid, block, tuple(map(_argument, args)), shared_mem=shared, stream=stream)

    def _function(self, name: str) -> Any:
        """A kernel; where this is the first one, CuPy compiles or loads the module now."""
        try:
            return self._module.get_function(name)
        except Exception as error:  # of many types: NVRTC is not there, refuses, or there is no code for this GPU
            fix = 'pip install "cupy-cuda13x[ctk]"; or install nvcc and run: python -m onnxlrp.engines.cuda.build'
            raise UsageError(f"the kernel {name} cannot be loaded ({self.name}): {_first_line(error)}", fix) from error

    def generated(self, code: str) -> Kernels:
        """Compiled by NVRTC, whose results CuPy keeps on disk."""
        return OnGpu("nvrtc", self._cupy, _nvrtc(self._cupy, _with_ptx(code)))


def _argument(value: Any) -> Any:
    """What CuPy passes wrongly, made right: None becomes 0xffffffff there (cupy#9046), a float a C double."""
    if value is None:
        return np.uint64(0)
    return np.float32(value) if type(value) is float else value


def _nvrtc(cupy: Any, code: str) -> Any:
    return cupy.RawModule(code=code, options=("-std=c++17",))


def _with_ptx(code: str) -> str:
    return (build.CSRC / "kernels" / "ptx.cuh").read_text("utf-8").replace("#pragma once\n", "") + code


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
        fix = 'pip install --force-reinstall "cupy-cuda13x[ctk]"' if broken else "install NVIDIA's driver (nvidia-smi)"
        raise UsageError(f"{what}: {_first_line(error)}", f"{fix}; or use --engine ort") from error
    if not count:
        raise UsageError("this machine has no NVIDIA GPU", "use --engine ort")
    return cupy


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" =")]
    return lines[0] if lines else type(error).__name__


def fatbin() -> Path | None:
    """The compiled kernels for just these sources: installed with the package, or built for this user."""
    name = build.fatbin_name()
    return next((p for p in (build.CSRC / name, build.cache() / name) if p.is_file()), None)


# ---- On the CPU ----


class Emulator:
    """Kernels on the CPU, for tests and for machines without a GPU; KernelError names kernel, block and thread.

    The extension brings the kernels that it was built with. Where the sources have changed since, or `check` wants to
    see every access, the host compiler compiles them, as it does generated ones.
    """

    name = "emulator"

    def __init__(self, *, check: bool = False, seed: int = 0, library: Any = None) -> None:
        self.check, self.seed = check, seed
        self._library = library or _library(check)

    def launch(
        self, name: str, grid: Size, block: Size, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Run to the end; there are no streams here."""
        self._library.launch(name, grid, block, args, shared, self.check, self.seed)

    def generated(self, code: str) -> Kernels:
        """Compiled by the host compiler."""
        library = compile_source(code, check=self.check)
        return Emulator(check=self.check, seed=self.seed, library=library)


def extension() -> Any:
    """onnxlrp._emulator, or an error with the fix."""
    fix = "install a C++17 compiler, then: pip install --force-reinstall --no-deps ."
    try:
        made = importlib.import_module("onnxlrp._emulator")
    except ImportError as error:
        raise UsageError(f"the emulator was not built: {error}", fix) from error
    checkout = (build.CSRC / "emulator" / "runtime.cpp").is_file()
    if checkout and made.emulator_digest != build.emulator_digest():
        raise UsageError("the emulator is older than csrc/emulator", "pip install -e .")
    return made


def _library(check: bool) -> Any:
    made = extension()
    if not check and made.kernels_digest == build.kernels_digest():
        return made.builtin
    return _compiled(build.source(), check)


def compile_source(code: str, *, check: bool = False) -> Any:
    """The kernels of some CUDA source, compiled for the CPU: of its KERNELS(X) list, or else all it spells out."""
    names = re.findall(r'extern\s+"C"\s+__global__\s+(?:void|__launch_bounds__\([^)]*\)|\s)+(\w+)\s*\(', code)
    listed = "#define KERNELS(X) " + " ".join(f"X({name})" for name in names)
    if "#define KERNELS(X)" in code:
        listed = ""
    return _compiled(f'{_with_ptx("")}\n#line 1 "generated"\n{code}\n{listed}', check)


_FLAGS = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wno-unknown-pragmas"]
_ALONE = ["-DCUDA_ON_CPU_ALONE=1"]  # the file's only thread_local variables are __shared__ ones, to be poisoned
_INSTRUMENT = ["-fsanitize=thread"]  # calls our own functions before every access; no sanitizer is linked


def _compiled(code: str, check: bool) -> Any:
    emulator, compiler = extension(), _compiler()
    flags = [*_FLAGS, *_ALONE, *(_INSTRUMENT if check else [])]
    text = f'#include "cuda_on_cpu.hpp"\n{code}\nCUDA_ON_CPU_TABLE(KERNELS, cuda_on_cpu_table)\n'
    about = os.stat(compiler)
    key = repr((text, flags, compiler, about.st_size, about.st_mtime_ns, build.kernels_digest()))
    folder = build.cache() / "emulator"
    made = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            source, relocatable, shared = (Path(scratch, f"kernels.{ext}") for ext in ("cpp", "o", "so"))
            source.write_text(text, "utf-8")
            _tool([compiler, *flags, f"-I{build.CSRC / 'emulator'}", "-c", str(source), "-o", str(relocatable)])
            _tool([compiler, "-shared", str(relocatable), "-o", str(shared), "-lm"])
            os.replace(shared, made)  # another process may do the same
    return emulator.load(str(made))


def _tool(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"the host compiler refuses the kernels:\n{done.stderr[:4000]}", "mend the CUDA source")


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    raise UsageError("the emulator needs a C++17 compiler", "apt install g++, or set CXX")
