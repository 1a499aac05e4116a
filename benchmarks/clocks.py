"""Clocks of benchmarks/gpu.py: seconds that something takes, warm, as a median.

A clock is called with what to run, and for about how long. On a GPU a run is timed by two events around it, after the
L2 cache was overwritten; it only has to be enqueued, for the overwriting keeps the GPU busy meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

Clock = Callable[[Callable[[], Any], float], float]
WARM, LEAST, MOST = 3, 5, 100
FLUSH = 256 << 20  # bytes: the L2 cache of an H200 has 60 MB


def host_time(run: Callable[[], Any], seconds: float, warm: int = WARM - 1) -> float:
    """By the host's clock: for what returns when it is done."""
    for _ in range(warm):
        run()
    return _median(lambda: _host(run), seconds)


host_clock: Clock = host_time


def cuda_clock(stream: Any, flush: int = FLUSH) -> Clock:
    """By CuPy's events on a stream, where `run` enqueues."""
    import cupy

    filled = cupy.empty(max(flush, 1), cupy.uint8)

    def once(run: Callable[[], Any]) -> float:
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        if flush:
            filled.data.memset_async(0, flush, stream)
        start.record(stream)
        run()
        stop.record(stream)
        stop.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3

    return _clock(once, stream.synchronize)


def torch_clock(torch: Any, graph: bool = False) -> Clock:
    """By torch's events on its current stream; with `graph`, of a captured CUDA graph."""
    filled = torch.empty(FLUSH, dtype=torch.uint8, device="cuda")

    def once(run: Callable[[], Any]) -> float:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        filled.zero_()
        start.record()
        run()
        stop.record()
        stop.synchronize()
        return float(start.elapsed_time(stop)) / 1e3

    timed = _clock(once, torch.cuda.synchronize)

    def captured(run: Callable[[], Any], seconds: float) -> float:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):  # cuDNN chooses its algorithm before the capture
            for _ in range(WARM):
                run()
        torch.cuda.synchronize()
        made = torch.cuda.CUDAGraph()
        with torch.cuda.graph(made):
            run()
        return timed(made.replay, seconds)

    return captured if graph else timed


def _clock(once: Callable[[Callable[[], Any]], float], wait: Callable[[], Any]) -> Clock:
    def clock(run: Callable[[], Any], seconds: float) -> float:
        run()
        wait()
        return _median(lambda: once(run), seconds)

    return clock


def _host(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _median(once: Callable[[], float], seconds: float) -> float:
    """Of about so many seconds, but at least LEAST runs; of one that takes longer than them, two."""
    first = once()
    if first > seconds:
        return min(first, once())
    return median(once() for _ in range(int(min(MOST, max(LEAST, seconds / max(first, 1e-7))))))
