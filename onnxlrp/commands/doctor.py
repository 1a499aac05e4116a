"""`onnxlrp doctor`: engines that run on this machine, and the command that repairs the others."""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any

from ..errors import UnsupportedError
from ..runtime import INSTALL
from . import cache, probes
from .console import Console

CPU, GPU = "onnxruntime", "onnxruntime-gpu"
Problem = tuple[str, str]  # what is wrong, and the command that repairs it
Version = tuple[int, int]


def run(args: argparse.Namespace, console: Console) -> int:
    """Examine the machine; 0 if the engine that "auto" takes runs, else 4."""
    report = examined(console)
    report["problems"] = [{"problem": what, "fix": fix} for what, fix in problems(report)]
    console.json(report, indent=1)
    _print(report, console)
    return 0 if report["engines"][report["default"]]["ready"] else UnsupportedError.code


def examined(console: Console | None = None) -> dict[str, Any]:
    """Return the finding of every probe, in JSON's types."""
    report: dict[str, Any] = {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": {name: probes.version(name) for name in ("onnxlrp", "numpy", "onnx")},
        "onnxruntime": {
            "wheels": dict(probes.wheels("onnxruntime")),
            "providers": probes.providers(),
        },
        "cupy": {"wheels": dict(probes.wheels("cupy")), "cuda": probes.runtime_cuda(), "nvrtc": probes.nvrtc()},
        "gpus": probes.gpus(),
        "driver_cuda": probes.driver_cuda(),
        "cudnn": probes.cudnn(),
        "kernels": {
            "nvcc": probes.nvcc(),
            "fatbin": probes.fatbin(),
            "emulator": probes.emulator(),
            "compiler": probes.host_compiler(),
        },
        "default": probes.automatic(),
        "cache": cache.as_json(cache.usage()),
        "engines": {},
    }
    report["plugin"] = probes.broken_plugin()
    engines = probes.engines()
    for number, name in enumerate(engines):
        if console:
            console.progress(number, len(engines), f"trying the {name} engine")
        report["engines"][name] = probes.tried(name)
    if console:
        console.clear()
    return report


# -- what does not fit together


def problems(report: dict[str, Any]) -> Iterator[Problem]:
    """Yield what does not fit together, with the command that repairs it."""
    if report.get("plugin"):
        yield report["plugin"]
    yield from _twice(report)
    yield from _onnxruntime(report)
    yield from _cupy(report)
    fatbin = report["kernels"]["fatbin"]
    if fatbin.startswith("older") and report["gpus"]:
        yield (
            "the compiled kernels (fatbin) are older than their sources",
            "python -m onnxlrp.engines.cuda.kernels.build",
        )


def _twice(report: dict[str, Any]) -> Iterator[Problem]:
    """Wheels with the same files: the one installed last has overwritten the other."""
    found = list(report["onnxruntime"]["wheels"])
    if len(found) > 1:
        keep = GPU if report["gpus"] and GPU in found else CPU if CPU in found else found[0]
        yield (
            f"{' and '.join(found)} are both installed and overwrite each other's files",
            f"pip uninstall -y {' '.join(found)} && pip install {keep}",
        )
    found = list(report["cupy"]["wheels"])
    if len(found) > 1:
        major = _driver(report)[0]
        keep = f'"cupy-cuda{major}x[ctk]"' if major in (12, 13) else found[-1]
        yield (
            f"{' and '.join(found)} are all installed and overwrite each other's files",
            f"pip uninstall -y {' '.join(found)} && pip install {keep}",
        )


def _onnxruntime(report: dict[str, Any]) -> Iterator[Problem]:
    found, providers = report["onnxruntime"]["wheels"], report["onnxruntime"]["providers"]
    if not found and providers is None:
        yield "onnxruntime is not installed: auto takes the engine reference, which is slow", INSTALL
    if found and providers is None:
        names = " ".join(found)
        yield f"{names} is installed and cannot be imported", f"pip install --force-reinstall {names}"
    if GPU not in found:
        if report["gpus"] and len(found) == 1:
            yield (
                f"there is a GPU, and {next(iter(found))} has no CUDA: forward passes run on the CPU",
                f"pip uninstall -y {' '.join(found)} && pip install {GPU}",
            )
        return
    wants, has = wanted_cuda(found[GPU]), _driver(report)
    if not report["gpus"] and has == (0, 0):
        yield "onnxruntime-gpu is installed, and no GPU is found", f"nvidia-smi; without a GPU: {_swap(GPU, CPU)}"
        return
    if has[0] and has[0] < wants:
        older = f'pip install "{GPU}<1.27"' if wants == 13 and has[0] == 12 else "install a newer NVIDIA driver"
        yield (
            f"onnxruntime-gpu {found[GPU]} requires CUDA {wants}, and the driver supports up to CUDA {_dotted(has)}",
            f"{older}; or a driver of {_DRIVERS.get(wants, 'a newer branch')} or later",
        )
    cudnn = report["cudnn"]
    if cudnn is None:
        yield (
            f"onnxruntime-gpu {found[GPU]} requires cuDNN 9, which is not found",
            f"pip install nvidia-cudnn-cu{wants}",
        )
    elif not cudnn.startswith("9."):
        yield (
            f"onnxruntime-gpu {found[GPU]} requires cuDNN 9, and {cudnn} is installed",
            f'pip install --upgrade "nvidia-cudnn-cu{wants}>=9"',
        )
    elif (major := re.search(r"-cu(\d+)\)", cudnn)) and int(major[1]) != wants:
        yield (
            f"onnxruntime-gpu {found[GPU]} requires CUDA {wants}, and cuDNN is built for CUDA {major[1]}",
            f"pip install nvidia-cudnn-cu{wants}",
        )
    ort = report["engines"].get("ort", {})
    if report["gpus"] and ort.get("ready") and ort.get("provider") == "CPUExecutionProvider":
        yield (
            "onnxruntime-gpu cannot load its CUDA provider and falls back to the CPU",
            f"pip install nvidia-cudnn-cu{wants} {_libraries(wants)}",
        )


