"""Evaluation of prototypes: whether other networks, and the model itself after small moves, see the class in them.

    python benchmarks/prototypes.py --data DATA                                       # every style and model; an hour
    python benchmarks/prototypes.py --data DATA --styles fourier --models digits -o /tmp/a.json

Of ImageNet models, prototypes of classes drawn by a seed; those of the model that `JUDGED` names are shown to two other
architectures, which have never been optimised for: as a photograph, of which each judge's preprocessing cuts the edge,
and whole, at the judge's own size. What is done is kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from records import Record, environment, save, words

import onnxlrp
from onnxlrp.analysis.prototypes.styles import STYLES
from onnxlrp.model import Model

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "models"
IMAGENET = {"squeezenet": "squeezenet1.1_mxnet_nchw.onnx", "mobilenet": "mobilenet_v1_0.25_224_imagenet_tf2onnx.onnx"}
JUDGED = "squeezenet"
JUDGES: dict[str, tuple[str, Record]] = {
    "ViT": ("vit_tiny_w8.onnx", {"prep": "-1-1", "crop": 224 / 248, "interpolation": "bicubic"}),
    "ShuffleNet": ("shufflenet-v2-12-int8.onnx", {}),
}
WHOLE: Record = {"crop": 1.0}
BEST, CLASSES, DRAWS = 5, 50, 10_000


@dataclass(frozen=True)
class Case:
    """A model and what is made for it."""

    name: str
    model: Model
    classes: Sequence[int]


def cases(data: Path, names: Sequence[str], count: int, which: slice) -> Iterator[Case]:
    """Yield the models: shipped ones with all of their classes, ImageNet's with some of `count` drawn ones."""
    drawn = np.sort(np.random.default_rng(0).choice(1000, count, replace=False)).tolist()
    for name in names:
        if name in IMAGENET:
            model = onnxlrp.load(data / "models" / IMAGENET[name])
            shift = model.classes - 1000  # 1001 outputs: a background class first
            yield Case(name, model, [k + shift for k in drawn[which]])
        else:
            model = onnxlrp.load(SHIPPED / f"{name}.onnx")
            yield Case(name, model, range(model.classes))


def judged(judges: dict[str, Model], picture: Any, id: int) -> Record:
    """Return the rank of a class, 0 the best, by each judge."""
    ranks = {}
    for name, judge in judges.items():
        logits = judge.outputs(judge.read(picture).values)["logits"].reshape(-1)
        ranks[name] = int((logits > logits[id]).sum())
    return ranks


def row(case: Case, style: str, how: Record, id: int, judges: dict[str, Model], pictures: Path | None) -> Record:
    """Make one prototype, and say what is seen in it."""
    began = time.process_time()
    found = case.model.prototype(id, style=style, batch_size=10, **how)
    spent = time.process_time() - began
    facts = found.evidence
    picture = found.images[0]
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        picture.save(pictures / f"{case.name}.{style}.{id}.png")
    return {
        "class": id,
        "label": found.name,
        "score": float(found.scores[0]),
        "own class": float(facts["transformed"]["own class"][0]),
        "read again": bool(facts["read again"]["best"][0] == id),
        "redirected": found.about["redirected"],
        "cpu s": round(spent, 2),
        **({"ranks": judged(judges, picture, id)} if case.name == JUDGED else {}),
    }


def interval(values: Sequence[float]) -> list[float]:
    """Return the bootstrap interval of 95 % of a mean."""
    array, rng = np.asarray(values, float), np.random.default_rng(0)
    means = array[rng.integers(0, len(array), (DRAWS, len(array)))].mean(axis=1)
    return [round(float(v), 3) for v in np.percentile(means, [2.5, 97.5])]


def summary(rows: Sequence[Record]) -> Record:
    """Return shares over classes, each with its interval."""
    parts = {"own class": [one["own class"] for one in rows], "read again": [float(one["read again"]) for one in rows]}
    for judge in rows[0].get("ranks", {}):
        parts[f"{judge} best {BEST}"] = [float(one["ranks"][judge] < BEST) for one in rows]
    found = {key: {"mean": round(float(np.mean(v)), 3), "interval": interval(v)} for key, v in parts.items()}
    return {**found, "classes": len(rows), "cpu s": round(float(np.mean([one["cpu s"] for one in rows])), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds models/")
    parser.add_argument("--styles", type=words, default=list(STYLES))
    parser.add_argument("--models", type=words, default=["digits", "shapes", "mobilenet", "squeezenet"])
    parser.add_argument("--steps", type=int, help="of every style (default: as many as the style has)")
    parser.add_argument("--objective", help="of every style (default: the style's own)")
    parser.add_argument("--classes", type=int, help="how many classes of ImageNet", default=CLASSES)
    parser.add_argument("--every", type=int, default=1, help="of ImageNet's classes, every so many alone")
    parser.add_argument("--first", type=int, default=0, help="the first of these: processes may share the classes")
    parser.add_argument("--rows", type=Path, nargs="+", default=[], help="results of other processes, taken over")
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "prototypes.json")
    given = parser.parse_args()
    content: Record = json.loads(given.out.read_text()) if given.out.exists() else {"rows": {}}
    content["environment"] = environment(["onnxlrp", "numpy", "onnxruntime"])
    for path in given.rows:
        for key, others in json.loads(path.read_text())["rows"].items():
            own = content["rows"].setdefault(key, [])
            known = {one["class"] for one in own}
            own += [one for one in others if one["class"] not in known]
            own.sort(key=lambda one: one["class"])
    folder = given.data / "models"
    judges = {name: onnxlrp.load(folder / file, prep=prep) for name, (file, prep) in JUDGES.items()}
    judges |= {
        f"{name}, whole": onnxlrp.load(folder / file, prep=prep | WHOLE) for name, (file, prep) in JUDGES.items()
    }
    for case in cases(given.data, given.models, given.classes, slice(given.first, None, given.every)):
        for style in given.styles:
            steps = given.steps or STYLES[style].steps
            objective = given.objective or STYLES[style].objective
            how = {"steps": steps, "objective": objective}
            key = f"{case.name}/{style}/{steps}/{objective}"
            rows: list[Record] = content["rows"].setdefault(key, [])
            known = {one["class"] for one in rows}
            for id in case.classes:
                if id not in known:
                    rows.append(row(case, style, how, id, judges, given.pictures))
                    save(given.out, content)
            content.setdefault("summary", {})[key] = summary(rows)
            save(given.out, content)
            print(key, json.dumps(content["summary"][key]), flush=True)


if __name__ == "__main__":
    main()
