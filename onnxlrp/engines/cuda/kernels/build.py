"""Sources of the kernels, and `python -m onnxlrp.engines.cuda.kernels.build`, which compiles them with nvcc.

setup.py runs this file by its path, before anything is installed: it imports the standard library alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[3]
# Installed beside the package's modules, or in a checkout beside the package.
CSRC = next((p for p in (_PACKAGE / "csrc", _PACKAGE.parent / "csrc") if p.is_dir()), _PACKAGE / "csrc")

# SASS for the A100, H100 and B200 families; PTX, compiled by the driver, for everything else since the A100.
TARGETS = (("compute_80", "sm_80"), ("compute_90a", "sm_90a"), ("compute_100", "sm_100"), ("compute_80", "compute_80"))
FLAGS = ("-std=c++17", "-O3", "-ftz=true")  # CuPy gives NVRTC -ftz=true: both loaders must agree


def source() -> str:
    """Return all.cuh with its includes inlined: NVRTC reads no files, and CuPy's cache is keyed by this text."""
    done: set[str] = set()

    def pasted(name: str) -> str:
        if name in done:
            return ""
        done.add(name)
        text = (CSRC / "kernels" / name).read_text("utf-8").replace("#pragma once\n", "")
        text = re.sub(r'^#include "([\w.]+)"\n', lambda m: pasted(m[1]), text, flags=re.M)
        return f'#line 1 "{name}"\n{text}'

    return pasted("all.cuh")


_INSTANCE = re.compile(r"^[A-Z_]+\((\w+),.*\)$", re.M)
_KERNEL = re.compile(r'extern "C" __global__ void(?: __launch_bounds__\([^)]*\))?(\s+)(\w+)\(')


def alone(kernel: str) -> str:
    """Return the source with one kernel; the others become device functions, which cost NVRTC little time."""
    text = source()
    others = set(re.findall(r"X\((\w+)\)", text.partition("#define KERNELS(X)")[2])) - {kernel}
    text = _INSTANCE.sub(lambda m: "" if m[1] in others else m[0], text)
    # The compiler drops device functions that are not called.
    return _KERNEL.sub(lambda m: f"static __device__ void{m[1]}{m[2]}(" if m[2] in others else m[0], text)


def with_ptx(code: str) -> str:
    """Return generated source with the device functions of ptx.cuh before it."""
    return (CSRC / "kernels" / "ptx.cuh").read_text("utf-8").replace("#pragma once\n", "") + code


def digest(*patterns: str) -> str:
    """Return a hash of the files of csrc/ that match the patterns."""
    made = hashlib.sha256()
    for path in sorted({p for pattern in patterns for p in CSRC.glob(pattern)}):
        made.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return made.hexdigest()[:20]


def kernels_digest() -> str:
    """Return a hash of the files that the emulator's built-in kernels are compiled from."""
    return digest("kernels/*.cuh", "emulator/abi.hpp", "emulator/cuda_on_cpu.hpp")


def emulator_digest() -> str:
    """Return a hash of the files that the emulator's runtime is compiled from."""
    return digest("emulator/*")


def cache() -> Path:
    """Return the folder of this user's compiled kernels."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onnxlrp"


def fatbin_name() -> str:
    """Return the file name of the compiled kernels, which depends on sources, targets and flags."""
    made = hashlib.sha256(repr((source(), TARGETS, FLAGS)).encode()).hexdigest()[:20]
    return f"kernels-{made}.fatbin"


def nvcc() -> str | None:
    """Return the path of the CUDA compiler, or None."""
    return shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def fatbin(folder: Path) -> Path:
    """Compile every kernel for every target into one file.

    Args:
        folder: Where the file goes.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: There is no nvcc.
        CalledProcessError: nvcc refuses the sources.
    """
    compiler = nvcc()
    if compiler is None:
        raise FileNotFoundError("nvcc is not on the PATH: install the CUDA toolkit, or let NVRTC compile the kernels")
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / fatbin_name()
    codes = [f"-gencode=arch={arch},code={code}" for arch, code in TARGETS]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        text, out = Path(scratch, "kernels.cu"), Path(scratch, "kernels.fatbin")
        text.write_text(source(), "utf-8")
        subprocess.run([compiler, "-fatbin", *FLAGS, *codes, "--threads", "0", str(text), "-o", str(out)], check=True)
        os.replace(out, made)
    return made


def main() -> int:
    """Build the fatbin into the user's cache, where the loader finds it."""
    try:
        print(fatbin(cache()))
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
