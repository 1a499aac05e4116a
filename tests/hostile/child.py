"""Run many command lines one after the other in this process; a line of JSON tells what came of each.

Standard input: a list of [name, words]. Standard output: {name, code, seconds of the processor, megabytes, out, err}.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import resource
import sys
import time
import warnings
from pathlib import Path

_GUARD = 6 << 30  # what no file may come near; it keeps the machine alive


def peak() -> float:
    """Megabytes at the highest since `reset`, or since the start where the system cannot reset it."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_GUARD, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")
    from onnxlrp import cli

    for name, words in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        reset()
        print(json.dumps({"name": name}), flush=True)  # who was it, should the process end
        began = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(words)
        seconds = time.process_time() - began
        row = {"name": name, "code": code, "seconds": round(seconds, 3), "megabytes": round(peak())}
        print(json.dumps({**row, "out": out.getvalue(), "err": err.getvalue()}), flush=True)


if __name__ == "__main__":
    main()
