"""Localisation on photographs: energy inside box or mask against its share of the area.

    python benchmarks/localisation.py --data DATA                       # every model, every method; some minutes
    python benchmarks/localisation.py --data DATA --methods gradient --models squeezenet -o /tmp/a.json

DATA holds MANIFEST.json, which lists models and pictures with their ImageNet class, boxes and masks. A model must have
an object's class among its five best; else the object is listed and not counted. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from records import environment

import onnxlrp
from onnxlrp import files
from onnxlrp.errors import InputError, OnnxLrpError
from onnxlrp.methods.registry import make_composite
from onnxlrp.model import Model
from onnxlrp.preprocessing import Preprocessing
from onnxlrp.preprocessing.samples import Samples

HERE = Path(__file__).parent
METHODS = (
    "epsilon_plus_flat",
    "epsilon_plus",
    "epsilon_gamma_box",
    "epsilon_alpha2_beta1_flat",
    "deep_taylor_bounded",
    "gradient",
    "guided_backprop",
)
SENSITIVITIES = ("gradient", "guided_backprop")
"""Methods whose values are derivatives, whose sign says nothing about for or against: their energy is |R|."""
CENTRE = "centre"
"""The heatmap of nobody: a Gaussian in the middle, a quarter of the side wide. Photographers centre their objects."""
BEST = 5
IMAGENET = 1000
# The manifest says preprocessing in words; these are the words and what they mean.
WORDS: dict[str, dict[str, Any]] = {
    "x/255, then (x-mean)/std": {"scale": "1/255"},
    "x/127.5-1": {"prep": "-1-1"},
    "x/255, (x-0.5)/0.5; resize short side 248 bicubic, crop 224": {
        "prep": "-1-1",
        "crop": 224 / 248,
        "interpolation": "bicubic",
    },
    "0..255 as is (uint8)": {"prep": "0-255"},
}

Array = np.ndarray[Any, np.dtype[Any]]
Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Target:
    """One object on one picture: `label` is its ImageNet class, `region` [H, W] its pixels of the stored picture."""

    picture: Path
    label: int
    region: Array
    kind: str


@dataclass(frozen=True)
class Share:
    """Inside the region: the `energy` of a heatmap, None where it is silent, and the `area` of what the model sees."""

    energy: float | None
    area: float

    @property
    def ratio(self) -> float | None:
        """The ratio energy / area: 1 for an even heatmap, 1 / area for one that is all inside; None without energy."""
        return None if self.energy is None else self.energy / self.area


# -- the measure


def share(prep: Preprocessing, heat: Array, region: Array) -> Share:
    """The share of a heatmap's positive values, as the model sees the picture, on a region [H, W] of the whole picture.

    Both the heatmap and an even one are laid on the whole picture, so that what the crop cuts off counts for neither.
    Raises InputError where the model sees nothing of the region.
    """
    original = (region.shape[0], region.shape[1])
    energy = prep.map_to_original(np.maximum(heat, 0.0), original)
    even = prep.map_to_original(np.ones(prep.size), original)
    area = float((even * region).sum() / even.sum())
    if area == 0:
        raise InputError("the crop cuts the whole region off", "leave this picture out of MANIFEST.json")
    total = energy.sum()
    return Share(float((energy * region).sum() / total) if total > 0 else None, area)


def heatmap(relevance: Array, layout: str, sensitivity: bool) -> Array:
    """[H, W]: the sum of one sample's relevance over its channels, of |R| for a sensitivity."""
    values = np.abs(relevance) if sensitivity else relevance
    summed: Array = values.sum(axis=layout.index("C") - 1, dtype=np.float64) if "C" in layout else values
    return summed


def centred(size: tuple[int, int]) -> Array:
    """A Gaussian in the middle, a quarter of the side wide."""
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in size)
    gaussian: Array = np.exp(-(y[:, None] ** 2 + x**2) / (2 * 0.25**2))
    return gaussian


# -- models and pictures of the manifest


