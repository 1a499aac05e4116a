"""A function in a process that is forked from the one of the test, with a time limit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import pytest

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def in_fork(function: Callable[[], Any], seconds: float = 60) -> Any:
    """What a function returns, or the error that it raises, in a forked process."""
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        try:
            theirs.send(function())
        except Exception as error:
            theirs.send(error)

    process = context.Process(target=run, daemon=True)
    process.start()
    try:
        assert ours.poll(seconds), "the forked process hangs"
        answer = ours.recv()
        process.join(seconds)
        assert process.exitcode == 0
        return answer
    finally:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.1)
