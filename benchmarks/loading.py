"""The time of `onnxlrp inspect` of this build against another one: processes that take turns, medians of ratios.

    git worktree add /tmp/before v1.0
    python benchmarks/loading.py /tmp/before models/digits.onnx resnet50.onnx vit.onnx

Processor time of whole processes, imports included: a small model shows what these cost. A ratio below 1 says that this
build is faster.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

from records import Record, checkout, environment, save

HERE = Path(__file__).parent


def seconds(build: Path, model: Path) -> float:
    """Return the processor seconds of one `onnxlrp inspect`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", "from onnxlrp.cli import main; main()", "inspect", str(model)],
        env={**os.environ, "PYTHONPATH": str(build), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
        cwd=build,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compared(builds: tuple[Path, Path], model: Path, rounds: int) -> Record:
    """Return the median ratio of two builds on a model, and its quartiles' span."""
    for build in builds:
        seconds(build, model)  # byte code is written
    ratios = sorted(seconds(builds[0], model) / seconds(builds[1], model) for _ in range(rounds))
    return {"model": model.name, "ratio": median(ratios), "span": [ratios[rounds // 4], ratios[-1 - rounds // 4]]}


def main() -> None:
    """Compare the builds, and write the ratios as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("before", type=checkout, help="the other build, a checkout")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "loading.json")
    given = parser.parse_args()
    builds = (HERE.parent.resolve(), given.before.resolve())
    records = [compared(builds, model.resolve(), given.rounds) for model in given.models]
    for record in records:
        print(f"{record['model']:40} {record['ratio']:.2f}  {record['span']}")
    save(given.out, {**environment(("onnxlrp", "onnxruntime", "numpy", "onnx")), "records": records})


if __name__ == "__main__":
    main()