def manifest(data: Path) -> Record:
    """MANIFEST.json, parsed. Raises InputError."""
    path = data / "MANIFEST.json"
    files.check(path)
    try:
        found: Record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})", files.AGAIN) from None
    wanted = {"models": ("file", "classes", "layout", "preprocessing"), "images": ("file", "width", "height")}
    for kind, keys in wanted.items():
        missing = {key for entry in found.get(kind, ()) for key in keys if key not in entry}
        if kind not in found or missing:
            raise InputError(f"{path}: {kind} without {', '.join(sorted(missing)) or 'a list'}", files.AGAIN)
    return found


def objects(data: Path, pictures: Iterable[Record]) -> Iterator[Target]:
    """The pictures' objects: by their mask where there is one, else by the boxes [left, top, right, bottom]."""
    for entry in pictures:
        if "mask" in entry:
            region = np.asarray(Image.open(data / entry["mask"]).convert("L")) > 127
            yield Target(data / entry["file"], entry["imagenet_class"], region, "mask")
            continue
        for box in entry["boxes"]:
            left, top, right, bottom = box["xyxy"]
            region = np.zeros((entry["height"], entry["width"]), dtype=bool)
            region[top:bottom, left:right] = True
            yield Target(data / entry["file"], box["imagenet_class"], region, "box")


def flags(entry: Record) -> Record:
    """The preprocessing flags that a manifest's words stand for. Raises InputError for unknown words."""
    said = entry["preprocessing"]
    words = said.get("scale", "")
    if words not in WORDS:
        raise InputError(f"preprocessing in unknown words: {words!r}", f"add them to WORDS in {Path(__file__).name}")
    found = {key: said[key] for key in ("mean", "std") if key in said}
    return {**found, "color": said.get("channel_order", "RGB"), "layout": entry["layout"], **WORDS[words]}


def ranks(path: Path, samples: Samples, labels: Sequence[int]) -> list[int]:
    """The rank of each sample's class among the untouched model's scores, by onnxruntime alone; 1 is the best alone."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = []
    for x, label in zip(samples.values, labels, strict=True):
        scores = np.asarray(session.run(None, {name: x[np.newaxis]})[0]).reshape(-1)
        found.append(int((scores >= scores[label]).sum()))
    return found


# -- one model


def measure(path: Path, entry: Record, targets: Sequence[Target], methods: Sequence[str]) -> Record:
    """What one model was measured to be: counted and missed objects, and the shares of each method.

    Raises OnnxLrpError where the model is refused under every method.
    """
    model = onnxlrp.load(path, prep=flags(entry))
    refused = refusals(model, methods)
    able = [method for method in methods if method not in refused]
    if not able:
        raise refused[methods[0]]
    samples = model.read([target.picture for target in targets])
    for target, original in zip(targets, samples.originals, strict=True):
        if original is None or (original.height, original.width) != target.region.shape:
            raise InputError(f"{target.picture}: not of the size of its {target.kind}", files.AGAIN)
    background = model.classes - IMAGENET  # some models have a class 0 for none of the others
    ids = [target.label + background for target in targets]
    found = ranks(path, samples, ids)
    kept = [n for n, rank in enumerate(found) if rank <= BEST]
    seen = [targets[n] for n in kept]
    missed = [
        {"picture": t.picture.name, "class": t.label, "rank": rank}
        for t, rank in zip(targets, found, strict=True)
        if rank > BEST
    ]
    prep = model.preprocessing
    record: Record = {
        "model": path.stem,
        "preprocessing": prep.describe(),
        "counted": [
            {"picture": t.picture.name, "class": t.label, "rank": found[n], "region": t.kind}
            for n, t in zip(kept, seen, strict=True)
        ],
        "missed": missed,
        "refused methods": {method: error.message for method, error in refused.items()},
        "methods": {CENTRE: shares(prep, [centred(prep.size)] * len(seen), seen)},
    }
    for method in able if kept else ():
        e = model.explain([samples[n : n + 1] for n in kept], [ids[n] for n in kept], method, batch_size=4)
        maps = [heatmap(relevance, prep.layout, method in SENSITIVITIES) for relevance in e.relevance]
        record["methods"][method] = shares(prep, maps, seen)
    return record


def refusals(model: Model, methods: Iterable[str]) -> dict[str, OnnxLrpError]:
    """The methods that a model has no answer for, and why."""
    found: dict[str, OnnxLrpError] = {}
    for method in methods:
        try:
            model.prepare(method=method, target=0)
        except OnnxLrpError as error:
            found[method] = error
    return found


def shares(prep: Preprocessing, maps: Sequence[Array], targets: Sequence[Target]) -> Record:
    """Each object's share, and the medians over those with a heatmap that is not silent."""
    found = [share(prep, heat, target.region) for heat, target in zip(maps, targets, strict=True)]
    loud = [(s.energy, s.area, s.ratio) for s in found if s.energy is not None and s.ratio is not None]
    middle = [round(median(column), 4) for column in zip(*loud, strict=True)] if loud else [None] * 3
    return {
        "count": len(loud),
        "energy": middle[0],
        "area": middle[1],
        "ratio": middle[2],
        "pictures": [
            {"energy": None if s.energy is None else round(s.energy, 4), "area": round(s.area, 4)} for s in found
        ],
    }


