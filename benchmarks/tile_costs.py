"""Cost of a step of each tile of the product kernel on a multiprocessor, counted from its compiled loop: no GPU runs.

    python benchmarks/tile_costs.py [--json benchmarks/results/tile_costs.json]     # needs nvcc and cuobjdump

Estimates from counting, not measurements. For each instance of csrc/kernels/gemm_instances.cuh the instructions of one
step (16 channels at one tap, all of a block's warps) keep five units busy; the busiest of the first four is the cost
that onnxlrp/engines/cuda/kernels/tiles.py has, in cycles (there the fifth depends on the taps):

tensor   HMMA at 6.45 cycles of a quarter of the multiprocessor (m16n8k8 of TF32 at 62 % of the rate of wgmma)
issue    every instruction, one a cycle and quarter; the loop's two ways to copy are both counted
integer  what the integer unit runs, at half that rate
shared   wavefronts of 128 bytes, read and written
l2       the bytes that the step copies, at a multiprocessor's share of 5.5 TB/s, as if none were in the L1 cache
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onnxlrp.engines.cuda.kernels import build
from onnxlrp.engines.cuda.kernels.tiles import PRECISIONS, PROCESSORS, STEP, TILES, Precision, Tile

ARCHITECTURE = "90a"
HMMA = 6.45  # cycles
CLOCK, L2 = 1.7e9, 5.5e12  # cycles and bytes a second
INTEGER = {"IADD3", "VIADD", "LOP3", "LEA", "SHF", "SEL", "ISETP", "FSETP", "MOV", "PLOP3"}
WAVEFRONTS = {"128": 4, "64": 2}  # of a read by a warp


def sass(source: str) -> str:
    """The machine code of all kernels."""
    compiler, dump = build.nvcc(), _cuobjdump()
    if compiler is None or dump is None:
        raise SystemExit("needs nvcc and cuobjdump: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        text, made = Path(folder, "kernels.cu"), Path(folder, "kernels.cubin")
        text.write_text(source, "utf-8")
        target = f"arch=compute_{ARCHITECTURE},code=sm_{ARCHITECTURE}"
        subprocess.run([compiler, "-cubin", *build.FLAGS, "-gencode", target, str(text), "-o", str(made)], check=True)
        return subprocess.run([dump, "-sass", str(made)], capture_output=True, text=True, check=True).stdout


def _cuobjdump() -> str | None:
    beside = (Path(path) / "nvidia" / "cu13" / "bin" for path in sys.path)
    return shutil.which("cuobjdump") or next((c for p in beside if (c := shutil.which("cuobjdump", path=p))), None)


def instructions(text: str) -> dict[str, list[tuple[int, str]]]:
    """Address and text of the instructions of each kernel."""
    found = {}
    for part in text.split("Function : ")[1:]:
        lines = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", part, re.M)
        found[part.split()[0]] = [(int(address, 16), words) for address, words in lines]
    return found


def step(lines: Iterable[tuple[int, str]]) -> Counter[str]:
    """How often each instruction runs in a step, by a warp: the loop with the products; one inside it runs twice."""
    lines = list(lines)
    loops = []
    for address, words in lines:
        back = re.search(r"\bBRA\b.*?(0x[0-9a-f]+)$", words)
        if back and (begin := int(back[1], 16)) < address:
            inside = [w for a, w in lines if begin <= a <= address]
            if any("HMMA" in w for w in inside):
                loops.append(inside)
    counted: Counter[str] = Counter()
    for inside in loops:
        counted.update(re.sub(r"^@!?U?P\w+\s+", "", w).split()[0] for w in inside if not w.startswith("@!PT"))
    return counted


def units(counted: Mapping[str, int], tile: Tile, precision: Precision) -> dict[str, float]:
    """Cycles for which a block's step keeps each unit busy."""
    quarter = tile.threads(precision) / 32 / 4
    kinds: Counter[str] = Counter()
    wavefronts = 0
    for name, times in counted.items():
        kind, *suffixes = name.split(".")
        kinds[kind] += times
        if kind == "LDS":
            wavefronts += times * max((WAVEFRONTS.get(s, 1) for s in suffixes), default=1)
    copied = 4 * STEP * (tile.rows + tile.pixels)
    return {
        "tensor": HMMA * kinds["HMMA"] * quarter,
        "issue": sum(kinds.values()) * quarter,
        "integer": 2 * sum(kinds[kind] for kind in INTEGER) * quarter,
        "shared": wavefronts * quarter * 4 + copied / 128,
        "l2": copied * PROCESSORS * CLOCK / L2,
    }


def cost(found: Mapping[str, float]) -> int:
    """The busiest unit's of the multiprocessor, in tens of cycles."""
    return round(max(cycles for unit, cycles in found.items() if unit != "l2") / 10) * 10


def main() -> None:
    """Print the cost of each tile, and write the records as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    code = instructions(sass(build.source()))
    records: list[dict[str, Any]] = []
    for precision in PRECISIONS:
        for tile in TILES:
            name = tile.name(precision)
            counted = step(code[name])
            busy = units(counted, tile, precision)
            records.append({"kernel": name, "cost": cost(busy), "cycles": {k: round(v) for k, v in busy.items()},
                            "instructions of a warp": dict(sorted(counted.items()))})  # fmt: skip
            told = "  ".join(f"{unit} {cycles:5.0f}" for unit, cycles in busy.items())
            stale = "" if cost(busy) == tile.warp(precision).cost else f"  (tiles.py: {tile.warp(precision).cost})"
            print(f"{name:<20} {told}  cost {cost(busy)}{stale}")
    if path is not None:
        about = {"what": "an estimate from counting instructions, not a measurement", "architecture": ARCHITECTURE}
        path.write_text(json.dumps({"meta": about, "records": records}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
