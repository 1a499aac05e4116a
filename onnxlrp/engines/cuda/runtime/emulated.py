"""Kernels on the CPU: the extension of csrc/emulator, and the host compiler for kernels that it does not include."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....errors import UsageError
from ..kernels import build
from ..kernels.build import with_ptx
from ..kernels.elementwise import module
from ..kernels.launch import Axes, Kernels, Launch, Launcher


class EmulatedKernels:
    """Kernels on the CPU, for tests and for machines without a GPU; its KernelError names kernel, block and thread.

    The extension includes the kernels that it was built with. Where the sources have changed since, or with `check`,
    the host compiler compiles them, as it does generated ones.

    Args:
        check: Check every access to memory; slow.
        seed: Orders the threads, so that a missing barrier shows.
        library: A loaded library of kernels; by default that of csrc/kernels.
    """

    name = "emulator"

    def __init__(self, *, check: bool = False, seed: int = 0, library: Any = None) -> None:
        self.check, self.seed = check, seed
        self._library = library or _library(check)

    def launch(
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Run the kernel to its end; streams are ignored."""
        self._library.launch(name, grid, block, args, shared, self.check, self.seed)

    def from_source(self, code: str) -> Kernels:
        """Return the kernels of generated source, compiled by the host compiler."""
        library = compile_source(code, check=self.check)
        return EmulatedKernels(check=self.check, seed=self.seed, library=library)

    def launchers(self, launches: Sequence[Launch]) -> Mapping[str, Launcher]:
        """Compile all generated kernels of these launches in one file, for the host compiler is slow to start."""
        generated = [one for one in launches if one.source]
        compiled = self.from_source(module(generated)) if generated else self
        return {one.kernel: compiled if one.source else self for one in launches}


def extension() -> Any:
    """Return the module onnxlrp._emulator. Raises UsageError if it was not built, or from other sources."""
    fix = "install a C++17 compiler, then, in the sources: ONNXLRP_EMULATOR=1 pip install --force-reinstall --no-deps ."
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
    return made.load(str(library(build.source(), check=check)))


def compile_source(code: str, *, check: bool = False) -> Any:
    """Return the library of generated source, compiled for the CPU."""
    return extension().load(str(library(f'{with_ptx("")}\n#line 1 "generated"\n{code}', check=check)))


def library(code: str, *, check: bool = False) -> Path:
    """Compile complete source for the CPU.

    Args:
        code: CUDA source, with a KERNELS(X) list, or else kernels that are not made by macros.
        check: Instrument every access to memory.

    Returns:
        The path of the shared library.
    """
    names = re.findall(r'extern\s+"C"\s+__global__\s+(?:void|__launch_bounds__\([^)]*\)|\s)+(\w+)\s*\(', code)
    listed = "#define KERNELS(X) " + " ".join(f"X({name})" for name in names)
    if "#define KERNELS(X)" in code:
        listed = ""
    return _compiled(f"{code}\n{listed}", check)


_FLAGS = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wno-unknown-pragmas"]
_FLAGS += ["-fstack-clash-protection"]  # so that a large frame touches the guard page below its stack
_ALONE = ["-DCUDA_ON_CPU_ALONE=1"]  # the file's only thread_local variables are __shared__ ones, which are poisoned
_INSTRUMENT = ["-fsanitize=thread"]  # calls the emulator's functions before every access; no sanitizer is linked


def _compiled(code: str, check: bool) -> Path:
    compiler = host_compiler()
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
    return made


def _tool(command: list[str]) -> None:
    """Run a compiler or linker. Raises UsageError with its output where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"the host compiler rejects the kernels:\n{done.stderr[:4000]}", "correct the CUDA source")


def host_compiler() -> str:
    """Return the path of a C++ compiler. Raises UsageError if there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    raise UsageError("the emulator needs a C++17 compiler", "apt install g++, or set CXX")
