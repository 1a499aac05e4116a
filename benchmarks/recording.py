"""Cost of recording every hidden layer, whole or reduced: time and peak memory.

    python benchmarks/recording.py ../shared/data/models/squeezenet1.1_mxnet_nchw.onnx --batch 8

Relevance and activations of all convolutions, by the method `epsilon_plus_flat`: not at all ("plain"), whole ("record",
"record and activations"), and reduced inside of the program to four numbers of each channel ("reduced"). Reductions are
compared with those of the whole records before anything is timed. Each case runs in a process of its own on one thread,
and counts with the least CPU time of several runs; cases take turns. Writes results/recording.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from records import Record, environment, save

import onnxlrp
from onnxlrp.engines.ort import Ort

CASES = ("plain", "record", "record and activations", "reduced")
WORDS = ("sum", "max", "argmax", "abssum")
RESULTS = Path(__file__).parent / "results" / "recording.json"


def asked(case: str, names: list[str]) -> dict[str, Any]:
    """What `Model.outputs` is asked for."""
    kept = {"record": ["record"], "record and activations": ["record", "activations"], "plain": []}
    found: dict[str, Any] = dict.fromkeys(kept.get(case, ["record", "activations"]), names)
    return found | ({"reduce": WORDS} if case == "reduced" else {})


def opened(path: Path) -> tuple[Any, list[str]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    model = onnxlrp.load(path, engine=Ort(options=options))
    return model, [layer.outputs[0] for layer in model.graph.layers if layer.op == "Conv"]


def validate(path: Path) -> None:
    """Compare reductions with numpy's of the whole records of one sample."""
    model, names = opened(path)
    x, ids = drawn(model, 1), np.zeros(1, np.int64)
    composite = model.composite("epsilon_plus_flat")
    whole = model.outputs(x, composite, ids=ids, **asked("record and activations", names))
    found = model.outputs(x, composite, ids=ids, **asked("reduced", names))
    for key, values in ((key, values) for key, values in whole.items() if "/" in key):
        rows = values.reshape(*values.shape[:2], -1)
        scale = float(np.abs(rows).sum(axis=2).max()) or 1.0
        np.testing.assert_allclose(found[f"{key}/sum"], rows.sum(axis=2), atol=1e-5 * scale)
        np.testing.assert_allclose(found[f"{key}/abssum"], np.abs(rows).sum(axis=2), atol=1e-5 * scale)
        top = np.take_along_axis(rows, found[f"{key}/argmax"][..., None], axis=2)[..., 0]
        np.testing.assert_allclose(top, rows.max(axis=2), atol=1e-5 * float(np.abs(rows).max()))
        np.testing.assert_allclose(found[f"{key}/max"], rows.max(axis=2), atol=1e-5 * float(np.abs(rows).max()))


def drawn(model: Any, batch: int) -> Any:
    return np.random.default_rng(0).normal(size=(batch, *model.graph.inputs[0].shape)).astype(np.float32)


def run(path: Path, case: str, batch: int, runs: int) -> Record:
    """One case, in this process."""
    model, names = opened(path)
    composite, ids, x = model.composite("epsilon_plus_flat"), np.zeros(batch, np.int64), drawn(model, batch)
    what, least = asked(case, names), float("inf")
    for _ in range(2 + runs):
        start = time.process_time()
        found = model.outputs(x, composite, ids=ids, **what)
        least = min(least, time.process_time() - start)
    size = sum(array.nbytes for array in found.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "CPU ms a picture": round(1e3 * least / batch, 2),
        "MB a picture": round(size / batch / 1e6, 3),
        "peak MB": round(peak, 1),
        "layers": len(names),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured, in turn")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        print(json.dumps(run(given.model, given.case, given.batch, given.runs)))
        return
    validate(given.model)
    best: dict[str, Record] = {}
    for _ in range(given.rounds):
        for case in CASES:
            words = [sys.executable, __file__, str(given.model), "--batch", str(given.batch), "--runs", str(given.runs)]
            done = subprocess.run([*words, "--case", case], capture_output=True, text=True, check=True)
            one = json.loads(done.stdout)
            best[case] = {key: min(value, best.get(case, one)[key]) for key, value in one.items()}
    plain = best["plain"]["CPU ms a picture"]
    for case, one in best.items():
        one["times a plain run"] = round(one["CPU ms a picture"] / plain, 3)
        print(case, one)
    about = {"model": given.model.name, "batch": given.batch, **environment(["onnxruntime", "numpy"])}
    save(RESULTS, {"meta": about, "cases": best})


if __name__ == "__main__":
    main()
