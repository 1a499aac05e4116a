"""What the cells of models/charlm.onnx track, in sources of Python that it never saw in training.

    python benchmarks/cells.py benchmarks/results/cells.json

Validated first: the states are those of an LSTM in numpy (float64) over the first 2,000 characters. Then the cell of
each property is chosen on one half of the held-out text and measured on the other, beside circular shifts of it.
The numbers are those of one version of Python's standard library, which is recorded.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from records import environment, save

import onnxlrp

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
import charlm

Array = npt.NDArray[Any]
CHARACTERS, VALIDATED = 60_000, 2000
MUST = {"brackets": ("r", 0.7), "quotes": ("AUC", 0.85)}
"""What is to be met: a number of one of the two halves that chose nothing."""


def by_numpy(ids: Array) -> Array:
    """The states tanh c [characters, cells] of the file's LSTM, step by step in float64."""
    graph = onnx.load(charlm.FILE).graph
    node = next(node for node in graph.node if node.op_type == "LSTM")
    arrays = {tensor.name: numpy_helper.to_array(tensor).astype(np.float64) for tensor in graph.initializer}
    w, r, b = (arrays[name][0] for name in node.input[1:4])
    table = next(array for array in arrays.values() if array.shape == (len(charlm.CHARACTERS), w.shape[1]))
    bias, width = b[: len(w)] + b[len(w) :], r.shape[1]
    h, c, found = np.zeros(width), np.zeros(width), np.zeros((len(ids), width))
    for n, x in enumerate(table[ids]):
        i, o, f, g = np.split(w @ x + r @ h + bias, 4)
        i, o, f = (1 / (1 + np.exp(-z)) for z in (i, o, f))
        c = f * c + i * np.tanh(g)
        found[n] = np.tanh(c)
        h = o * found[n]
    return found


def main() -> None:
    """Validate, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    text = charlm.text(held_out=True, characters=CHARACTERS)
    model = onnxlrp.load(charlm.FILE)
    began = time.process_time()
    found = model.cells(onnxlrp.Text(text))
    seconds = time.process_time() - began
    error = float(np.abs(found.states[:VALIDATED] - by_numpy(charlm.ids(text[:VALIDATED]))).max())
    if error > 1e-4:
        raise SystemExit(f"the states are {error:.2g} from numpy's")
    record = found.to_dict()
    tested = {one["property"]: one for one in record["properties"]}
    met = {
        name: abs(tested[name]["on_the_second_half"]) >= least and tested[name]["outside_chance"]
        for name, (_, least) in MUST.items()
    }
    save(out, {
        "environment": environment(["onnxlrp", "numpy", "onnxruntime"]),
        "characters": len(text),
        "largest_difference_from_numpy": error,
        "processor_seconds": round(seconds, 2),
        "properties": tested,
        "gates": record["saturated"]["gates"],
        "met": met,
    })  # fmt: skip
    for name, one in tested.items():
        value, chance = one["on_the_second_half"], one["chance"]["threshold"]
        print(f"{name}: {one['cell']} {one['statistic']} {value:.2f} (chance {chance:.2f}, p {one['p']:.2g})")
    print(met)


if __name__ == "__main__":
    main()
