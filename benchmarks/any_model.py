"""How many runs of onnxruntime's own LSTM does a heatmap of a recurrent network cost?

    PYTHONPATH=. python benchmarks/any_model.py [--rounds N]

Models of one bidirectional LSTM and a dense layer, weights from a seed. Each round runs the file in onnxruntime and
`explain` with the method `recurrent`, one behind the other; the ratio is that of the smallest processor times. Results
go to benchmarks/results/any_model.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from records import Record, environment, save

import onnxlrp

RESULTS = Path(__file__).parent / "results" / "any_model.json"
CASES = ((200, 256, (1, 16)), (50, 128, (1, 16)), (2000, 256, (1,)))  # steps, width, batches


def network(steps: int, width: int) -> onnx.ModelProto:
    """A bidirectional LSTM over [N, steps, width], its last states, a dense layer of three classes."""
    rng = np.random.default_rng(0)
    shapes = {"w": (2, 4 * width, width), "r": (2, 4 * width, width), "b": (2, 8 * width), "v": (2 * width, 3)}
    arrays = {name: (rng.normal(size=shape) / width**0.5).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "w", "r", "b"], ["", "h"], hidden_size=width, direction="bidirectional"),
        helper.make_node("Transpose", ["h"], ["last"], perm=[1, 0, 2]),
        helper.make_node("Flatten", ["last"], ["z"]),
        helper.make_node("MatMul", ["z", "v"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", steps, width]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3]),
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "lstm", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def processor_time(run: Callable[[], Any]) -> float:
    """Seconds of processor time."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measured(steps: int, width: int, batch: int, rounds: int) -> Record:
    """The smallest times of the file's own run and of a heatmap, and that of loading with the first heatmap."""
    proto = network(steps, width)
    x = np.random.default_rng(1).normal(size=(batch, steps, width)).astype(np.float32)
    own = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    start = time.process_time()
    model = onnxlrp.load(proto)
    found = model.explain(x, 1, "recurrent")
    first = time.process_time() - start
    few = slice(0, 1)
    exact = onnxlrp.load(proto, engine="reference").explain(x[few], 1, "recurrent").relevance
    np.testing.assert_allclose(found.output, own.run(None, {"x": x})[0], atol=1e-4)
    np.testing.assert_allclose(found.relevance[few], exact, atol=1e-3 * np.abs(exact).max())
    pairs = [
        (processor_time(lambda: own.run(None, {"x": x})), processor_time(lambda: model.explain(x, 1, "recurrent")))
        for _ in range(rounds)
    ]
    forward, heat = (min(times) for times in zip(*pairs, strict=True))
    row = {"steps": steps, "width": width, "batch": batch, "forward": forward, "explain": heat, "load_and_first": first}
    return {**row, "ratio": heat / forward}


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    rows = []
    for steps, width, batches in CASES:
        for batch in batches:
            rows.append(measured(steps, width, batch, rounds))
            print({key: round(value, 4) for key, value in rows[-1].items()})
    save(RESULTS, {**environment(("onnxlrp", "onnxruntime", "numpy")), "rounds": rounds, "recurrent": rows})


if __name__ == "__main__":
    main()
