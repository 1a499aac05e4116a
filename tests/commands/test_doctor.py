"""`onnxlrp doctor`: on this machine, on one with nothing but the base install, and on machines that do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.cli import main
from onnxlrp.commands import doctor, probes
from onnxlrp.engines import ENGINES

READY = {"ready": True, "provider": "CPUExecutionProvider"}
H200 = {"name": "NVIDIA H200", "memory": "143771 MiB", "driver": "580.159.03", "capability": "9.0"}


def machine(
    wheels: Any = None,
    cupy: Any = None,
    gpu: bool = True,
    driver: Any = (13, 0),
    cudnn: str = "9.10 (nvidia-cudnn-cu13)",
    **more: Any,
) -> dict[str, Any]:
    """A report; by default of a machine where everything fits."""
    ort = {"ready": True, "provider": "CUDAExecutionProvider"}
    return {
        "onnxruntime": {"wheels": wheels or {"onnxruntime-gpu": "1.31.1"}, "providers": ["CPUExecutionProvider"]},
        "cupy": {"wheels": {"cupy-cuda13x": "14.2.0"} if cupy is None else cupy, "cuda": (13, 0), "nvrtc": (13, 0)},
        "gpus": [H200] if gpu else [],
        "driver_cuda": driver,
        "cudnn": cudnn,
        "kernels": {"nvcc": None, "fatbin": "none", "emulator": "current", "compiler": None},
        "default": "ort",
        "engines": {"ort": ort},
        **more,
    }


def test_a_machine_where_everything_fits_has_no_problems() -> None:
    assert list(doctor.problems(machine())) == []


BOTH = {"onnxruntime": "1.31.0", "onnxruntime-gpu": "1.31.1"}
OLD = {"onnxruntime-gpu": "1.26.0"}
UNFIT: dict[str, tuple[dict[str, Any], str, str]] = {
    "both wheels, with a GPU": (
        {"wheels": BOTH},
        "overwrite each other",
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
    ),
    "both wheels, without a GPU": (
        {"wheels": BOTH, "gpu": False, "driver": None},
        "overwrite each other",
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime",
    ),
    "two CuPys": (
        {"cupy": {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}, "driver": (12, 8), "wheels": OLD},
        "overwrite each other",
        'pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install "cupy-cuda12x[ctk]"',
    ),
    "a plugin that cannot be loaded": (
        {"plugin": ("the plugin x cannot be loaded", "pip uninstall x")},
        "plugin x",
        "pip uninstall x",
    ),
    "the CPU wheel on a GPU": (
        {"wheels": {"onnxruntime": "1.31.0"}},
        "run on the CPU",
        "pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
    ),
    "the GPU wheel without a GPU": ({"gpu": False, "driver": None}, "no GPU is found", "pip install onnxruntime"),
    "a driver too old for onnxruntime": ({"driver": (12, 8)}, "requires CUDA 13", 'pip install "onnxruntime-gpu<1.27"'),
    "a driver too old for CuPy": ({"driver": (12, 8)}, "CuPy is built for CUDA 13", "cupy-cuda12x"),
    "CuPy for another CUDA": ({"wheels": OLD}, "onnxruntime-gpu 1.26.0 for CUDA 12", '"cupy-cuda12x[ctk]"'),
    "no cuDNN": ({"cudnn": None}, "not found", "pip install nvidia-cudnn-cu13"),
    "an old cuDNN": ({"cudnn": "8.9.2"}, "8.9.2 is installed", '"nvidia-cudnn-cu13>=9"'),
    "cuDNN for another CUDA": (
        {"cudnn": "9.10 (nvidia-cudnn-cu12)"},
        "is built for CUDA 12",
        "pip install nvidia-cudnn-cu13",
    ),
    "the provider cannot be loaded": ({"engines": {"ort": READY}}, "falls back to the CPU", "nvidia-cublas"),
    "onnxruntime cannot be imported": (
        {"onnxruntime": {"wheels": {"onnxruntime-gpu": "1.31.1"}, "providers": None}},
        "cannot be imported",
        "pip install --force-reinstall onnxruntime-gpu",
    ),
    "no NVRTC": (
        {"cupy": {"cupy-cuda13x": "14.2.0"}, "nvrtc": None},
        "no NVRTC",
        'pip install "cupy-cuda13x[ctk]"',
    ),
    "an old fatbin": (
        {"kernels": {"nvcc": None, "fatbin": "older than the kernels", "emulator": "", "compiler": None}},
        "older than their sources",
        "python -m onnxlrp.engines.cuda.kernels.build",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_named_with_the_command_that_repairs_it(name: str) -> None:
    found, said, fix = UNFIT[name]
    report = machine(**{key: value for key, value in found.items() if key != "nvrtc"})
    report["cupy"] |= {"nvrtc": found["nvrtc"]} if "nvrtc" in found else {}
    assert any(said in what and fix in command for what, command in doctor.problems(report)), list(
        doctor.problems(report)
    )


@pytest.mark.parametrize(("version", "cuda"), [("1.31.1", 13), ("1.27.0", 13), ("1.26.0", 12), ("1.18.1", 11)])
def test_which_cuda_a_wheel_wants(version: str, cuda: int) -> None:
    assert doctor.wanted_cuda(version) == cuda


@pytest.mark.slow
def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor"])
    out = capsys.readouterr().out
    for word in ("python", "onnxruntime", "CuPy", "GPU", "fatbin", *ENGINES):
        assert any(line.startswith(word) for line in out.splitlines()), word
    assert (code == 0) == ("ort          ready" in out)


def test_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "tried", lambda name: {"ready": name == "ort"} | {"reason": "?", "fix": "?"})
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["engines"]) == list(ENGINES)
    assert report["engines"]["ort"]["ready"]
    assert isinstance(report["problems"], list)


def test_every_probe_may_fail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("no")

    for target in ("importlib.metadata.version", "importlib.metadata.packages_distributions", "ctypes.CDLL"):
        monkeypatch.setattr(target, broken)
    for module in ("onnxruntime", "cupy", "onnxlrp.engines.cuda"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(subprocess, "run", broken)
    assert main(["doctor"]) == 4
    assert "report it" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import os, sys; print('bad driver', file=sys.stderr); os.kill(os.getpid(), 11)",
            "ended with -11: bad driver",
        ),
        ("print('noise'); raise ValueError('x')", "ended with 1: ValueError: x"),
        ("import time; time.sleep(60)", "no result within"),
    ],
)
def test_an_engine_that_crashes_does_not_take_the_doctor_with_it(
    code: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = subprocess.run
    monkeypatch.setattr(probes, "_WAIT", 2)
    monkeypatch.setattr(subprocess, "run", lambda command, **how: run([*command[:2], code], **how))
    found = probes.tried("cuda")
    assert not found["ready"]
    assert said in found["reason"]
    assert found["fix"]


@pytest.mark.slow
def test_nothing_but_the_base_install(tmp_path: Path) -> None:
    """Neither onnxruntime nor CuPy nor the emulator: the reference engine, and the command for each other engine."""
    blocked = "import sys\nfor name in ('onnxruntime', 'cupy', 'onnxlrp._emulator'):\n    sys.modules[name] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "onnxlrp", "doctor", "--json"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["default"]) == (0, "reference"), done.stderr
    assert report["onnxruntime"]["providers"] is None
    engines = report["engines"]
    assert engines["reference"] == {"ready": True}
    assert "onnxruntime is not installed" in engines["ort"]["reason"]
    assert "pip install" in engines["ort"]["fix"]
    assert "CuPy" in engines["cuda"]["reason"]
    assert "emulator was not built" in engines["emulator"]["reason"]
    assert "compiler" in engines["emulator"]["fix"]
