"""An estimate of the CUDA engine's time on an H200, from counting alone: nothing runs, and no GPU is asked for.

    python benchmarks/estimate.py [--networks resnet50,vgg16,mobilenetv2] [--batches 1,16,64] [--precisions exact,fast]
                                  [--presets epsilon_plus,...] [--json benchmarks/results/estimate.json] [--launches]

For each launch of a program's plan the longest of: bytes of device memory at 4.3 TB/s; bytes that its blocks copy at
5.5 TB/s of the L2 cache; its steps on tensor cores, as tiles.py has counted their cycles; FLOP on CUDA cores at
67 TFLOP/s and integer divisions at 0.8 a picosecond; all of these slower where blocks are fewer than multiprocessors;
and what replaying one node of a graph takes, 1.7 µs. Summed by family of kernels, beside the floor of the same program
(floors.py, without its forward pass), which fuses what the plan may not.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contenders import Case, program
from floors import BANDWIDTH, RATES, floor, program_works

from onnxlrp.engines.cuda.kernels.launch import Launch
from onnxlrp.engines.cuda.kernels.tiles import PRECISIONS, PROCESSORS
from onnxlrp.engines.cuda.planning.cost_model import LaunchCost, launch_costs
from onnxlrp.engines.cuda.planning.schedule import Scheduler

NETWORKS = ("resnet50", "vgg16", "mobilenetv2")
PRESETS = ("epsilon_plus", "epsilon_plus_flat", "epsilon_gamma_box")
CLOCK, L2, CORES, DIVISIONS, NODE = 1.7e9, 5.5e12, RATES["FP32"], 0.8e12, 1.7e-6
FLOORS = {"exact": "3xTF32", "fast": "mma.sync TF32"}


def parts(one: LaunchCost) -> dict[str, float]:
    """Seconds that each unit is busy with a launch."""
    filled = min(1.0, one.blocks / PROCESSORS)
    found = {
        "memory": one.bytes / BANDWIDTH / filled,
        "l2": one.copied / L2 / filled,
        "divisions": one.divisions / DIVISIONS / filled,
        "launch": NODE,
    }
    if one.product is not None and one.tiling is not None:
        found["tensor"] = one.tiling.cycles(one.product, reduced=False) / CLOCK
        found.pop("l2")  # the cost of a tile has it
    else:
        found["cores"] = one.flop / CORES / filled
    return found


def launches(made: Any, batch: int, precision: str) -> Iterator[tuple[Launch, LaunchCost, dict[str, float]]]:
    """The launches of a program for a batch, what each moves, and for how long."""
    scheduler = Scheduler(made, precision)  # type: ignore[arg-type]
    schedule = scheduler.schedule(batch)
    for (_, launch), one in zip(schedule.launches, launch_costs(scheduler, schedule), strict=True):
        yield launch, one, parts(one)


def estimate(made: Any, batch: int, precision: str) -> dict[str, Any]:
    """Totals, and the same by family."""
    families: dict[str, dict[str, Any]] = {}
    for _, one, times in launches(made, batch, precision):
        bound = max(times, key=lambda unit: times[unit])
        for row in (families.setdefault(name, _row()) for name in (one.family, "all")):
            row["launches"] += 1
            row["GB"] += one.bytes / 1e9
            row["GB copied"] += one.copied / 1e9
            row["GFLOP"] += one.flop / 1e9
            row["ms"] += 1e3 * times[bound]
            row["ms by"][bound] = row["ms by"].get(bound, 0.0) + 1e3 * times[bound]
    works = list(program_works(made, batch))
    found = {
        "GB": sum(w.bytes for w in works) / 1e9,
        "ms memory": 1e3 * floor(works, RATES["memory"]),
        "ms": 1e3 * floor(works, RATES[FLOORS[precision]]),
    }
    total = families.pop("all")
    by_time = dict(sorted(families.items(), key=lambda entry: -entry[1]["ms"]))
    return {**_rounded(total), "floor": _rounded(found), "families": {k: _rounded(v) for k, v in by_time.items()}}


def _row() -> dict[str, Any]:
    return {"launches": 0, "GB": 0.0, "GB copied": 0.0, "GFLOP": 0.0, "ms": 0.0, "ms by": {}}


def _rounded(found: dict[str, Any]) -> dict[str, Any]:
    """To four digits, which is more than an estimate has."""
    return {
        k: _rounded(v) if isinstance(v, dict) else float(f"{v:.4g}") if isinstance(v, float) else v
        for k, v in found.items()
    }


def main() -> None:
    """Print the estimates, and write them as JSON."""
    from networks import default_cache, export

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--presets", default=",".join(PRESETS))
    parser.add_argument("--batches", default="1,16,64")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--launches", action="store_true", help="a line for each launch")
    given = parser.parse_args()
    records = []
    for network in given.networks.split(","):
        path = export(network, given.cache)[1]
        for preset in given.presets.split(","):
            made = program(Case(path, preset, network))[1]
            for batch in map(int, given.batches.split(",")):
                for precision in given.precisions.split(","):
                    found = estimate(made, batch, precision)
                    records.append({"network": network, "preset": preset, "batch": batch, "precision": precision})
                    records[-1] |= found
                    _print(records[-1])
                    for launch, one, times in launches(made, batch, precision) if given.launches else ():
                        unit = max(times, key=lambda name: times[name])
                        why = f"{1e6 * times[unit]:8.1f} µs by {unit:<9}"
                        what = f"{one.bytes / 1e6:8.1f} MB {one.flop / 1e9:7.2f} GFLOP {one.blocks:6} blocks"
                        print(f"    {launch.kernel:<34} {why} {what}")
    if given.json is not None:
        about = {"what": "an estimate from counting, not a measurement", "machine": "H200", "of": "the program alone"}
        given.json.write_text(json.dumps({"meta": about, "records": records}, indent=1) + "\n", "utf-8")


def _print(record: dict[str, Any]) -> None:
    counts = f"{record['launches']:4} launches {record['GB']:6.2f} GB {record['GFLOP']:6.0f} GFLOP"
    total = f"{counts} {record['ms']:7.3f} ms"
    least = record["floor"]
    floors = f"floor {least['ms']:.3g}, memory {least['ms memory']:.3g} ({least['GB']:.3g} GB)"
    print(f"{record['network']} {record['preset']} b{record['batch']} {record['precision']}: {total}   {floors}")
    for name, row in record["families"].items():
        why = " ".join(f"{unit} {ms:.3g}" for unit, ms in row["ms by"].items())
        print(f"    {name:<12} {row['launches']:4} {row['GB']:7.3f} GB {row['ms']:8.3f} ms: {why}")


if __name__ == "__main__":
    main()
