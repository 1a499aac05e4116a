"""Every kernel compiled for every architecture: no GPU is needed to know that it compiles, and what it takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.engines.cuda import registers
from onnxlrp.engines.cuda.kernels import build

ROOT = Path(__file__).parents[3]
NAMED_FILE = re.compile(r"[\w/]+\.(?:cuh|cu|hpp|cpp|py)\b")
needs_nvcc = pytest.mark.skipif(build.nvcc() is None, reason="nvcc is not installed")


def sources() -> list[Path]:
    return sorted(path for path in (ROOT / "csrc").rglob("*.*") if path.suffix in (".cuh", ".hpp", ".cpp"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_comments_name_files_that_exist(path: Path) -> None:
    """A path from the root or from csrc, or the name of a file of csrc."""
    comments = re.findall(r"//.*", path.read_text(encoding="utf-8"))
    folders = (ROOT, ROOT / "csrc", ROOT / "csrc/kernels", ROOT / "csrc/emulator")
    for name in NAMED_FILE.findall(" ".join(comments)):
        assert any((folder / name).is_file() for folder in folders), name


@pytest.fixture(scope="module")
def found() -> dict[Any, Any]:
    text = registers.everything()
    return {architecture: registers.usage(text, architecture) for architecture in registers.ARCHITECTURES}


def listed() -> Any:
    return set(re.findall(r"X\((\w+)\)", re.sub(r"//.*", "", build.source()).partition("#define KERNELS(X)")[2]))


@pytest.mark.slow
@needs_nvcc
def test_every_kernel_compiles(found: dict[Any, Any], notes: list[str]) -> None:
    notes.append(registers.table(found))
    assert registers.ARCHITECTURES == ("80", "90a", "100")
    for kernels in found.values():
        assert set(kernels) == listed() | {launch.kernel for launch in registers.examples()}


@pytest.mark.slow
@needs_nvcc
def test_no_kernel_spills(found: dict[Any, Any]) -> None:
    spills = {(name, a): u.spills for a, kernels in found.items() for name, u in kernels.items() if u.spills}
    assert spills == {}


def test_reports_of_ptxas_are_read() -> None:
    report = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_80'
ptxas info    : Function properties for one
    16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 98 registers, used 1 barriers, 8704 bytes smem, 412 bytes cmem[0]
ptxas info    : Compiling entry function 'two' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 412 bytes cmem[0]
"""
    assert registers.parsed(report) == {"one": registers.Usage(98, 20, 8704), "two": registers.Usage(8, 0, 0)}


def test_a_kernel_alone_is_the_only_one() -> None:
    """With NVRTC each is compiled when it is first launched."""
    for name in listed():
        text = re.sub(r"^#define (.*\\\n)*.*", "", build.alone(name), flags=re.M)
        defined = re.findall(r'extern "C" __global__ void(?: __launch_bounds__\([^)]*\))?\s+(\w+)\(', text)
        assert defined + re.findall(r"^[A-Z_]+\((\w+),.*\)$", text, re.M) == [name]


def compiled(text: Any, architecture: Any) -> Any:
    """The machine code, as CuPy compiles it, which needs neither a GPU nor headers."""
    nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="CuPy is not installed")
    # CuPy's RawModule knows no sm_90a, but the compiler does.
    options = ("-std=c++17", "-ftz=true", f"-arch=sm_{architecture}", "--device-as-default-execution-space")
    try:
        program = nvrtc.createProgram(text, "kernels.cu", (), ())
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"NVRTC cannot be loaded: {error}")
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    return nvrtc.getCUBIN(program)


@pytest.mark.parametrize("architecture", registers.ARCHITECTURES)
def test_every_kernel_compiles_with_nvrtc(architecture: Any) -> None:
    code = compiled(registers.everything(), architecture)
    assert all(name.encode() + b"\0" in code for name in listed())


@pytest.mark.parametrize("name", ["seed_top", "gemm_exact_64x64", "depthwise_any", "conv_adjoint"])
def test_nvrtc_compiles_a_kernel_alone(name: str) -> None:
    code = compiled(build.alone(name), "90")
    assert {other for other in listed() if b".text." + other.encode() + b"\0" in code} == {name}
