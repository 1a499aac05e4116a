"""Profile of a heatmap: the emitted graph under onnxruntime's profiler, by rule, operator, layer and node.

    python benchmarks/hotspots.py /tmp/onnxlrp-bench/resnet50.onnx --preset epsilon_gamma_box --batch 8

Nodes of the program are called lrp/LAYER/RULE/OP, all others belong to the forward pass. A layout reorder that
onnxruntime puts in is booked on the node that reads its result. Times are medians over the runs, in milliseconds;
"x" is in forward passes, the unit being the node times of the untouched model profiled beside it.
(It is not called profile.py, for scripts beside it would then import it in place of Python's module of that name.)
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import contenders
import numpy as np
import onnx
import onnxruntime
from contenders import PRESETS, Array, Case

from onnxlrp.engines.emit.explainer import explainer
from onnxlrp.rules import RULES


@dataclass(frozen=True)
class Spent:
    """One node of the optimised graph and its time; `rule` is "forward" for nodes of the model itself."""

    name: str
    op: str
    rule: str
    layer: str
    shape: str
    ms: float


def origin(name: str, rules: Iterable[str]) -> tuple[str, str]:
    """(rule, layer) from a node's name."""
    if not name.startswith("lrp/"):
        return "forward", re.sub(r"(_output_\d+)?(_nchwc)?$", "", name)
    parts = name.removeprefix("lrp/").split("/")[:-1]
    if parts and parts[-1] in rules:
        return parts[-1], "/".join(parts[:-1])
    return "(shared)", "/".join(parts)


def profile(models: Sequence[tuple[bytes, Mapping[str, Array]]], runs: int) -> list[list[Spent]]:
    """The time of every node of each model, as a median over runs that alternate between the models."""
    with tempfile.TemporaryDirectory() as folder:
        sessions = []
        for n, (model, inputs) in enumerate(models):
            place = Path(folder) / str(n)
            place.mkdir()
            options = contenders.session_options(
                enable_profiling=True,
                profile_file_prefix=str(place / "profile"),
                optimized_model_filepath=str(place / "optimised.onnx"),
            )
            # Weights are of no interest here, and outside the file they may be larger than 2 GB.
            options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
            sessions.append(
                (onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"]), dict(inputs), place)
            )
        for _ in range(runs + 1):
            for session, inputs, _ in sessions:
                session.run(None, inputs)
        return [_read(Path(session.end_profiling()), place / "optimised.onnx") for session, _, place in sessions]


def _read(events: Path, optimised: Path) -> list[Spent]:
    nodes = onnx.load(optimised, load_external_data=False).graph.node
    rules = set(RULES)
    known = {node.name: node for node in nodes}
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in nodes:
        for tensor in node.input:
            readers[tensor].append(node)

    def booked(name: str, depth: int = 0) -> tuple[str, str]:
        node = known.get(name)
        if node is None or not node.op_type.startswith("Reorder") or depth > 3:
            return origin(name, rules)
        after = [booked(reader.name, depth + 1) for tensor in node.output for reader in readers[tensor]]
        return max(after, key=lambda place: place[0] != "forward", default=("forward", "output"))

    taken: dict[str, list[float]] = defaultdict(list)
    about: dict[str, tuple[str, str]] = {}
    for event in json.loads(events.read_text()):
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            name, args = event["name"].removesuffix("_kernel_time"), event["args"]
            taken[name].append(event["dur"] / 1e3)
            shapes = [next(iter(shape.values())) for shape in args.get("output_type_shape", [])]
            about[name] = args["op_name"], " ".join("x".join(map(str, shape)) for shape in shapes[:1])
    # The first run warms up.
    return [Spent(name, about[name][0], *booked(name), about[name][1], median(ms[1:])) for name, ms in taken.items()]


def table(title: str, spent: list[Spent], key: Any, unit: float, top: int | None = None) -> None:
    """Print sums of times by key, largest first."""
    sums: dict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for one in spent:
        sums[key(one)] += one.ms
        counts[key(one)] += 1
    whole = sum(one.ms for one in spent)
    print(f"\n{title:<64} {'ms':>8} {'x':>6} {'%':>5} nodes")
    for name, ms in sorted(sums.items(), key=lambda item: -item[1])[:top]:
        print(f"{name[:64]:<64} {ms:8.2f} {ms / unit:6.2f} {100 * ms / whole:5.1f} {counts[name]:5d}")


def by_layer(spent: list[Spent], unit: float, top: int) -> None:
    """Print the dearest (layer, rule) with what each operator takes there."""
    groups: dict[tuple[str, str], list[Spent]] = defaultdict(list)
    for one in spent:
        if one.rule != "forward":
            groups[one.layer, one.rule].append(one)
    order = sorted(groups.items(), key=lambda item: -sum(one.ms for one in item[1]))[:top]
    print(f"\n{'relevance by layer and rule':<40} {'ms':>8} {'x':>6}  operators (ms)")
    for (layer, rule), members in order:
        ops: dict[str, float] = defaultdict(float)
        for one in members:
            ops[one.op] += one.ms
        total = sum(ops.values())
        text = ", ".join(f"{op} {ms:.2f}" for op, ms in sorted(ops.items(), key=lambda item: -item[1]))
        print(f"{(layer + ' / ' + rule)[:40]:<40} {total:8.2f} {total / unit:6.2f}  {text}")


def main() -> None:
    """Print where the time of a heatmap goes."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--preset", default=PRESETS[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--top", type=int, default=20, help="how many layers and nodes to list")
    given = parser.parse_args()

    case = Case(given.model, given.preset)
    x = case.inputs(given.batch)
    name = case.graph.inputs[0].name
    made = explainer(*contenders.program(case))
    seed = dict.fromkeys(made.seeds.values(), np.zeros(given.batch, np.int64))
    models: list[tuple[bytes, dict[str, Array]]] = [
        (given.model.read_bytes(), {name: x}),
        (made.model.SerializeToString(), {name: x, **seed}),
    ]
    plain, spent = profile(models, given.runs)
    unit = sum(one.ms for one in plain)
    whole = sum(one.ms for one in spent)

    print(
        f"{given.model.name}, {given.preset}, batch {given.batch}: sum of node times {whole:.1f} ms, {whole / unit:.2f}"
    )
    print(f"forward passes of {unit:.1f} ms each (the untouched model's node times)")
    table("part", spent, lambda one: "forward" if one.rule == "forward" else "relevance", unit)
    table("operator", spent, lambda one: one.op, unit)
    table("rule / operator", spent, lambda one: f"{one.rule} / {one.op}", unit, given.top * 2)
    by_layer(spent, unit, given.top)
    table("node", spent, lambda one: f"{one.rule}: {one.name} {one.op} -> {one.shape}", unit, given.top)


if __name__ == "__main__":
    main()
