"""Budgets of an explanation: time, and memory of the process."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..findings.finding import Finding, MissingData, judged
from .context import CheckContext
from .registry import check


@check("latency", order=60)
@dataclass(frozen=True)
class Latency:
    """The forward pass and the explanation of a single sample stay within their time budgets.

    Args:
        forward_ms: The longest forward pass, in milliseconds.
        explain_ms: The longest explanation, in milliseconds.
        forwards: The longest explanation, in forward passes.
        repeats: Runs whose median is taken, after one that warms up.
    """

    forward_ms: float | None = None
    explain_ms: float | None = None
    forwards: float | None = None
    repeats: int = 5

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        if self.forward_ms is None and self.explain_ms is None and self.forwards is None:
            raise MissingData("no budget is set", "[checks.latency] explain_ms = 200, or forwards = 8")
        yield from self._judge(*measured(context, self.repeats))

    def _judge(self, forward: float, whole: float) -> Iterator[Finding]:
        rows = (
            ("forward pass", forward, self.forward_ms, f"{forward:.1f} ms"),
            ("explanation", whole, self.explain_ms, f"{whole:.1f} ms"),
            ("explanation over forward pass", whole / forward, self.forwards, f"{whole / forward:.1f} forward passes"),
        )
        for subject, value, limit, message in rows:
            if limit is not None:
                fix = "the model grew or the machine is slower; onnxlrp check --calibrate measures usual times here"
                yield judged(value <= limit, f"{message} for one sample", subject, value, limit, fix)


@check("memory", order=60)
@dataclass(frozen=True)
class Memory:
    """The process stays within its memory budget while all samples are explained.

    Args:
        peak_mb: The largest resident size, in MiB (2^20 bytes). Where the system cannot reset its high-water mark, it
            is that of the process since its start.
    """

    peak_mb: float | None = None

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        if self.peak_mb is None:
            raise MissingData("no budget is set", "[checks.memory] peak_mb = 2000")
        value = peak(context)
        fix = "explain fewer samples at once: batch_size = 1"
        message = f"at most {value:.0f} MB while {len(context.names)} samples are explained"
        yield judged(value <= self.peak_mb, message, "process", value, self.peak_mb, fix)


def measured(context: CheckContext, repeats: int) -> tuple[float, float]:
    """Measure the forward pass and the explanation of the first sample alone: medians in milliseconds."""
    first = context.parts[0]
    one = first.samples[:1]
    target = first.targets[:1]
    runs: tuple[Callable[[], object], ...] = (
        lambda: first.forward(first.model, one.values),
        lambda: first.explain(first.model, one, target, ledger=first.conserves),
    )
    forward, whole = (_median(run, repeats) for run in runs)
    return forward, whole


def peak(context: CheckContext) -> float:
    """Measure the largest resident size, in MiB, while all samples are explained.

    Raises:
        MissingData: The system does not report the memory of a process.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark becomes the present size
    for part in context.parts:
        part.explain(part.model, part.samples, part.targets, ledger=part.conserves)
    return _high_water()


def _median(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def _high_water() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss there: it survives exec, so that a child starts with the size of its parent.
        line = next((y for y in status.read_text().splitlines() if y.startswith("VmHWM:")), "")
        if line:
            return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        raise MissingData("this system does not report the memory of a process", "") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0**2 if sys.platform == "darwin" else 1024.0)