# -- the table and the file


def table(records: Sequence[Record], methods: Sequence[str]) -> str:
    """Markdown: for each method and model the median of energy / area, and the median energy."""
    heads = [f"{r['model']} ({len(r['counted'])} of {len(r['counted']) + len(r['missed'])})" for r in records]
    rows = [["method", *heads], ["---"] * (1 + len(records))]
    for method in (*methods, CENTRE):
        rows.append([f"`{method}`" if method != CENTRE else "a Gaussian in the middle"])
        rows[-1] += [_cell(r, method) for r in records]
    bounds = [[1 / p["area"] for p in r["methods"][CENTRE]["pictures"]] for r in records]
    rows.append(["all inside", *(f"{median(b):.2f} (100 %)" if b else "-" for b in bounds)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(record: Record, method: str) -> str:
    if method in record["refused methods"]:
        return "refused"
    found = record["methods"].get(method)
    if found is None or found["ratio"] is None:
        return "-"
    silent = len(record["counted"]) - found["count"]
    return f"{found['ratio']:.2f} ({100 * found['energy']:.0f} %)" + (f", {silent} silent" if silent else "")


def run(data: Path, wanted: Sequence[str], methods: Sequence[str]) -> Record:
    """Every ImageNet model of the manifest whose name has one of the wanted words; what is refused, and why.

    Raises InputError, UsageError.
    """
    for method in methods:
        make_composite(method)  # an unknown name is no refusal
    listed = manifest(data)
    targets = list(objects(data, listed["images"]))
    records, refused = [], {}
    for entry in listed["models"]:
        path = data / entry["file"]
        if not entry["classes"].startswith("ImageNet") or not any(word in path.stem for word in wanted):
            continue
        try:
            records.append(measure(path, entry, targets, methods))
        except OnnxLrpError as error:
            refused[path.stem] = error.message
    about = environment(("onnxlrp", "onnxruntime", "numpy"))
    return {
        "meta": {
            **{key: about[key] for key in ("date", "versions")},
            "best": BEST,
        },
        "records": records,
        "refused": refused,
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measure models, print the table, and write the records as JSON."""

    def several(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with MANIFEST.json")
    parser.add_argument("--models", type=several, default=[""], help="comma-separated parts of names; all by default")
    parser.add_argument("--methods", type=several, default=list(METHODS), help="comma-separated")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results" / "localisation.json")
    given = parser.parse_args(words)
    try:
        found = run(given.data, given.models, given.methods)
        files.replace(given.output, (json.dumps(found, indent=1) + "\n").encode())
    except OnnxLrpError as error:
        print(f"error   {error.message}\nfix     {error.fix}", file=sys.stderr)
        return error.code
    print(table(found["records"], given.methods))
    for record in found["records"]:
        for one in record["missed"]:
            print(f"missed  {record['model']}: {one['picture']}, class {one['class']} has rank {one['rank']}")
        for method, why in record["refused methods"].items():
            print(f"refused {record['model']} {method}: {why}")
    for name, why in found["refused"].items():
        print(f"refused {name}: {why}")
    print(f"wrote   {given.output}")
    return 0 if any(record["counted"] for record in found["records"]) else 5


if __name__ == "__main__":
    sys.exit(main())
