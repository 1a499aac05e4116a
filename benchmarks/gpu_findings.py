"""State of a run of benchmarks/gpu.py: its results, the time left, and the prepared engine."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import contenders
from clocks import Clock
from contenders import Case
from records import Record, save

PRECISIONS = ("plain", "exact", "fast")  # no tensor cores, 3xTF32, TF32


class Unavailable(Exception):
    """A contender that this machine does not have."""


@dataclass
class Session:
    """One run of the script: what it has found, and how long it may still take."""

    given: argparse.Namespace
    device: Any
    clock: Clock
    about: Record
    end: float
    valid: list[Record] = field(default_factory=list)
    whole: list[Record] = field(default_factory=list)
    layers: list[Record] = field(default_factory=list)
    overhead: Record = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    failed: list[Record] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _runs: dict[tuple[str, str], Any] = field(default_factory=dict)

    def step(self, what: str, do: Callable[[], Any], needs: float = 0.0) -> Any:
        """What `do` gives; None where it fails, or where the time that is left is shorter than it needs (seconds)."""
        if time.monotonic() + needs > self.end:
            self.left_out.append(what)
            return None
        try:
            return do()
        except Unavailable as error:
            self.unavailable.setdefault(str(error), what)
        except Exception as error:
            said = " ".join(str(error).split())[:400]
            self.failed.append({"what": what, "error": f"{type(error).__name__}: {said}"})
            print(f"FAILED {what}: {type(error).__name__}: {said}", flush=True)
        finally:
            self.save()
        return None

    def run(self, case: Case, precision: str) -> Any:
        """Our engine, prepared once for each network and precision."""
        key = (case.label, precision)
        if key not in self._runs:
            self._runs[key] = engine(self.device, precision).prepare(*contenders.program(case))
        return self._runs[key]

    def forget(self) -> None:
        """Give the memory of a network back."""
        self._runs.clear()
        with suppress(Exception):
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()
        with suppress(Exception):
            torch_cuda().cuda.empty_cache()

    def save(self) -> None:
        """The JSON so far: a run that is cut off leaves what it has found."""
        names = ("valid", "whole", "overhead", "layers", "unavailable", "failed")
        content = {"meta": self.about, **{name: getattr(self, name) for name in names}, "left out": self.left_out}
        save(self.given.json, content)


def engine(device: Any, precision: str) -> Any:
    """Return the CUDA engine at a precision; "plain" has no tensor cores."""
    from onnxlrp.engines.cuda.engine import Cuda

    return Cuda(device, None if precision == "plain" else precision)  # type: ignore[arg-type]


def torch_cuda() -> Any:
    """torch, if it sees a GPU."""
    try:
        import torch
    except ImportError:
        raise Unavailable("torch is not installed") from None
    if not torch.cuda.is_available():
        raise Unavailable("torch sees no GPU")
    return torch