def _cupy(report: dict[str, Any]) -> Iterator[Problem]:
    found, has = report["cupy"]["wheels"], _driver(report)
    major = next((int(m[1]) for name in found if (m := re.search(r"cuda(\d+)x", name))), 0)
    if len(found) != 1 or not major:
        return
    if has[0] and has[0] < major:
        yield (
            f"CuPy is built for CUDA {major}, and the driver supports up to CUDA {_dotted(has)}",
            _swap(next(iter(found)), f'"cupy-cuda{has[0]}x[ctk]"'),
        )
    gpu = report["onnxruntime"]["wheels"].get(GPU)
    if gpu and wanted_cuda(gpu) != major and wanted_cuda(gpu) <= (has[0] or 99):
        yield (
            f"CuPy is built for CUDA {major} and onnxruntime-gpu {gpu} for CUDA {wanted_cuda(gpu)}",
            _swap(next(iter(found)), f'"cupy-cuda{wanted_cuda(gpu)}x[ctk]"'),
        )
    if report["gpus"] and report["cupy"]["nvrtc"] is None and not report["kernels"]["fatbin"].startswith("current"):
        yield "CuPy finds no NVRTC, which compiles the kernels", f'pip install "cupy-cuda{major}x[ctk]"'


_DRIVERS = {12: "525", 13: "580"}


def wanted_cuda(version: str) -> int:
    """Return the major version of CUDA that a wheel of onnxruntime-gpu on PyPI is built for."""
    numbers = [int(n) for n in re.findall(r"\d+", version)[:2]]
    return 13 if numbers >= [1, 27] else 12 if numbers >= [1, 19] else 11


def _libraries(major: int) -> str:
    names = ("nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cufft", "nvidia-curand")
    return " ".join(name if major >= 13 else f"{name}-cu{major}" for name in names)


def _driver(report: dict[str, Any]) -> Version:
    major, minor = report["driver_cuda"] or (0, 0)
    return major, minor


def _swap(old: str, new: str) -> str:
    return f"pip uninstall -y {old} && pip install {new}"


# -- what is printed


def _print(report: dict[str, Any], console: Console) -> None:
    for key, text in _lines(report):
        console.line(key, text, _WIDTH)
    console.line("", "")
    for name, found in report["engines"].items():
        default = " (auto takes it)" if name == report["default"] else ""
        where = f", forward pass on {found['provider']}" if found.get("provider") else ""
        console.line(name, f"ready{where}{default}" if found["ready"] else found["reason"] + default, _WIDTH)
        if not found["ready"]:
            console.line("", f"fix: {found['fix']}", _WIDTH)
    if report["problems"]:
        console.line("", "")
    for problem in report["problems"]:
        console.line("problem", problem["problem"], _WIDTH)
        console.line("", f"fix: {problem['fix']}", _WIDTH)


_WIDTH = 13


def _lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "python", f"{report['python']}  {report['executable']}"
    for name, found in report["versions"].items():
        yield name, found or "not installed"
    yield "onnxruntime", _wheels(report["onnxruntime"]["wheels"])
    if report["onnxruntime"]["providers"] is not None:
        yield "providers", ", ".join(n.removesuffix("ExecutionProvider") for n in report["onnxruntime"]["providers"])
    cupy = report["cupy"]
    yield "CuPy", _wheels(cupy["wheels"])
    drivers = sorted({gpu["driver"] for gpu in report["gpus"]})
    cuda = f"CUDA up to {_dotted(report['driver_cuda'])}" if report["driver_cuda"] else ""
    yield "driver", ", ".join(filter(None, (*drivers, cuda))) or "none found"
    for gpu in report["gpus"]:
        yield "GPU", f"{gpu['name']}, {gpu['memory']}, compute capability {gpu['capability']}"
    if not report["gpus"]:
        yield "GPU", "none found"
    yield "CUDA", f"runtime {_dotted(cupy['cuda'])}, cuDNN {report['cudnn'] or 'none'}"
    yield "cache", cache.described(cache.usage())
    kernels = report["kernels"]
    yield "nvcc", kernels["nvcc"] or "none"
    yield "NVRTC", _dotted(cupy["nvrtc"])
    yield "fatbin", kernels["fatbin"]
    yield "emulation", f"{kernels['emulator']}; C++ compiler {kernels['compiler'] or 'none'}"


def _wheels(found: dict[str, str]) -> str:
    return ", ".join(f"{version} ({name})" for name, version in found.items()) or "not installed"


def _dotted(version: Version | list[int] | None) -> str:
    return ".".join(map(str, version)) if version else "none"
