"""Compiled parts; the rest is in pyproject.toml.

A wheel is pure Python. The emulator of CUDA kernels is compiled for an editable install, where there is a C++ compiler,
and for a wheel on demand: ONNXLRP_EMULATOR=1.
"""

import os
import runpy
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ASKED = os.environ.get("ONNXLRP_EMULATOR") == "1"
WITH_EMULATOR = ASKED or not {"editable_wheel", "develop", "build_ext"}.isdisjoint(sys.argv)
BUILD = runpy.run_path("onnxlrp/engines/cuda/kernels/build.py")


class WithKernels(build_py):
    """Installs the kernels' sources, which NVRTC compiles at run time, and on demand compiles them with nvcc."""

    def run(self):
        """Copy the sources, and compile them if ONNXLRP_FATBIN is 1."""
        super().run()
        if self.editable_mode:
            return
        csrc = Path(self.build_lib, "onnxlrp", "csrc")
        for source in (*Path("csrc/kernels").glob("*.cuh"), *map(Path, HEADERS if WITH_EMULATOR else [])):
            target = csrc / source.relative_to("csrc")
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))
        if os.environ.get("ONNXLRP_FATBIN") == "1":
            BUILD["fatbin"](csrc)


SOURCES = ("bindings", "runtime", "worker", "waiting", "checks", "context", "kernels")
HEADERS = ["csrc/emulator/abi.hpp", "csrc/emulator/cuda_on_cpu.hpp"]


def emulator():
    """Return the extension; setuptools leaves it out where it cannot be compiled, unless it is asked for."""
    try:
        import pybind11
    except ImportError:
        return []
    return [
        Extension(
            "onnxlrp._emulator",
            [f"csrc/emulator/{name}.cpp" for name in SOURCES],
            depends=sorted(map(str, (*Path("csrc/emulator").glob("*.hpp"), *Path("csrc/kernels").glob("*.cuh")))),
            include_dirs=[pybind11.get_include()],
            define_macros=[
                ("ONNXLRP_KERNELS", f'"{BUILD["kernels_digest"]()}"'),
                ("ONNXLRP_EMULATOR", f'"{BUILD["emulator_digest"]()}"'),
            ],
            extra_compile_args=[
                "-std=c++17",
                "-O2",
                "-g0",
                "-fvisibility=hidden",
                "-ffp-contract=off",
                "-fstack-clash-protection",
                "-Wno-unknown-pragmas",
            ],
            libraries=["dl", "pthread"],
            language="c++",
            optional=not ASKED,
        )
    ]


setup(ext_modules=emulator() if WITH_EMULATOR else [], cmdclass={"build_py": WithKernels})
