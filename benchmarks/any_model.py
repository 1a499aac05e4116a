"""How many runs of onnxruntime's own LSTM does a heatmap of a recurrent network cost, and how long does loading take?

    PYTHONPATH=. python benchmarks/any_model.py [--rounds N]

Models of one bidirectional LSTM and a dense layer, weights from a seed. Each round runs the file in onnxruntime and
`explain` with the method `recurrent`, one behind the other; the ratio is that of the smallest processor times. Where
PyTorch is installed, the same relevance by a loop over steps under its autograd is the peer: equal first, then timed in
turns. Graphs of many small nodes tell how loading grows. Results go to benchmarks/results/any_model.json.
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
PEER_STEPS = 200  # of the longest sequence that the peer runs over
NODES = (2500, 5000, 10000)
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


def by_torch(proto: onnx.ModelProto) -> Callable[[Any, int], Any] | None:
    """Return the same rules as a loop over steps under torch's autograd; None without torch.

    Relevance is x ⊙ ∂f'/∂x, where f' has each layer's factor of the epsilon rule, each gate and the quotient of each
    activation function as a constant.
    """
    try:
        import torch
    except ImportError:
        return None
    weights = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in proto.graph.initializer}
    width = weights["r"].shape[2]

    def kept(z: Any, epsilon: float = 1e-3) -> Any:
        # z itself, with the factor in its slope alone.
        scaled = z * (z / (z + epsilon * torch.where(z >= 0, 1.0, -1.0))).detach()
        return scaled + (z - scaled).detach()

    def passed(z: Any, function: Any) -> Any:
        return z * torch.where(z == 0, torch.ones_like(z), function(z) / z).detach()

    def direction(x: Any, d: int) -> Any:
        w, r, b = weights["w"][d], weights["r"][d], weights["b"][d].reshape(2, -1).sum(0)
        h = c = torch.zeros(x.shape[0], width)
        for t in reversed(range(x.shape[1])) if d else range(x.shape[1]):
            i, o, f, g = kept(x[:, t] @ w.T + h @ r.T + b).split(width, 1)
            i, o, f = (torch.sigmoid(z.detach()) for z in (i, o, f))
            c = kept(f * c + i * passed(g, torch.tanh))
            h = o * passed(c, torch.tanh)
        return h

    def run(x: Any, target: int) -> Any:
        x = torch.tensor(x, requires_grad=True)
        y = kept(torch.cat([direction(x, 0), direction(x, 1)], 1) @ weights["v"])
        (slope,) = torch.autograd.grad(y[:, target].sum(), x)
        return (x * slope).detach().numpy()

    return run


def many_nodes(count: int) -> onnx.ModelProto:
    """A chain of small dense layers and activations of so many nodes."""
    rng = np.random.default_rng(0)
    nodes, stored, name = [], [], "x"
    for n in range(count // 2):
        stored.append(numpy_helper.from_array(rng.normal(size=(4, 4)).astype(np.float32) / 2, f"w{n}"))
        nodes += [
            helper.make_node("MatMul", [name, f"w{n}"], [f"a{n}"]),
            helper.make_node("Tanh", [f"a{n}"], [f"h{n}"]),
        ]
        name = f"h{n}"
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", 4]) for end in ("x", name)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loading(count: int, rounds: int) -> Record:
    """The smallest processor time of loading so many nodes; the scores are those of the file."""
    proto = many_nodes(count)
    x = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    own = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = onnxlrp.load(proto).explain(x, 1, "gradient").output
    np.testing.assert_allclose(found, own.run(None, {"x": x})[0], atol=1e-5)
    return {"nodes": count, "load": min(processor_time(lambda: onnxlrp.load(proto)) for _ in range(rounds))}


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
    runs: dict[str, Callable[[], Any]] = {
        "forward": lambda: own.run(None, {"x": x}),
        "explain": lambda: model.explain(x, 1, "recurrent"),
    }
    peer = by_torch(proto) if steps <= PEER_STEPS else None
    if peer is not None:
        relevance = np.concatenate([peer(x[n : n + 1], 1) for n in range(len(x))][:1])
        np.testing.assert_allclose(relevance, exact, atol=1e-3 * np.abs(exact).max())
        runs["torch"] = lambda: peer(x, 1)
    times = [{name: processor_time(run) for name, run in runs.items()} for _ in range(rounds)]
    best = {name: min(row[name] for row in times) for name in runs}
    row = {"steps": steps, "width": width, "batch": batch, **best, "load_and_first": first}
    faster = {"times_faster_than_torch": best["torch"] / best["explain"]} if peer is not None else {}
    return {**row, "ratio": best["explain"] / best["forward"], **faster}


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
    chains = [loading(count, min(rounds, 3)) for count in NODES]
    for row in chains:
        print(row)
    used = ("onnxlrp", "onnxruntime", "numpy", *(("torch",) if by_torch(network(1, 1)) else ()))
    save(RESULTS, {**environment(used), "rounds": rounds, "recurrent": rows, "loading": chains})


if __name__ == "__main__":
    main()
