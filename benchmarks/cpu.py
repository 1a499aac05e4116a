"""Cost of a heatmap on the CPU, in forward passes: onnxruntime, this package, zennit, torch, in one run.

    python benchmarks/cpu.py                                          # everything, about half an hour on 2 cores
    python benchmarks/cpu.py --networks resnet50 --batches 1 --rounds 5 --no-memory
    python benchmarks/cpu.py --model my.onnx                          # without torch: this package alone

First every case is validated, then timed, then its memory is measured; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import gettempdir
from typing import Any

import contenders
import numpy as np
import peak
from contenders import CONTENDERS, PRESETS, Array, Case
from records import Record, environment, numbers, save, words

HERE = Path(__file__).parent
NETWORKS = ("resnet50", "vgg16", "mobilenetv2")  # as in networks.py, which needs torch
LEAST = 0.05  # seconds that a contender runs in each round: shorter ones repeat
# Multiples of the forward pass at batch 1 that this package aims at.
AIMS = {
    ("resnet50", "epsilon_plus_flat"): 4.0,
    ("vgg16", "epsilon_plus_flat"): 3.3,
    ("mobilenetv2", "epsilon_plus_flat"): 6.0,
    ("resnet50", "epsilon_gamma_box"): 5.0,
    ("vgg16", "epsilon_gamma_box"): 3.6,
}


# -- validation


def distance(ours: Array, other: Array) -> dict[str, float]:
    """Relative L2 and largest error relative to max|other|."""
    a, b = ours.astype(np.float64), other.astype(np.float64)
    return {"l2": float(np.linalg.norm(a - b) / np.linalg.norm(b)), "max": float(np.abs(a - b).max() / np.abs(b).max())}


def validate(case: Case, batch: int, with_zennit: bool, deep: bool) -> Record:
    """This package against the forward pass, against itself at batch 1, and against zennit.

    Passes when the scores agree to 1e-4, the rows of a batch to 1e-3, and relevance is within 1e-4 of zennit's in
    relative L2; where it is not, or with `deep`, zennit in float64 decides: within 3 times zennit's own error, or 1e-4.
    """
    x = case.inputs(batch)
    with contenders.forward(case) as forward:
        scores = forward(x, x)
    ids = target(scores)
    with contenders.ours(case) as ours:
        outputs = ours(x, ids)
        relevance = outputs["relevance"]
        alone = np.concatenate([ours(x[n : n + 1], ids[n : n + 1])["relevance"] for n in range(batch)])
    logits = outputs["logits"].reshape(batch, -1)
    share = relevance.reshape(batch, -1).sum(1) / np.take_along_axis(logits, ids[:, None], 1)[:, 0]
    record: Record = {
        "sum over logit": float(median(share)),
        "scores": distance(outputs["scores"], scores),
        "rows": distance(relevance, alone),
    }
    ok = record["scores"]["max"] < 1e-4 and record["rows"]["l2"] < 1e-3
    if with_zennit:
        with contenders.zennit(case) as zennit:
            theirs = zennit(x, ids)
        record["zennit"] = distance(relevance, theirs)
        close = record["zennit"]["l2"] < 1e-4
        if deep or not close:
            with contenders.zennit(case, double=True) as zennit:
                exact = zennit(x[:1], ids[:1])  # one row says it: the rows were compared above
            mine, own = distance(relevance[:1], exact), distance(theirs[:1], exact)
            record["float64"] = {"ours": mine, "zennit": own}
            close = mine["l2"] < max(1e-4, 3 * own["l2"])
        ok = ok and close
    elif deep:
        with contenders.reference(case) as reference:
            record["reference"] = distance(relevance, reference(x, ids))
        ok = ok and record["reference"]["l2"] < 1e-2
    return record | {"ok": ok}


def target(scores: Array) -> Array:
    """The best class of every sample, which all contenders explain."""
    return np.asarray(scores.reshape(len(scores), -1).argmax(1), np.int64)


# -- time


def timed(case: Case, batch: int, names: list[str], rounds: int, slow_rounds: int) -> dict[str, Record]:
    """Interleaved rounds in one process; medians, and medians of the ratios to the same round's forward pass.

    zennit and torch take part in `slow_rounds` of the rounds.
    """
    x = case.inputs(batch)
    times: dict[str, dict[int, float]] = {name: {} for name in names}
    every = max(1, rounds // max(1, slow_rounds))
    with ExitStack() as stack:
        runs = {name: stack.enter_context(CONTENDERS[name](case)) for name in names}
        ids = target(runs["forward"](x, x))
        repeats: dict[str, int] = {}
        for name, run in runs.items():  # twice to warm up; the second decides how often it repeats in a round
            run(x, ids)
            repeats[name] = math.ceil(LEAST / max(_seconds(run, x, ids, 1), 1e-6))
        for n in range(rounds):
            for name, run in runs.items():
                if name not in ("zennit", "torch") or n % every == 0:
                    times[name][n] = _seconds(run, x, ids, repeats[name])
    forward = times["forward"]
    return {
        name: {
            "ms": 1e3 * median(taken.values()),
            "forwards": median(t / forward[n] for n, t in taken.items()),
            "rounds": [round(1e3 * t, 3) for t in taken.values()],
        }
        for name, taken in times.items()
    }


def _seconds(run: Callable[[Array, Array], Any], x: Array, ids: Array, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run(x, ids)
    return (time.perf_counter() - start) / repeats


# -- the run


def installed(*modules: str) -> bool:
    """Return whether all of these modules are installed."""
    return all(importlib.util.find_spec(module) for module in modules)


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """The named networks, made where they are missing, or the given files."""
    if given.model:
        yield from (Case(path, preset) for path in given.model for preset in given.presets)
        return
    for network in given.networks:
        path = given.cache / f"{network}.onnx"
        if installed("torch"):
            import networks

            networks.export(network, given.cache)
        elif not path.exists():
            sys.exit(f"{path} is missing and torch, which makes it, is not installed\nfix: --model PATH.onnx")
        twin = network if installed("torch") else ""
        yield from (Case(path, preset, twin, given.cache) for preset in given.presets)


def measure(given: argparse.Namespace) -> Iterator[Record]:
    """A record for each network, preset and batch."""
    peaks: dict[tuple[str, Path, int, str], peak.Peak] = {}
    met: set[Path] = set()
    smallest = "mobilenetv2" if "mobilenetv2" in given.networks else given.networks[0]
    for case in cases(given):
        with_zennit = bool(case.network) and installed("zennit") and not given.no_zennit
        twin = [name for name, there in (("torch", bool(case.network)), ("zennit", with_zennit)) if there]
        for batch in given.batches:
            start = time.perf_counter()
            deep = given.deep or (batch == 1 and case.network == smallest)
            record: Record = {"network": case.label, "preset": case.preset, "batch": batch}
            record["valid"] = validate(case, batch, with_zennit, deep)
            names = ["forward", "ours", *twin]
            if case.path not in met and batch == given.batches[0]:  # the public face, once a network
                names.append("explain")
                met.add(case.path)
            record["time"] = timed(case, batch, names, given.rounds, given.slow_rounds)
            record["aim"] = AIMS.get((case.label, case.preset)) if batch == 1 else None
            if not given.no_memory:
                record["memory"] = memory(case, batch, ["forward", "ours", *twin], peaks)
            record["seconds"] = round(time.perf_counter() - start, 1)
            yield record


def memory(case: Case, batch: int, names: list[str], peaks: dict[tuple[str, Path, int, str], peak.Peak]) -> Record:
    """The peak of each contender in a process of its own; `peaks` has those that were measured before."""
    found: Record = {}
    for name in names:
        key = (name, case.path, batch, case.preset if name in ("ours", "zennit") else "")
        if key not in peaks:
            peaks[key] = peak.measure("alone" if name == "ours" else name, case, batch)
        found[name] = peaks[key]
    return found


def memory_again(given: argparse.Namespace) -> None:
    """The cases of a file that was written before, their memory measured anew."""
    about = json.loads(given.json.read_text())
    known = {(r["network"], r["preset"], r["batch"]): r for r in about["records"]}
    peaks: dict[tuple[str, Path, int, str], peak.Peak] = {}
    for case in cases(given):
        for batch in given.batches:
            record = known.get((case.label, case.preset, batch))
            if record:
                record["memory"] = memory(case, batch, list(record["memory"]), peaks)
                print(line(record), flush=True)
    save(given.json, about)


def meta(given: argparse.Namespace) -> Record:
    """Return the machine, the versions, the date and the number of rounds."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        **environment(("onnxlrp", "onnxruntime", "onnx", "numpy", "torch", "zennit")),
        "cpu": model or platform.processor(),
        "load before": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "rounds": given.rounds,
        "slow rounds": given.slow_rounds,
    }


