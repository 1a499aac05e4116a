"""A folder of JPEGs explained by the command, beside a loop of torch and zennit, decoding alone and computing alone.

    python benchmarks/streams.py squeezenet1.1.onnx                    # writes benchmarks/results/streams.json
    python benchmarks/streams.py squeezenet1.1.onnx --pictures 64 --rounds 1 --memory 200,400 -o /tmp/streams.json

The pictures are made by the script. All contenders read the same files by the same preprocessing, in threads, in
batches of the same size, and write a compressed file of arrays for each, but for those that stop before: `decoding`
reads only, `computing` explains batches that were read before. Each is a process of its own, timed from start to end,
imports and compilation included; they take turns, and ratios are taken within a round. Validated first: the relevance
of the first pictures in the files of both, relative L2 at most 1e-3.

Memory is the largest resident size (VmHWM) of the command on `models/digits.onnx` and so many small pictures.
Without torch and zennit, or with --no-zennit, their loop is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image
from records import Record, environment, numbers, save

import onnxlrp
from onnxlrp.cli import main as command
from onnxlrp.streaming.batches import Rejected, batches, joined
from onnxlrp.streaming.sources import files

HERE = Path(__file__).parent
DIGITS = HERE.parent / "models" / "digits.onnx"
PREP = "imagenet"
METHOD = "epsilon_plus_flat"  # the default of pictures, as zennit has it
CHECKED, CLOSE = 8, 1e-3


def make(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs of smooth noise, height and width as given or up to a quarter less."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(count):
        height, width = (int(rng.integers(3 * side // 4, side + 1)) for side in size)
        coarse = rng.integers(0, 256, size=(max(2, height // 24), max(2, width // 24), 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(
            folder / f"{n:06}.jpg", quality=90
        )


def read(model: Any, folder: Path, size: int) -> Iterator[Any]:
    """Yield the samples of a folder in batches, read ahead in threads."""
    for batch in batches(files([str(folder)]), [model], size):
        assert not isinstance(batch, Rejected)
        yield joined(batch, [model])[0]


def ours(path: Path, folder: Path, out: Path, batch: int) -> None:
    """Explain by the command."""
    words = ["explain", str(path), str(folder), "-o", f"{out}/", "--format", "npz", "--batch-size", str(batch), "-q"]
    assert command(words if path == DIGITS else [*words, "--prep", PREP]) == 0


def decoding(path: Path, folder: Path, out: Path, batch: int) -> None:
    """Read alone."""
    for _ in read(onnxlrp.load(path, prep={"prep": PREP}), folder, batch):
        pass


def computing(path: Path, folder: Path, out: Path, batch: int) -> None:
    """Explain the first batch again and again, and write nothing."""
    model = onnxlrp.load(path, prep={"prep": PREP})
    some = next(read(model, folder, batch))
    left = len(list(folder.iterdir()))
    while left > 0:
        model.explain(some[: min(left, len(some))], ledger=True)
        left -= batch


def zennit(path: Path, folder: Path, out: Path, batch: int) -> None:
    """Explain the model's best class by zennit's rules on the same weights, and write the same arrays."""
    import torch
    from torch_twin import twin, without_figures

    without_figures()
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlusFlat

    net, _ = twin(path)
    out.mkdir(parents=True, exist_ok=True)
    with Gradient(net, EpsilonPlusFlat()) as attribute:
        for samples in read(onnxlrp.load(path, prep={"prep": PREP}), folder, batch):
            best: list[Any] = []

            def seed(scores: Any, best: list[Any] = best) -> Any:
                best.append(scores.detach().argmax(1))
                return scores * torch.nn.functional.one_hot(best[0], scores.shape[1])

            scores, relevance = attribute(torch.tensor(samples.values), seed)
            for n, name in enumerate(samples.names):
                arrays = {"relevance": relevance[n : n + 1].numpy(), "output": scores[n : n + 1].detach().numpy()}
                np.savez_compressed(out / f"{name}.{int(best[0][n])}.npz", allow_pickle=False, **arrays)


CONTENDERS = {"onnxlrp": ours, "decoding": decoding, "computing": computing, "zennit": zennit}


def resident() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    return next(int(x.split()[1]) << 10 for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)


def timed(name: str, path: Path, folder: Path, out: Path, batch: int) -> Record:
    """Run a contender in a process of its own; return its seconds and its largest resident size."""
    words = [sys.executable, __file__, "--one", name, str(path), str(folder), str(out), str(batch)]
    start = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()[-2000:]}")
    return {"seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def apart(mine: Path, other: Path) -> float:
    """Return the largest relative L2 of relevance between the files of one folder and those of another."""
    found = []
    for file in sorted(other.glob("*.npz")):
        with np.load(mine / file.name) as a, np.load(file) as b:
            ours, theirs = (np.ravel(x["relevance"]).astype(np.float64) for x in (a, b))
        found.append(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    return float(max(found))


def speed(path: Path, given: argparse.Namespace, folder: Path, names: list[str]) -> Record:
    """Validate, then time the contenders in turns."""
    some, all_of_them = folder / "some", folder / "all"
    make(some, CHECKED, (500, 400))
    make(all_of_them, given.pictures, (500, 400))
    found: Record = {"pictures": given.pictures, "batch": given.batch}
    if "zennit" in names:
        for name in ("onnxlrp", "zennit"):
            timed(name, path, some, folder / f"some-{name}", given.batch)
        found["relative L2"] = apart(folder / "some-onnxlrp", folder / "some-zennit")
        found["valid"] = found["relative L2"] <= CLOSE
    rounds = []
    for n in range(given.rounds):
        rounds.append({name: timed(name, path, all_of_them, folder / f"{n}-{name}", given.batch) for name in names})
        print(json.dumps({name: round(one["seconds"], 2) for name, one in rounds[-1].items()}), flush=True)
    found["seconds"] = {name: [one[name]["seconds"] for one in rounds] for name in names}
    found["peak bytes"] = {name: max(one[name]["peak"] for one in rounds) for name in names}
    slower = [max(one[name]["seconds"] for name in ("decoding", "computing")) for one in rounds]
    pairs = list(zip(slower, rounds, strict=True))
    found["share of the slower"] = median(alone / one["onnxlrp"]["seconds"] for alone, one in pairs)
    if "zennit" in names:
        found["times zennit"] = median(one["zennit"]["seconds"] / one["onnxlrp"]["seconds"] for one in rounds)
    return found


def memory(counts: list[int], folder: Path, batch: int) -> Record:
    """Return the largest resident size of the command for so many small pictures."""
    found = {}
    make(folder / "first", batch, (28, 28))
    timed("onnxlrp", DIGITS, folder / "first", folder / "maps-first", batch)  # what is compiled is in the cache then
    for count in counts:
        make(folder / f"small-{count}", count, (28, 28))
        one = timed("onnxlrp", DIGITS, folder / f"small-{count}", folder / f"maps-{count}", batch)
        found[str(count)] = one["peak"]
        print(f"{count} pictures: {one['peak'] / 1e6:.1f} MB", flush=True)
    return {"peak bytes": found, "growth": max(found.values()) / min(found.values()) - 1}


def main() -> None:
    """Time the contenders and measure memory."""
    if sys.argv[1:2] == ["--one"]:
        name, path, folder, out, batch = sys.argv[2:]
        CONTENDERS[name](Path(path), Path(folder), Path(out), int(batch))
        print(json.dumps({"peak": resident()}))
        sys.stdout.flush()
        os._exit(0)
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path, help="SqueezeNet 1.1")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--memory", type=numbers, default=[1000, 20000], help="numbers of small pictures")
    parser.add_argument("--no-zennit", action="store_true")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "streams.json")
    given = parser.parse_args()
    names = [name for name in CONTENDERS if name != "zennit" or (not given.no_zennit and find_spec("zennit"))]
    with tempfile.TemporaryDirectory() as name:
        found = speed(given.model, given, Path(name), names)
        found["memory"] = memory(given.memory, Path(name), given.batch)
    facts = environment(("onnxlrp", "numpy", "onnxruntime", "pillow", "torch", "zennit"))
    save(given.out, {**facts, "load": os.getloadavg(), **found})
    keys = ("relative L2", "times zennit", "share of the slower")
    print(json.dumps({key: found[key] for key in keys if key in found} | {"growth": found["memory"]["growth"]}))
    if not found.get("valid", True):
        raise SystemExit("the relevance of the two is not the same")


if __name__ == "__main__":
    main()
