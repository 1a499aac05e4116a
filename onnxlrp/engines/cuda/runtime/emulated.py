"""Kernels on the CPU: the extension of csrc/emulator, and the host compiler for what it was not built with."""

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
        self, name: str, grid: Axes, block: Axes, args: Sequence[Any], shared: int = 0, stream: Any = None
    ) -> None:
        """Run to the end; there are no streams here."""
        self._library.launch(name, grid, block, args, shared, self.check, self.seed)

    def generated(self, code: str) -> Kernels:
        """Compiled by the host compiler."""
        library = compile_source(code, check=self.check)
        return Emulator(check=self.check, seed=self.seed, library=library)

    def compiled(self, launches: Sequence[Launch]) -> Mapping[str, Launcher]:
        """All generated ones in one file: the host compiler is slow to start."""
        made = [one for one in launches if one.source]
        generated = self.generated(module(made)) if made else self
        return {one.kernel: generated if one.source else self for one in launches}


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
    return made.load(str(library(build.source(), check=check)))


def compile_source(code: str, *, check: bool = False) -> Any:
    """The kernels of generated source, compiled for the CPU."""
    return extension().load(str(library(f'{with_ptx("")}\n#line 1 "generated"\n{code}', check=check)))


def library(code: str, *, check: bool = False) -> Path:
    """A file of kernels for the CPU, of whole source: those of its KERNELS(X) list, or else all it spells out."""
    names = re.findall(r'extern\s+"C"\s+__global__\s+(?:void|__launch_bounds__\([^)]*\)|\s)+(\w+)\s*\(', code)
    listed = "#define KERNELS(X) " + " ".join(f"X({name})" for name in names)
    if "#define KERNELS(X)" in code:
        listed = ""
    return _compiled(f"{code}\n{listed}", check)


_FLAGS = ["-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wno-unknown-pragmas"]
_FLAGS += ["-fstack-clash-protection"]  # a large frame meets the guard page below its stack, and does not step over it
_ALONE = ["-DCUDA_ON_CPU_ALONE=1"]  # the file's only thread_local variables are __shared__ ones, to be poisoned
_INSTRUMENT = ["-fsanitize=thread"]  # calls our own functions before every access; no sanitizer is linked


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
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UsageError(f"the host compiler refuses the kernels:\n{done.stderr[:4000]}", "mend the CUDA source")


def host_compiler() -> str:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    raise UsageError("the emulator needs a C++17 compiler", "apt install g++, or set CXX")
