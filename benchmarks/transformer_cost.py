"""Cost of the presets for transformers, in forward passes of onnxruntime and beside AttnLRP with epsilon.

The forward pass and every method take turns in one process; medians of ratios within a turn are written, which other
work on the machine disturbs less than seconds. Without a file a ViT-B/16 with random weights is measured.

    python benchmarks/transformer_cost.py vit_tiny.onnx -o benchmarks/results/transformer_cost.json
    python benchmarks/transformer_cost.py --base -o benchmarks/results/transformer_cost.json      # adds its rows
    python benchmarks/transformer_cost.py --base --lxt -o FILE.json     # beside LXT (pip install lxt), same weights
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

METHODS = ("attnlrp", "attention", "attention_flat", "epsilon_plus_flat")
BATCHES = (1, 8)


def base(path: Path, width: int = 768, heads: int = 12, depth: int = 12, side: int = 14) -> Path:
    """Write a ViT-B/16 with random weights."""
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    held: dict[str, Any] = {}
    count = side * side + 1

    def weight(name: str, *shape: int) -> str:
        held[name] = (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]) or 1)).astype(np.float32)
        return name

    def ints(*values: int) -> str:
        name = f"i{'_'.join(map(str, values))}"
        held[name] = np.array(values, np.int64)
        return name

    def op(op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def dense(x: str, name: str, inner: int, outer: int) -> str:
        return op("Add", op("MatMul", x, weight(f"{name}.w", inner, outer)), weight(f"{name}.b", outer))

    def norm(x: str, name: str) -> str:
        held[f"{name}.s"], held[f"{name}.b"] = np.ones(width, np.float32), np.zeros(width, np.float32)
        return op("LayerNormalization", x, f"{name}.s", f"{name}.b")

    held["patch"] = (rng.normal(size=(width, 3, 16, 16)) / 28).astype(np.float32)
    t = op("Conv", "x", "patch", kernel_shape=[16, 16], strides=[16, 16])
    t = op("Transpose", op("Reshape", t, ints(0, width, -1)), perm=[0, 2, 1])
    batch = op("Shape", t, start=0, end=1)
    token = op("Expand", weight("token", 1, 1, width), op("Concat", batch, ints(1, width), axis=0))
    t = op("Add", op("Concat", token, t, axis=1), weight("places", 1, count, width))
    for n in range(depth):
        y = dense(norm(t, f"{n}.norm1"), f"{n}.qkv", width, 3 * width)
        y = op("Transpose", op("Reshape", y, ints(0, count, 3, heads, width // heads)), perm=[2, 0, 3, 1, 4])
        held |= {f"{i}": np.array(i) for i in range(3)}
        q, k, v = (op("Gather", y, str(i), axis=0) for i in range(3))
        scale = f"{n}.scale"
        held[scale] = np.array((width // heads) ** -0.5, np.float32)
        scores = op("Mul", op("MatMul", q, op("Transpose", k, perm=[0, 1, 3, 2])), scale)
        y = op("Transpose", op("MatMul", op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        t = op("Add", t, dense(op("Reshape", y, ints(0, count, width)), f"{n}.proj", width, width))
        y = op("Gelu", dense(norm(t, f"{n}.norm2"), f"{n}.up", width, 4 * width))
        t = op("Add", t, dense(y, f"{n}.down", 4 * width, width))
    t = op("Gather", norm(t, "norm"), "0", axis=1)
    nodes.append(helper.make_node("Gemm", [t, weight("head", width, 1000)], ["y"], name="head"))
    graph = helper.make_graph(
        nodes, "vit", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16 * side, 16 * side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1000])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def measured(path: Path, rounds: int, batches: Sequence[int], peer: Any = None) -> list[dict[str, Any]]:
    """Return a row for each batch: of every method the median cost in forward passes, and beside attnlrp.

    Args:
        path: The model.
        rounds: How often all take a turn.
        batches: Numbers of pictures.
        peer: AttnLRP of LXT (`lxt_vit.attnlrp`), whose relevance is compared before it is timed.
    """
    model = onnxlrp.load(path)
    session = onnxruntime.InferenceSession(path)
    source = session.get_inputs()[0]
    rows = []
    for batch in batches:
        x = np.random.default_rng(0).normal(size=(batch, *model.graph.inputs[0].shape)).astype(np.float32)
        runs: dict[str, Callable[[], Any]] = {"forward": partial(session.run, None, {source.name: x})}
        for method in METHODS:
            runs[method] = partial(model.explain, x, 1, method=method)
        plain = runs["forward"]()[0]
        for method in METHODS:
            # Weights of 8 bits are multiplied as integers by onnxruntime, and as the numbers they stand for by us.
            np.testing.assert_allclose(runs[method]().output, plain, atol=0.05 * np.abs(plain).max())
        if peer is not None:
            relevance, scores = peer(x, 1)
            np.testing.assert_allclose(scores, plain, atol=1e-3 * np.abs(plain).max())
            own = model.explain(x, 1, method="attnlrp").relevance
            np.testing.assert_allclose(own, relevance, atol=1e-2 * np.abs(relevance).max())
            runs["lxt attnlrp"] = partial(peer, x, 1)
        turns = []
        for _ in range(rounds):
            turn = {}
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                turn[name] = time.perf_counter() - start
            turns.append(turn)
        row: dict[str, Any] = {"model": path.name, "batch": batch, "rounds": rounds}
        for what in ("forward", "attnlrp"):
            row[f"in {what}"] = {
                name: round(float(np.median([turn[name] / turn[what] for turn in turns])), 2)
                for name in runs
                if name != "forward"
            }
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    """Measure, and add the rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--base", action="store_true", help="a ViT-B/16 with random weights")
    parser.add_argument("--lxt", action="store_true", help="beside AttnLRP of LXT, of --base alone")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = base(Path(folder) / "vit_base_random.onnx") if args.base else args.model
        peer = None
        if args.lxt:
            if not args.base:
                parser.error("--lxt goes with --base: LXT's network is made of its weights")
            from lxt_vit import attnlrp

            peer = attnlrp(path)
        rows = measured(path, args.rounds, args.batches, peer)
    before = json.loads(args.out.read_text())["rows"] if args.out.exists() else []
    made = {(row["model"], row["batch"]) for row in rows}
    kept = [row for row in before if (row["model"], row["batch"]) not in made]
    about = {"date": str(date.today()), "onnxlrp": onnxlrp.__version__, "onnxruntime": onnxruntime.__version__}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    args.out.write_text(json.dumps({**about, "threads": threads, "rows": [*kept, *rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