# -- the table

COLUMNS = (
    ("network", 12), ("batch", 5), ("preset", 26), ("forward ms", 10), ("ours ms", 8), ("ours/fwd", 8), ("aim", 5),
    ("zennit/fwd", 10), ("torch/fwd", 9), ("l2 to zennit", 12), ("MB fwd/ours/zennit", 19), ("valid", 6),
)  # fmt: skip


def header() -> str:
    """Return the head of the table."""
    return " ".join(f"{name:<{width}}" if width > 8 else f"{name:>{width}}" for name, width in COLUMNS)


def line(record: Record) -> str:
    """A record as a line of the table."""
    times, valid, memory = record["time"], record["valid"], record.get("memory", {})

    def of(name: str, key: str, form: str) -> str:
        return format(times[name][key], form) if name in times else "-"

    sizes = "/".join(_size(memory.get(name)) for name in ("forward", "ours", "zennit"))
    cells = (
        record["network"], record["batch"], record["preset"], of("forward", "ms", ".1f"), of("ours", "ms", ".1f"),
        of("ours", "forwards", ".2f"), record["aim"] or "", of("zennit", "forwards", ".1f"),
        of("torch", "forwards", ".1f"), f"{valid['zennit']['l2']:.1e}" if "zennit" in valid else "-", sizes,
        "yes" if valid["ok"] else "NO",
    )  # fmt: skip
    padded = (
        f"{cell:<{width}}" if width > 8 else f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)
    )
    return " ".join(padded)


