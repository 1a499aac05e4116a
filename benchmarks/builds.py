"""This build against another one: the same models, methods and inputs, paired in one run.

    git worktree add /tmp/before v1.0                                             # the other build, as a checkout
    python benchmarks/builds.py /tmp/before --model squeezenet.onnx --methods gradient,epsilon_plus_flat
    python benchmarks/builds.py /tmp/before --networks resnet50 --batches 1,8     # networks.py makes these, with torch

Each case runs in a process of its own for each build, and the two take turns. The relevance is compared first: what
differs is timed and marked, and the exit code is 1. A ratio below 1 says that this build is faster; the table has the
medians over the rounds of the ratios of processor time, of wall time, and the ratio of the peaks of memory, whole
processes with loading and two runs.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from records import Record, checkout, environment, numbers, save, words

from inputs import BOX, Array, images

HERE = Path(__file__).parent
NETWORKS = ("resnet50", "vgg16", "mobilenetv2")
METHODS = ("gradient", "epsilon_plus_flat")
LEAST = 0.2  # seconds that a build runs in its turn
REST = 0.01  # seconds after a turn in which idle threads stop spinning
CLOSE = 1e-4  # relative L2 up to which relevance is the same


class Case(NamedTuple):
    """One model under one method.

    Args:
        path: The ONNX file.
        method: The method's name.
        batch: Samples of a run.
        targets: Classes of each sample, each explained; 0 for one class and no axis of targets.
        kept: Whether what runs is taken from the cache, where a build has one.
    """

    path: Path
    method: str
    batch: int
    targets: int = 0
    kept: bool = False


# -- in the process of a build


def serve() -> None:
    """Load what the first line says, explain twice, and run as often as the following lines say; answer each."""
    from peak import mark

    import onnxlrp

    path, method, batch, targets, kept, result, threads = json.loads(input())
    if threads:
        limit(threads)
    start = time.perf_counter()
    cached = kept and "cache" in inspect.signature(onnxlrp.load).parameters
    model = onnxlrp.load(path, cache=True) if cached else onnxlrp.load(path)
    (tensor,) = model.graph.inputs
    x = samples(batch, tuple(tensor.shape), str(tensor.dtype))
    options: Any = {"low": -BOX, "high": BOX} if "box" in method else {}
    target: Any = f"top{targets or 1}"

    def run() -> Array:
        made: Array = np.asarray(model.explain(x, target, method, **options).relevance)
        return made

    found = run()
    first = time.perf_counter() - start
    np.save(result, found)
    again = bool(np.array_equal(found, run(), equal_nan=True))
    answer({"first": first, "peak MB": mark(), "same": again})
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            run()
        spent = time.perf_counter() - wall, time.process_time() - processor
        time.sleep(REST)
        answer({"wall": spent[0] / int(line), "processor": spent[1] / int(line)})


def limit(threads: int) -> None:
    """Let every session have so many threads. Options that are given to an engine would replace those of its own."""
    import onnxruntime

    plain = onnxruntime.SessionOptions

    def limited() -> Any:
        options = plain()
        options.intra_op_num_threads = threads
        return options

    onnxruntime.SessionOptions = limited


def answer(content: Record) -> None:
    """Print one line of JSON for the process that asked."""
    print(json.dumps(content), flush=True)


def samples(batch: int, shape: tuple[int, ...], kind: str) -> Array:
    """Return synthetic inputs, the same for both builds."""
    last = len(shape) == 3 and shape[-1] in (1, 3, 4)  # channels come last
    if len(shape) != 3:
        return np.random.default_rng(0).normal(size=(batch, *shape)).astype(kind)
    made = images(batch, 0, (shape[-1], *shape[:-1]) if last else shape)
    made = np.moveaxis(made, 1, -1) if last else made
    if np.issubdtype(np.dtype(kind), np.integer):
        made = (made + BOX) * (255 / (2 * BOX))
    return np.ascontiguousarray(made.astype(kind))


# -- in the process that compares


class Build:
    """The process of one build for one case.

    Args:
        root: The checkout.
        case: What it explains.
        result: The file that it writes the relevance to.
        threads: How many threads its sessions have; 0 for as many as there are processors.
    """

    def __init__(self, root: Path, case: Case, result: Path, threads: int) -> None:
        self.root = root
        outside = os.environ | {"PYTHONPATH": str(root), "ONNXLRP_CACHE": str(result.with_suffix(".cache"))}
        command = [sys.executable, "-W", "ignore", __file__, "--serve"]
        for last in (False, True) if case.kept else (True,):  # the first one leaves what the second takes
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=outside
            )
            self.about = self.ask(
                [str(case.path), case.method, case.batch, case.targets, case.kept, str(result), threads]
            )
            if not last:
                self.close()

    def ask(self, what: Any) -> Record:
        """Send a line and return the answer."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the build in {self.root} ended")
        answer: Record = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compared(case: Case, before: Path, after: Path, rounds: int, threads: int) -> Record:
    """Return one case: how far the relevance is apart, and the times and peaks of both."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.npy" for name in ("before", "after")}
        roots = {"before": before, "after": after}
        builds = {name: Build(root, case, files[name], threads) for name, root in roots.items()}
        try:
            maps = {name: np.load(path) for name, path in files.items()}
            once = {name: build.ask(1)["wall"] for name, build in builds.items()}
            repeats = math.ceil(LEAST / max(*once.values(), 1e-6))
            taken: dict[str, list[Record]] = {name: [] for name in builds}
            for n in range(rounds):
                for name in sorted(builds, reverse=bool(n % 2)):
                    taken[name].append(builds[name].ask(repeats))
        finally:
            for build in builds.values():
                build.close()
    record: Record = {"model": case.path.stem, **case._asdict(), "apart": apart(maps["after"], maps["before"])}
    del record["path"]
    for clock in ("processor", "wall"):
        pairs = [(a[clock], b[clock]) for a, b in zip(taken["after"], taken["before"], strict=True)]
        record[clock] = {
            "ratio": median(a / b for a, b in pairs),
            "of least": min(a for a, _ in pairs) / min(b for _, b in pairs),
            "before ms": [round(1e3 * b, 3) for _, b in pairs],
            "after ms": [round(1e3 * a, 3) for a, _ in pairs],
        }
    for key in ("peak MB", "first"):
        record[key] = {name: round(build.about[key], 3) for name, build in builds.items()}
    record["ok"] = record["apart"]["l2"] <= CLOSE
    return record


def apart(ours: Array, other: Array) -> Record:
    """Return relative L2 and the largest difference relative to max|other|."""
    if ours.shape != other.shape:
        return {"l2": math.inf, "max": math.inf, "equal": False}
    a, b = ours.astype(np.float64), other.astype(np.float64)
    size, largest = float(np.linalg.norm(b)) or 1.0, float(np.abs(b).max()) or 1.0
    difference = np.abs(a - b)
    return {
        "l2": float(np.linalg.norm(difference)) / size,
        "max": float(difference.max()) / largest,
        "equal": bool(np.array_equal(ours, other)),
    }


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """The files that are given and the networks that are named, under each method, batch and number of targets."""
    paths = list(given.model or ())
    for network in given.networks:
        path = given.cache / f"{network}.onnx"
        if not path.exists():
            import networks

            networks.export(network, given.cache)
        paths.append(path)
    for path in paths:
        for method in given.methods:
            for batch in given.batches:
                yield from (Case(path, method, batch, targets, given.kept) for targets in given.targets)


def line(record: Record) -> str:
    """A record as a line of the table."""
    sizes = record["peak MB"]
    return (
        f"{record['model'][:36]:<36} {record['method']:<26} {record['batch']:>5} {record['targets'] or '-':>7} "
        f"{record['processor']['ratio']:>9.3f} {record['processor']['of least']:>9.3f} {record['wall']['ratio']:>6.3f} "
        f"{sizes['after'] / sizes['before']:>6.3f} {record['apart']['l2']:>8.1e} {'yes' if record['ok'] else 'NO':>5}"
    )


def header() -> str:
    """Return the head of the table."""
    return (
        f"{'model':<36} {'method':<26} batch targets processor  of least   wall   peak {'l2':>8} valid\n"
        "ratios to the build before"
    )


def revision(root: Path) -> str:
    """Return the commit of a checkout, "" where it has none."""
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if re.fullmatch(r"[0-9a-f]{40}\s*", done.stdout) else ""


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("before", type=checkout, help="a checkout of the build to compare with")
    parser.add_argument("--after", type=Path, default=HERE.parent, help="the other checkout; this one by default")
    parser.add_argument("--model", type=Path, action="append", help="an ONNX file; repeatable")
    parser.add_argument("--networks", type=words, default=[], help="comma-separated: " + ", ".join(NETWORKS))
    parser.add_argument("--methods", type=words, default=list(METHODS))
    parser.add_argument("--batches", type=numbers, default=[1, 8])
    parser.add_argument(
        "--targets", type=numbers, default=[0], help="classes of each sample; 0 for one, without an axis"
    )
    parser.add_argument("--kept", action="store_true", help="measure what the second command takes from the cache")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--threads", type=int, default=0, help="of a session; 1 on a busy machine, where others would spin"
    )
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "onnxlrp-bench")
    parser.add_argument("--add", action="store_true", help="keep the other cases of the file, as they were measured")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "builds.json")
    given = parser.parse_args()
    if unknown := [name for name in given.networks if name not in NETWORKS]:
        parser.error(f"no such network: {', '.join(unknown)}")
    if not given.model and not given.networks:
        given.networks = list(NETWORKS)
    return given


def main() -> int:
    """Compare, time and measure, and print the table."""
    if "--serve" in sys.argv:
        serve()
        return 0
    given = arguments()
    about: Record = environment(("onnxruntime", "onnx", "numpy"))
    about["builds"] = {"before": revision(given.before), "after": revision(given.after)}
    about |= {"rounds": given.rounds, "threads": given.threads or about["cores"]}
    records: list[Record] = []
    old = json.loads(given.json.read_text())["records"] if given.add and given.json.exists() else []
    print(header(), flush=True)
    for case in cases(given):
        record = {
            **compared(case, given.before.resolve(), given.after.resolve(), given.rounds, given.threads),
            "meta": about,
        }
        records.append(record)
        print(line(record), flush=True)
        keys = ("model", "method", "batch", "targets", "kept")
        mine = {tuple(r.get(key, False) for key in keys) for r in records}
        kept = [r for r in old if tuple(r.get(key, False) for key in keys) not in mine]
        save(given.json, {"records": kept + records})
    print(f"wrote {given.json}")
    return 0 if all(record["ok"] for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
