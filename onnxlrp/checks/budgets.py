"""What an explanation may cost: time, and memory of the process."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..findings.finding import Finding, MissingData, judged
from .case import Case
from .registry import check


@check("latency")
@dataclass(frozen=True)
class Latency:
    """One sample alone, the median of `repeats` runs after one that does not count: the forward pass takes at most
    `forward_ms` milliseconds, the explanation at most `explain_ms`, or `forwards` times the forward pass."""

    forward_ms: float | None = None
    explain_ms: float | None = None
    forwards: float | None = None
    repeats: int = 5

    def __call__(self, case: Case) -> Iterable[Finding]:
        if self.forward_ms is None and self.explain_ms is None and self.forwards is None:
            raise MissingData("no budget is set", "[checks.latency] explain_ms = 200, or forwards = 8")
        yield from self._judge(*measured(case, self.repeats))

    def _judge(self, forward: float, whole: float) -> Iterator[Finding]:
        rows = (
            ("forward pass", forward, self.forward_ms, f"{forward:.1f} ms"),
            ("explanation", whole, self.explain_ms, f"{whole:.1f} ms"),
            ("explanation over forward pass", whole / forward, self.forwards, f"{whole / forward:.1f} forward passes"),
        )
        for subject, value, limit, message in rows:
            if limit is not None:
                fix = "a larger model or a slower machine; --calibrate measures what is usual here"
                yield judged(value <= limit, f"{message} for one sample", subject, value, limit, fix)


@check("memory")
@dataclass(frozen=True)
class Memory:
    """The largest resident size of the process while all samples are explained is at most `peak_mb` megabytes (2^20);
    where the kernel cannot reset it, since the process began."""

    peak_mb: float | None = None

    def __call__(self, case: Case) -> Iterable[Finding]:
        if self.peak_mb is None:
            raise MissingData("no budget is set", "[checks.memory] peak_mb = 2000")
        value = peak(case)
        fix = "explain fewer samples at once: batch_size = 1"
        message = f"{value:.0f} MB at most while {len(case.samples)} samples are explained"
        yield judged(value <= self.peak_mb, message, "process", value, self.peak_mb, fix)


def measured(case: Case, repeats: int) -> tuple[float, float]:
    """Milliseconds of the forward pass and of the explanation of the first sample alone, medians."""
    one = case.samples[:1]
    target = case.targets[:1]
    runs: tuple[Callable[[], object], ...] = (
        lambda: case.forward(case.model, one.values),
        lambda: case.explain(case.model, one, target, ledger=case.conserves),
    )
    forward, whole = (_median(run, repeats) for run in runs)
    return forward, whole


def peak(case: Case) -> float:
    """The largest resident size, in MB, while all samples are explained. Raises Missing."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark becomes the present size
    case.explain(case.model, case.samples, case.targets, ledger=case.conserves)
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
        raise MissingData("this system does not say how much memory a process takes", "") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0**2 if sys.platform == "darwin" else 1024.0)