def _size(found: Mapping[str, float | None] | None) -> str:
    value = (found or {}).get("peak MB")
    return "-" if value is None else f"{value:.0f}"


def notes(records: list[Record]) -> Iterator[str]:
    """What the table has no room for: float64 errors, the cost of the public face, what failed."""
    for r in records:
        name, valid, times = f"{r['network']} b{r['batch']} {r['preset']}", r["valid"], r["time"]
        if "float64" in valid:
            ours, own = valid["float64"]["ours"], valid["float64"]["zennit"]
            yield (
                f"{name}: against zennit in float64 ours {ours['l2']:.1e} (max {ours['max']:.1e}), "
                f"zennit in float32 {own['l2']:.1e} (max {own['max']:.1e})"
            )
        if "reference" in valid:
            yield f"{name}: against our float64 reference {valid['reference']['l2']:.1e}"
        if "explain" in times:
            extra = times["explain"]["ms"] - times["ours"]["ms"]
            yield f"{name}: Model.explain {times['explain']['ms']:.1f} ms, {extra:+.1f} ms over the session alone"
        if not valid["ok"]:
            yield f"{name}: NOT VALID {json.dumps(valid)}"


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--networks", type=words, default=list(NETWORKS), help="comma-separated: " + ", ".join(NETWORKS)
    )
    parser.add_argument("--model", type=Path, action="append", help="an ONNX file in place of the networks; repeatable")
    parser.add_argument("--batches", type=numbers, default=[1, 8])
    parser.add_argument("--presets", type=words, default=list(PRESETS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slow-rounds", type=int, default=5, help="rounds in which zennit and torch take part")
    parser.add_argument("--deep", action="store_true", help="validate every case against float64")
    parser.add_argument("--no-zennit", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-again", action="store_true", help="measure that alone, for the cases that --json has")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "onnxlrp-bench")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "cpu.json")
    given = parser.parse_args()
    unknown = [name for name in given.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"no such network: {', '.join(unknown)}")
    return given


def main() -> int:
    """Validate, time and measure, and print the table."""
    given = arguments()
    if given.memory_again:
        memory_again(given)
        return 0
    about, records = meta(given), []
    print(header(), flush=True)
    for record in measure(given):
        records.append(record)
        print(line(record), flush=True)
        save(given.json, {"meta": about, "records": records})
    print(*notes(records), f"wrote {given.json}", sep="\n")
    return 0 if all(record["valid"]["ok"] for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
