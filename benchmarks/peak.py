"""The peak memory of one contender in a process of its own.

    python benchmarks/peak.py ours /tmp/onnxlrp-bench/resnet50.onnx --preset epsilon_plus_flat --batch 8

Prints JSON: "peak MB", the largest resident size from start to end (import, load, prepare, two runs); "run MB", the
largest during the second run alone (Linux only: it resets the kernel's high-water mark), null elsewhere.
On Linux both are VmHWM: ru_maxrss survives exec, so that a child starts with the size of the process that started it.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from contenders import CONTENDERS, Case

Peak = dict[str, float | None]


def measure(contender: str, case: Case, batch: int) -> Peak:
    """Run in a child process; both numbers are null where the child fails."""
    command = [sys.executable, "-W", "ignore", __file__, contender, str(case.path)]
    command += ["--preset", case.preset, "--network", case.network, "--cache", str(case.cache), "--batch", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"peak memory of {contender}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return {"peak MB": None, "run MB": None}
    result: Peak = json.loads(done.stdout)
    return result


STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def mark() -> float:
    """The largest resident size of this process so far, in MB."""
    if STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
        assert found
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0**2 if sys.platform == "darwin" else 1024.0)


def _here(contender: str, case: Case, batch: int) -> Peak:
    x, ids = case.inputs(batch), np.zeros(batch, np.int64)
    with CONTENDERS[contender](case) as run:
        run(x, ids)
        before = mark()
        try:
            RESET.write_text("5")  # the high-water mark becomes the present size
        except OSError:
            run(x, ids)
            return {"peak MB": max(before, mark()), "run MB": None}
        run(x, ids)
        return {"peak MB": max(before, mark()), "run MB": mark()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("path", type=Path)
    parser.add_argument("--preset", default=Case.preset)
    parser.add_argument("--network", default="")
    parser.add_argument("--cache", type=Path, default=Path())
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps(_here(given.contender, Case(given.path, given.preset, given.network, given.cache), given.batch)))
