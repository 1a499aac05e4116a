"""The command itself, from the shell: first and second runs of one model and method, beside another build.

    git worktree add /tmp/before v1.0                        # the other build, as a checkout
    python benchmarks/shell_runs.py /tmp/before --model models/digits.onnx --input models/samples/digit_0.png
    python benchmarks/shell_runs.py /tmp/before --networks resnet50 --input cat.jpg --methods epsilon_plus_flat

In each round every kind of run has a process of its own, in an order that turns around: the build before, this one
without a cache, its first run with an empty cache, which writes the entries, and its second. The heatmaps of the three
of this build must be equal, bit by bit, or the exit code is 1. The table has medians over the rounds of ratios to the
build before, of processor time (of all threads) and of wall time. Byte code is compiled before the first round.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from builds import HERE, NETWORKS, revision
from records import Record, checkout, environment, save, words

KINDS = ("before", "no cache", "first", "second")


def run(root: Path, cache: str, folder: Path, asked: list[str], result: Path) -> tuple[float, float]:
    """Run one command of a build; return wall time and processor time in seconds."""
    outside = os.environ | {
        "PYTHONPATH": str(root),
        "ONNXLRP_CACHE": cache,
        "PYTHONPYCACHEPREFIX": str(folder / "code"),
    }
    outside.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-W", "ignore", "-m", "onnxlrp", "explain", *asked, "-q", "-o", str(result)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=outside, cwd=folder, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(model: Path, source: Path, method: str, roots: dict[str, Path], rounds: int) -> Record:
    """Return one case: times of each kind of run, and whether the heatmaps of this build are equal."""
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    asked = [str(model), str(source), *(["-m", method] if method != "auto" else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {kind: folder / f"{kind}.npz" for kind in KINDS}
        for n in range(rounds + 1):  # the first compiles byte code, and does not count
            cache = str(folder / f"cache {n}")
            kinds = KINDS if n % 2 else ("first", "second", "no cache", "before")
            for kind in kinds:
                root = roots["before" if kind == "before" else "after"]
                used = cache if kind in ("first", "second") else "off"
                spent = run(root, used, folder, asked, results[kind])
                if n:
                    taken[kind].append(spent)
            held = sum(file.stat().st_size for file in Path(cache).glob("*/*"))
            subprocess.run(["rm", "-rf", cache], check=True)
        maps = {kind: np.load(path)["relevance"] for kind, path in results.items() if kind != "before"}
    equal = all(np.array_equal(found, maps["no cache"], equal_nan=True) for found in maps.values())
    record: Record = {"model": model.stem, "method": method, "cache MB": round(held / 1e6, 1), "equal": equal}
    for place, clock in enumerate(("wall", "processor")):
        times = {kind: [spent[place] for spent in found] for kind, found in taken.items()}
        ratios: dict[str, Any] = {}
        for kind in KINDS[1:]:
            pairs = zip(times[kind], times["before"], strict=True)
            ratios[kind] = {
                "ratio": median(a / b for a, b in pairs),
                "of least": min(times[kind]) / min(times["before"]),
            }
        record[clock] = {"ratios": ratios, "ms": {k: [round(1e3 * t, 1) for t in found] for k, found in times.items()}}
    return record


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("before", type=checkout, help="a checkout of the build to compare with")
    parser.add_argument("--after", type=Path, default=HERE.parent, help="the other checkout; this one by default")
    parser.add_argument("--model", type=Path, action="append", default=[], help="an ONNX file; repeatable")
    parser.add_argument("--networks", type=words, default=[], help="comma-separated: " + ", ".join(NETWORKS))
    parser.add_argument("--input", type=Path, required=True, help="a picture")
    parser.add_argument("--methods", type=words, default=["auto"])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "onnxlrp-bench")
    parser.add_argument("--add", action="store_true", help="keep the other cases of the file, as they were measured")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "shell_runs.json")
    given = parser.parse_args()
    if unknown := [name for name in given.networks if name not in NETWORKS]:
        parser.error(f"no such network: {', '.join(unknown)}")
    return given


def main() -> int:
    """Run all commands in turns, and print the table."""
    import json

    given = arguments()
    about: Record = environment(("onnxruntime", "onnx", "numpy"))
    about["builds"] = {"before": revision(given.before), "after": revision(given.after)}
    about |= {"rounds": given.rounds, "load": os.getloadavg()[0]}
    paths = [*given.model, *(given.cache / f"{network}.onnx" for network in given.networks)]
    roots = {"before": given.before.resolve(), "after": given.after.resolve()}
    old = json.loads(given.json.read_text())["records"] if given.add and given.json.exists() else []
    records: list[Record] = []
    print(f"{'model':<24} {'method':<20} {'clock':<9} " + " ".join(f"{kind:>9}" for kind in KINDS[1:]) + "  equal")
    for path in paths:
        for method in given.methods:
            record = measured(path.resolve(), given.input.resolve(), method, roots, given.rounds) | {"meta": about}
            records.append(record)
            for clock in ("processor", "wall"):
                cells = " ".join(f"{record[clock]['ratios'][kind]['ratio']:>9.3f}" for kind in KINDS[1:])
                print(f"{record['model']:<24} {method:<20} {clock:<9} {cells}  {record['equal']}", flush=True)
            mine = {(r["model"], r["method"]) for r in records}
            save(given.json, {"records": [r for r in old if (r["model"], r["method"]) not in mine] + records})
    return 0 if all(record["equal"] for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
