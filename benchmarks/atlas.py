"""Pictures per second of an atlas (ActMax and RelMax of all convolutions), beside zennit-crp on the same weights.

    python benchmarks/atlas.py squeezenet.onnx photos/ [--pictures 64,256] [--batch 8] [-o results/atlas.json]

Pictures are crops of the photographs, drawn by a seed. Each contender runs in a process of its own, once on a few
pictures to warm up, then timed; both read the same files by the same preprocessing and keep 40 samples of a unit.
Validated in the same run: the values of both, and the samples. Processor time is what counts on a busy machine.
Needs torch, zennit and zennit-crp; what these import for figures alone may be missing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from records import Record, environment, numbers, save

import onnxlrp

HERE = Path(__file__).parent
TOP, WARM = 40, 8
METHOD = "epsilon_plus_flat"


def crops(photos: Path, folder: Path, count: int, side: int = 224) -> None:
    """Write crops of photographs as PNG files."""
    from PIL import Image

    files = sorted(p for p in photos.iterdir() if p.suffix.lower() in (".jpg", ".png") and "mask" not in p.stem)
    rng = np.random.default_rng(0)
    for n in range(count):
        with Image.open(files[n % len(files)]) as opened:
            photo = opened.convert("RGB")
        width = int(min(photo.size) * rng.uniform(0.5, 1))
        left, top = (int(rng.integers(0, length - width + 1)) for length in photo.size)
        piece = photo.crop((left, top, left + width, top + width)).resize((side, side))
        piece.save(folder / f"{n:05}.png", compress_level=1)


def ours(path: Path, folder: Path, warm: Path, out: Path, batch: int) -> Record:
    """Collect with this package."""
    from onnxlrp.analysis import Atlas

    model = onnxlrp.load(path)
    layers = "|".join(re.escape(layer.path or layer.name) for layer in model.graph.layers if layer.op == "Conv")
    how: Record = {"method": METHOD, "layers": layers, "top": TOP, "batch_size": batch, "formats": ()}
    Atlas.build(model, warm, out / "warm", **how)
    clock = time.perf_counter(), time.process_time()
    atlas = Atlas.build(model, folder, out / "atlas", **how)
    seconds = time.perf_counter() - clock[0], time.process_time() - clock[1]
    found: Record = {}
    for n, layer in enumerate(atlas.layers):
        for by, top in layer.tops.items():
            found |= {f"{n}/{by}/values": top.values, f"{n}/{by}/samples": top.samples}
    np.savez(out / "ours.npz", **found)
    return {"seconds": seconds[0], "processor seconds": seconds[1]}


def crp(path: Path, folder: Path, warm: Path, out: Path, batch: int) -> Record:
    """Collect with zennit-crp, the network as modules of torch."""
    from torch_twin import without_figures

    without_figures()
    import torch
    from crp.attribution import CondAttribution
    from crp.concepts import ChannelConcept
    from crp.visualization import FeatureVisualization
    from torch_twin import twin
    from zennit.composites import EpsilonPlusFlat

    reader = onnxlrp.load(path)
    net, convolutions = twin(path)
    # zennit-crp is told the class of each picture: the model's own best, as of ours.
    best = {}
    with torch.no_grad():
        for file in (file for place in (warm, folder) for file in sorted(place.iterdir())):
            best[file] = int(net(torch.tensor(reader.read(file).values)).argmax())

    class Files:
        def __init__(self, place: Path) -> None:
            self.files = sorted(place.iterdir())

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return torch.tensor(reader.read(self.files[index]).values[0]), best[self.files[index]]

    def collect(place: Path, target: Path) -> Any:
        layers = {name: ChannelConcept() for name in convolutions}
        files = Files(place)
        made = FeatureVisualization(CondAttribution(net), files, layers, path=str(target), device="cpu")
        made.ActMax.abs_norm = False
        with contextlib.redirect_stdout(io.StringIO()):
            made.run(EpsilonPlusFlat(), 0, len(files), batch, len(files))
        return made

    collect(warm, out / "warm-crp")
    clock = time.perf_counter(), time.process_time()
    made = collect(folder, out / "crp")
    seconds = time.perf_counter() - clock[0], time.process_time() - clock[1]
    found: Record = {}
    for n, name in enumerate(convolutions):
        for by, kept in (("activation", made.ActMax), ("relevance", made.RelMax)):
            samples, values, _ = kept.load(name) if hasattr(kept, "load") else _loaded(kept, name)
            found |= {f"{n}/{by}/values": np.asarray(values).T, f"{n}/{by}/samples": np.asarray(samples).T}
    np.savez(out / "crp.npz", **found)
    return {"seconds": seconds[0], "processor seconds": seconds[1]}


def _loaded(kept: Any, name: str) -> tuple[Any, Any, Any]:
    files = [np.load(kept.PATH / f"{name}_{word}.npy") for word in ("data", "rel", "rf")]
    return files[0], files[1], files[2]


def in_child(who: str, *words: object) -> Record:
    """Run a contender in a process of its own; its seconds and peak memory."""
    command = [sys.executable, "-W", "ignore", __file__, "--child", who, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: Record = json.loads(done.stdout.splitlines()[-1])
    return found


def peak() -> float:
    """Return the largest resident size of this process so far in MB (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def agreement(out: Path) -> Record:
    """Compare what both kept: the largest difference of values, and the share of equal samples in the first nine."""
    first, second = np.load(out / "ours.npz"), np.load(out / "crp.npz")
    differences, equal = [], []
    for key in (key for key in first.files if key.endswith("/values")):
        a, b = first[key], second[key]
        kept = min(a.shape[1], b.shape[1])
        a, b = a[:, :kept], b[:, :kept]
        there = np.isfinite(a)
        differences.append(float(np.abs(a - b)[there].max() / np.abs(a[there]).max()))
        samples = (file[key.replace("values", "samples")][:, : min(9, kept)] for file in (first, second))
        equal.append(float(np.mean(np.equal(*samples))))
    if max(differences) > 1e-3:
        raise SystemExit(f"values differ by {max(differences):.2g} of the largest: not compared")
    return {"largest difference of values": max(differences), "equal samples": float(np.mean(equal))}


def main() -> None:
    """Write the crops, validate and time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pictures", type=numbers, default=[64, 256], help="the first is for both, others for ours")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "atlas.json")
    args = parser.parse_args()
    rows: list[Record] = []
    about = environment(["onnxlrp", "onnxruntime", "torch", "zennit", "zennit-crp"])
    about |= {"model": args.model.name, "method": METHOD, "samples of a unit": TOP, "rows": rows}
    with tempfile.TemporaryDirectory() as made:
        work = Path(made)
        (work / str(WARM)).mkdir()
        crops(args.photos, work / str(WARM), WARM)
        for n, count in enumerate(args.pictures):
            (work / str(count)).mkdir(exist_ok=True)
            crops(args.photos, work / str(count), count)
            words = (args.model, work / str(count), work / str(WARM), work, args.batch)
            row: Record = {"pictures": count, "batch": args.batch, "onnxlrp": in_child("ours", *words)}
            if n == 0:
                row |= {"zennit-crp": in_child("crp", *words), **agreement(work)}
                for key in ("seconds", "processor seconds"):
                    row[f"{key}, zennit-crp / onnxlrp"] = row["zennit-crp"][key] / row["onnxlrp"][key]
            row["pictures per second"] = count / row["onnxlrp"]["seconds"]
            rows.append(row)
            print(json.dumps(row), flush=True)
            save(args.out, about)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        who, model, folder, warm, out, size = sys.argv[2:]
        run = {"ours": ours, "crp": crp}[who]
        result = run(Path(model), Path(folder), Path(warm), Path(out), int(size))
        print(json.dumps({**result, "peak MB": peak()}))
    else:
        main()
